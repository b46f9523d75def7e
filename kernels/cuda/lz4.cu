// LZ4 chunks on a GPU: decoded with every access checked, or checked for a decoder that does not.
//
//   lz4_decode  decodes chunks, a warp each, and checks them while it does
//   lz4_check   checks chunks, a thread each, and replaces a damaged one by an encoded chunk of zeros: nvCOMP's decoder
//               reads and writes anywhere if a chunk is damaged
//   lz4_join    adds what that decoder reported to the verdicts of the check
//
// Columns are device arrays with an item for each chunk. Sources and targets are addresses. Statuses are OK, MALFORMED
// and WRONG_LENGTH, macros with the codes of kernels/failures.py:
//
//   OK            the chunk has as many bytes as its capacity, or at least the wanted ones
//   WRONG_LENGTH  the chunk is a valid one of fewer bytes, which are the number in `decoded`
//   MALFORMED     all else; `decoded` is where the sequence begins that is wrong
//
// The verdicts are those of liblz4's LZ4_decompress_safe. Literals that end exactly where the source ends are the last;
// all others are followed by at least 8 bytes of source and 12 of target. A match ends at least 5 bytes before the
// target does, and the bytes of its length lie before the last 4 of the source. A short sequence that liblz4 copies at
// once is exempt; see `is_short_cut`. There is one difference: an offset of 0, which the format forbids and liblz4
// accepts, is MALFORMED. A chunk whose `wanted` is less than its capacity is decoded up to there, and what follows is
// not checked.
//
// Reads are of whole words: of a source, of 16-byte blocks that hold one of its bytes, and of a target, of 4-byte words
// that hold one. Writes are exact.
//
// NVRTC compiles this, and a C++ compiler for tests/cuda_shim.
#include "lz4_chunk.cu"

#ifndef WARPS
#define WARPS 2  // warps in a block of lz4_decode
#endif

// Decode chunks, a warp each, in any number of blocks of 32 * WARPS threads. The bound of 32 warps at a time lets the
// compiler use 64 registers: without it, it takes fewer for some GPUs, and spills.
//
// sources, lengths     encoded bytes
// targets, capacities  where decoded bytes go, and how many a sound chunk has
// wanted               how many of them are needed, from the first one on; more than these may be written
// statuses, decoded    written: the verdict, and how many bytes were decoded
extern "C" __global__ void __launch_bounds__(LANES * WARPS, 32 / WARPS) lz4_decode(
    const u64* sources, const i64* lengths, const u64* targets, const i64* capacities, const i64* wanted, i64 count,
    int* statuses, i64* decoded)
{
    __shared__ __align__(16) u32 windows[WARPS][W / 4 + 4];  // and a few words that a look at the last bytes may touch
    int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    for (i64 chunk = (i64)blockIdx.x * WARPS + warp; chunk < count; chunk += (i64)gridDim.x * WARPS) {
        int status = MALFORMED, done = 0;
        if (is_possible(lengths[chunk], capacities[chunk])) {
            int before = (int)(sources[chunk] & 15), size = (int)capacities[chunk];
            const u8* origin = memory_at(sources[chunk]) - before;
            u8* target = memory_at(targets[chunk]);
            Source source = {origin, before, before + (int)lengths[chunk], windows[warp], -W, lane};
            Pending pending = {target, 0, false};
            int until = wanted[chunk] < size ? (int)max(wanted[chunk], (i64)0) : size;
            status = decode_chunk(source, target, size, until, done, pending);
            store(pending);
        }
        if (lane == 0) {
            statuses[chunk] = status;
            decoded[chunk] = done;
        }
    }
}

// ---- The check

// Add the bytes of a length; see `add_length`.
__device__ __forceinline__ bool add_length_alone(const u8* source, int& position, int& length, int stop, int size)
{
    u32 byte;
    do {
        if (position >= stop) return false;
        byte = __ldg(source + position++);
        length += byte;
    } while (byte == 255 && length <= size);
    return true;
}

