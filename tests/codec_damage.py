"""Damage chunks of a codec, and decode them: ``python tests/codec_damage.py NAME CHUNKS``.

What reads or writes beyond its memory ends this process; see `c_codecs`. It prints how many chunks were refused, and of
how many other bytes were decoded without an error.
"""

from __future__ import annotations

import sys

import numpy as np
from c_codecs import CalledCodec

from wkgpu.storage.codecs import codec_named

TRIALS = 40  # of each chunk
WORDS = [bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"]


def parameters(name, random):
    if name != "blosc":
        return {}
    return {
        "cname": random.choice(["lz4", "lz4", "lz4hc", "zstd", "zlib", "blosclz"]).item(),
        "clevel": int(random.integers(1, 10)),
        "shuffle": random.choice(["noshuffle", "shuffle", "bitshuffle"]).item(),
        "typesize": int(random.choice([1, 2, 4, 8, 16, 17, 255])),
        "blocksize": int(random.choice([0, 0, 128, 1000, 4096])),
    }


def damaged(encoded, random):
    data = bytearray(encoded)
    at = int(random.integers(len(data)))
    match random.integers(6):
        case 0:
            data[at] ^= 1 << random.integers(8)
        case 1:
            data = data[:at]
            if len(data) >= 16 and random.integers(2):
                data[12:16] = len(data).to_bytes(4, "little")  # so that Blosc's header agrees
        case 2:
            data[min(at, 64)] = random.integers(256)
        case 3:
            data[at : at + 4] = WORDS[random.integers(4)][: len(data) - at]
        case 4:
            data[2:4] = random.integers(0, 256, 2).astype(np.uint8).tobytes()
        case 5:
            length = min(int(random.integers(1, 30)), len(data) - at)
            data[at : at + length] = random.integers(0, 256, length).astype(np.uint8).tobytes()
    return bytes(data)


def main(name, count):
    random = np.random.default_rng(0)
    refused = changed = 0
    for _ in range(count):
        nbytes = int(random.choice([random.integers(40, 300), random.integers(40, 60_000), 32_768]))
        run, kinds = int(random.choice([1, 4, 50])), int(random.choice([2, 20, 256]))
        codec = CalledCodec(codec_named(name, **parameters(name, random)), nbytes)
        data = np.repeat(random.integers(0, kinds, nbytes // run + 1), run)[:nbytes].astype(np.uint8).tobytes()
        encoded = codec.encode(data)
        for _ in range(TRIALS):
            wanted = nbytes if random.integers(2) else int(random.integers(1, nbytes + 1))
            decoded, found = codec.decode(damaged(encoded, random), nbytes, wanted)
            good = decoded == nbytes if wanted == nbytes else decoded >= wanted
            refused += not good
            changed += good and found[:wanted] != data[:wanted]
    print(refused, changed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
