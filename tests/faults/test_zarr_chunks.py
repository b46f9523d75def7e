"""The short form of the trial of damaged chunks of Zarr's codecs."""

import pytest
from cuda_shim import building

from . import zarr_chunks


@pytest.fixture(autouse=True)
def _compiler():
    if (reason := zarr_chunks.why_skipped()) is not None:
        pytest.skip(reason)


def test_damaged_chunks():
    outcomes = zarr_chunks.run(1600, 0)
    assert not [outcome for outcome in outcomes if outcome.startswith("FAULT")]
    assert min(outcomes[name] for name in ("right", "refused", "passed")) > 100
    assert sum(outcomes.values()) == 1600


WRONG = {
    "frames.cu": "if (stored > length - at) return MALFORMED;",
    "blosc.cu": "if (position < BLOSC_HEADER || position > length - 4) return false;",
}


def test_a_wrong_kernel_is_seen(tmp_path, monkeypatch):
    """Reads past a chunk: of a block of zstd, and of a stream of Blosc that begins elsewhere."""
    for path in building.KERNELS.glob("*.cu"):
        text, left_out = path.read_text(), WRONG.get(path.name, "")
        assert not left_out or text.count(left_out) == 1
        (tmp_path / path.name).write_text(text.replace(left_out, "") if left_out else text)
    source, options = building.HERE / "chunk_kernels.cpp", building.SANITIZERS
    program = building.build(source, tmp_path / "program", *options, kernels=tmp_path, PROGRAM=1, W=64)
    monkeypatch.setattr(building, "chunk_kernels_program", lambda: program)
    faults = [outcome for outcome in zarr_chunks.run(1600, 0) if outcome.startswith("FAULT")]
    assert all("AddressSanitizer" in fault for fault in faults)
    seen = {kernel for kernel in ("zstd", "blosc") for fault in faults if kernel in fault}
    assert seen == {"zstd", "blosc"}
