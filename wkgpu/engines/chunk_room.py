"""Room for chunks: these are decoded and encoded whole, and their shape is what a file says, however large that is."""

from __future__ import annotations

from collections.abc import Callable

from wkgpu.engines import host_memory
from wkgpu.engines.engine import Engine
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.write import WritePlan

_ADVICE = "A chunk is decoded and encoded whole: store smaller chunks, or use a machine with more memory."


def check_chunk_room(engine: Engine, plan: ReadPlan | WritePlan, nbytes: Callable[[], int]) -> None:
    """See that an engine has memory for the chunks of a plan, if these are large.

    Parameters
    ----------
    nbytes : callable
        Returns how much it takes for chunks that are decoded or encoded at the same time.

    Raises
    ------
    TooLargeError
        Naming a file and the bytes of a chunk.
    """
    size = plan.pieces.nbytes
    if size < host_memory.LARGE_BYTES:
        return
    if isinstance(plan, WritePlan):
        what = f"Encoding chunks of {_gibibytes(size)} for {plan.path}"
    elif len(plan.chunks):
        what = f"Decoding chunks of {_gibibytes(size)} from {plan.files[0].path}"
    else:  # nothing of them is in memory
        return
    engine.check_room(nbytes(), what, _ADVICE)


def _gibibytes(nbytes: int) -> str:
    return f"{nbytes / (1 << 30):.1f} GiB"
