"""The short form of the trial of damaged LZ4 chunks."""

import pytest
from cuda_shim import building

from . import lz4_chunks


@pytest.fixture(autouse=True)
def _compiler():
    if (reason := lz4_chunks.why_skipped()) is not None:
        pytest.skip(reason)


def test_damaged_chunks():
    outcomes = lz4_chunks.run(2000, 0)
    assert not [outcome for outcome in outcomes if outcome.startswith("FAULT")]
    assert min(outcomes["refused"], outcomes["right"]) > 500
    assert min(outcomes[name] for name in ("part", "part refused", "part of a damaged one", "too short")) > 50
    assert outcomes["offset 0"] > 10
    assert sum(outcomes.values()) > 2000  # of some cases the chunk without damage, too


@pytest.mark.parametrize(
    ("right", "wrong", "count", "fault"),
    [
        ("if (source.first + 16 * block < source.end)", "", 16, "AddressSanitizer"),
        ("if (literals) __syncwarp();", "", 200, "depends on the order of lanes"),
        ("TARGET_AFTER_MATCH = 5", "TARGET_AFTER_MATCH = 6", 200, "the check says"),
    ],
)
def test_a_wrong_kernel_is_seen(right, wrong, count, fault, tmp_path, monkeypatch):
    """A read past the source, a missing barrier, another rule than liblz4's."""
    texts = {path.name: path.read_text() for path in building.KERNELS.glob("*.cu")}
    (changed,) = [name for name in ("lz4.cu", "lz4_chunk.cu") if right in texts[name]]
    assert texts[changed].count(right) == 1
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(right, wrong) if name == changed else text)
    source, options = building.HERE / "lz4_program.cpp", building.SANITIZERS
    program = building.build(source, tmp_path / "program", *options, kernels=tmp_path, W=64)
    monkeypatch.setattr(building, "program", lambda window: program)
    outcomes = lz4_chunks.run(count, 0)
    assert any(outcome.startswith("FAULT") and fault in outcome for outcome in outcomes)
