"""Errors of CUDA, whichever library raises them, as those of wkgpu.

CuPy, cuda.core, Numba and KvikIO each have classes of their own for the same errors. None of these libraries is
imported here: their errors are told by the names of their classes, and by what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from wkgpu.errors import DeviceError, DeviceLostError

P = ParamSpec("P")
R = TypeVar("R")

_CLASSES = frozenset({
    "CUDARuntimeError", "CUDADriverError",  # CuPy
    "CUDAError",  # cuda.core
    "CudaAPIError",  # Numba
})  # fmt: skip

# After these a process cannot use CUDA any more. Of 226, 700, 702, 714 to 719, 721, 810 and 911 the cuda.h of CUDA
# 13.0 says that "the process must be terminated and relaunched", of 709 and 710 that the context is destroyed or cannot
# be used any more. The numbers are the same in driver_types.h; names there are written otherwise, one in another word.
LOST = {
    226: "CONTAINED",
    700: "ILLEGAL_ADDRESS",
    702: "LAUNCH_TIMEOUT",
    709: "CONTEXT_IS_DESTROYED",
    710: "ASSERT",
    714: "HARDWARE_STACK_ERROR",
    715: "ILLEGAL_INSTRUCTION",
    716: "MISALIGNED_ADDRESS",
    717: "INVALID_ADDRESS_SPACE",
    718: "INVALID_PC",
    719: "LAUNCH_FAILED",
    721: "TENSOR_MEMORY_LEAK",
    810: "MPS_CLIENT_TERMINATED",
    911: "EXTERNAL_DEVICE",
}
"""Numbers and names of the errors that no later call recovers from, as ``CUresult`` has them."""

_ERROR_NAME = re.compile(r"\b(?:CUDA_ERROR_|cudaError)(\w+)")
_LOST_NAMES = frozenset(name.replace("_", "").lower() for name in LOST.values()) | {"launchfailure"}


def is_lost(error: BaseException) -> bool:
    """Whether an error of a library, of whatever class, says that CUDA cannot be used in this process any more.

    Examples
    --------
    >>> is_lost(RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered"))
    True
    """
    if isinstance(error, DeviceLostError):
        return True
    number = getattr(error, "status", None) or getattr(error, "code", None)
    if type(error).__name__ in _CLASSES and number in LOST:
        return True
    return any(name.replace("_", "").lower() in _LOST_NAMES for name in _ERROR_NAME.findall(str(error)))


def translated(error: Exception, what: str) -> DeviceError | None:
    """Return the error that stands for one of CUDA; None where it is of another kind.

    Parameters
    ----------
    what : str
        The call that failed, such as "A copy to the GPU".
    """
    if isinstance(error, DeviceError):
        return None
    if is_lost(error):
        return lost(error, what)
    if type(error).__name__ in _CLASSES:
        return DeviceError(f"{what} failed: {error}.")
    return None


def lost(error: Exception, what: str) -> DeviceLostError:
    """Return the error that says that the GPU is lost."""
    return DeviceLostError(
        f"{what} failed: {error}. After this error CUDA does not work in this process any more, and its arrays on the "
        f"GPU are lost. Start the process again."
    )


def reported(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function raise a `DeviceError` that names the call, where a library raises an error of CUDA.

    Parameters
    ----------
    what : str
        See `translated`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                found = translated(error, what)
                if found is None:
                    raise
                try:
                    raise found from error
                finally:
                    del found  # whose traceback has this frame: a cycle would hold the memory of the call

        return call

    return decorate