// The next 8 bytes of a source, or the first of them if there are not 8 any more: only words that hold one.
__device__ __forceinline__ u64 next_bytes(const u8* source, int left)
{
    int shift = (int)((u64)source & 3) * 8;
    const u32* words = (const u32*)(source - ((u64)source & 3));
    u32 next = 0, last = 0;
    if (left >= 8) {
        next = __ldg(words + 1);
        last = shift ? __ldg(words + 2) : 0;
    }
    return joined(__ldg(words), next, last, shift);
}

// Check a chunk that begins at `source`; the sequences of `decode_chunk`, without their bytes.
__device__ __forceinline__ int check_chunk(const u8* source, int end, int size, int& done)
{
    int position = 0;
    while (position < end) {
        u64 bytes = next_bytes(source + position, end - position);
        int literals = (int)(bytes >> 4) & 15, match = (int)bytes & 15, offset;
        bool is_exempt = false;
        if (literals <= SHORT && position + 1 + literals + SOURCE_AFTER_LITERALS <= end) {
            u64 behind = bytes >> (8 * (1 + literals));
            offset = (int)(behind & 0xffff);
            position += 3 + literals;
            if (literals > size - TARGET_AFTER_LITERALS - done) return MALFORMED;
            if (match == LONG) {
                int more = (int)(behind >> 16) & 255;
                if (more != 255) {
                    match += more;
                    position++;
                } else if (!add_length_alone(source, position, match, end - SOURCE_AFTER_LENGTH, size)) {
                    return MALFORMED;
                }
            }
        } else {
            position++;
            if (literals == LONG && !add_length_alone(source, position, literals, end, size)) return MALFORMED;
            is_exempt = is_short_cut(literals, end - position, size - done);
            if (!is_exempt && !literals_fit(literals, end - position, size - done)) return MALFORMED;
            if (literals == end - position) {
                done += literals;
                return done == size ? OK : WRONG_LENGTH;
            }
            position += literals;
            offset = (int)(__ldg(source + position) | __ldg(source + position + 1) << 8);
            position += 2;
            is_exempt = is_exempt && match < LONG && offset >= 8;
            if (match == LONG && !add_length_alone(source, position, match, end - SOURCE_AFTER_LENGTH, size))
                return MALFORMED;
        }
        match += MIN_MATCH;
        if (offset == 0 || offset > done + literals) return MALFORMED;
        if (!is_exempt && match > size - TARGET_AFTER_MATCH - done - literals) return MALFORMED;
        done += literals + match;
    }
    return MALFORMED;
}

// Check chunks, a thread each, on any grid; see lz4_decode. One that is not OK gets the source `zeros` and the length
// `zeros_bytes`: an encoded chunk of zeros, which must not decode to more bytes than any capacity.
extern "C" __global__ void lz4_check(
    u64* sources, i64* lengths, const i64* capacities, i64 count, u64 zeros, i64 zeros_bytes, int* statuses,
    i64* decoded)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads) {
        int status = MALFORMED, done = 0;
        if (is_possible(lengths[chunk], capacities[chunk]))
            status = check_chunk(memory_at(sources[chunk]), (int)lengths[chunk], (int)capacities[chunk], done);
        if (status != OK) {
            sources[chunk] = zeros;
            lengths[chunk] = zeros_bytes;
        }
        statuses[chunk] = status;
        decoded[chunk] = done;
    }
}

// Join verdicts, a thread a chunk, on any grid. What the check has refused stays as it is. A chunk that it has passed
// is MALFORMED if the decoder reports a failure (`found_statuses` is not 0) or a number of bytes that is not the
// capacity.
extern "C" __global__ void lz4_join(
    const int* found_statuses, const i64* found_decoded, const i64* capacities, i64 count, int* statuses, i64* decoded)
{
    i64 threads = (i64)gridDim.x * blockDim.x;
    for (i64 chunk = (i64)blockIdx.x * blockDim.x + threadIdx.x; chunk < count; chunk += threads) {
        bool is_failure = found_statuses[chunk] != 0;
        if (statuses[chunk] == OK && (is_failure || found_decoded[chunk] != capacities[chunk])) {
            statuses[chunk] = MALFORMED;
            decoded[chunk] = is_failure ? 0 : found_decoded[chunk];  // undefined after a failure
        }
    }
}
