"""Which engine serves a device name, and what ``"auto"`` means in this process."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from importlib import import_module
from types import TracebackType

from wkgpu.engines.cuda.caller_stream import Streams, side_streams_of_thread
from wkgpu.engines.cuda.diagnosis import cuda_unavailable_reason
from wkgpu.engines.engine import Engine
from wkgpu.errors import DeviceError
from wkgpu.forking import call_in_child, loading
from wkgpu.kernels.uninterrupted import uninterrupted
from wkgpu.settings import config

_CUDA = re.compile(r"cuda(?::([0-9]{1,4}))?")
_VARIABLE = "WKGPU_DEVICE"

_logger = logging.getLogger("wkgpu")
_engines: dict[str, Engine] = {}  # by the name of the device; that of "auto" is the verdict of this process
_inherited: list[Engine] = []


def get_engine(device: object = None) -> Engine:
    """Return the engine of a device, always the same one for the same device.

    Parameters
    ----------
    device : str, optional
        ``"cpu"``, ``"cuda"`` (which is ``"cuda:0"``), ``"cuda:N"`` or ``"auto"``, or an object that is printed like
        that, such as a ``torch.device``. Without it, `wkgpu.config.device`, which the environment variable
        ``WKGPU_DEVICE`` sets.

    Raises
    ------
    DeviceError
        For a device that does not exist here or whose libraries do not work. Asking again tries again. Only
        ``"auto"`` continues with another device.

    Notes
    -----
    ``"auto"`` is ``"cuda:0"`` where that works, and otherwise the CPU. This is decided once in a process, and the
    reason for the CPU is given once, as a warning of ``logging.getLogger("wkgpu")``, which is shown by default.

    Examples
    --------
    >>> get_engine("cpu").name
    'cpu'
    """
    name = _name_of(config.device if device is None else device, _origin(device))
    engine = _engines.get(name)
    if engine is not None:
        return engine
    _import_uninterrupted(name)
    with loading:
        if name not in _engines:
            _engines[name] = _decide() if name == "auto" else _start(name, _origin(device))
        return _engines[name]


def side_streams() -> Streams:
    """Return the streams of all GPUs that calls of this thread work in; default streams are left out.

    With `wkgpu.engines.in_streams` another thread, which works for this one, works in the same streams.

    Examples
    --------
    >>> streams = side_streams()
    >>> with in_streams(streams):  # in another thread  # doctest: +SKIP
    ...     voxels = view.read()
    """
    streams = side_streams_of_thread()  # also of a GPU whose engine another thread is the first to ask for
    for engine in list(_engines.values()):
        streams.update(engine.side_streams())
    return streams


class DeviceSetting:
    """Restores the device that was set before when a ``with`` block ends; `set_device` returns it."""

    def __init__(self, device: str, previous: str) -> None:
        self._device = device
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        config.device = self._previous

    def __repr__(self) -> str:
        return f"<device {self._device!r} instead of {self._previous!r}>"


def set_device(device: object) -> DeviceSetting:
    """Choose the device of all datasets and views that are not told another one, for this process.

    It counts for views that are first used after it; a view that has read or written stays where it is, and
    `View.to` takes it elsewhere.

    Parameters
    ----------
    device : str
        As in `get_engine`.

    Returns
    -------
    DeviceSetting
        In a ``with`` statement it restores the previous setting at the end of the block; otherwise it can be ignored.

    Raises
    ------
    DeviceError
        If the device does not work here; then nothing is changed.

    Examples
    --------
    >>> import wkgpu as wk
    >>> before = wk.config.device
    >>> with wk.set_device("cpu"):
    ...     print(wk.config.device)
    cpu
    >>> wk.config.device == before
    True
    """
    name = _name_of(device, "")
    get_engine(name)
    setting = DeviceSetting(name, config.device)
    config.device = name
    return setting


# ---- Names


def _name_of(device: object, origin: str) -> str:
    """Return the name of a device as `_engines` has it."""
    text = str(device)
    if text in ("cpu", "auto"):
        return text
    cuda = _CUDA.fullmatch(text)
    if cuda is None:
        raise DeviceError(
            f"device {text!r}{origin} is unknown; there are 'cpu', 'cuda' (the same as 'cuda:0'), 'cuda:N' for the GPU "
            f"number N, and 'auto' for a GPU if available, else the CPU."
        )
    return f"cuda:{int(cuda[1] or 0)}"


def _is_from_environment() -> bool:
    return config.device == os.environ.get(_VARIABLE)


def _origin(device: object) -> str:
    """Say where the device comes from, if not from the caller."""
    if device is not None:
        return ""
    return f" of the environment variable {_VARIABLE}" if _is_from_environment() else " of wkgpu.config.device"


# ---- Engines


def _start(name: str, origin: str) -> Engine:
    """Return a new engine."""
    try:
        return _cpu_engine() if name == "cpu" else _working_cuda_engine(int(name.removeprefix("cuda:")))
    except Exception as error:
        said = str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
        raise DeviceError(f"device {name!r}{origin} cannot be used. {said}") from error


def _decide() -> Engine:
    """Return the engine that "auto" means, and say why if it is the CPU's."""
    try:
        return get_engine("cuda:0")
    except DeviceError as error:
        _logger.warning("device 'auto' is the CPU here, because %s", error)
    return get_engine("cpu")


def _working_cuda_engine(ordinal: int) -> Engine:
    reason = cuda_unavailable_reason(ordinal)
    if reason is not None:
        raise DeviceError(reason)
    return _cuda_engine(ordinal)


def _import_uninterrupted(name: str) -> None:
    """Import what an engine compiles with; what is wrong with it, its start reports.

    Half an import of Numba would be of no use to this process any more, so that Ctrl+C only ends the waiting for it.
    """

    def load() -> None:
        with loading, suppress(Exception):
            import_module("numba" if name.startswith("cuda") else "wkgpu.engines.cpu.engine")

    if not loading._is_owned():  # type: ignore[attr-defined] # by what this is a part of: another thread would wait
        uninterrupted(load)


def _cpu_engine() -> Engine:
    from wkgpu.engines.cpu.engine import CpuEngine  # here, because it imports Numba

    return CpuEngine()


def _cuda_engine(ordinal: int) -> Engine:
    from wkgpu.engines.cuda.engine import CudaEngine  # here, because they import the GPU libraries
    from wkgpu.engines.cuda.gpu.device import CudaDevice

    return CudaEngine(CudaDevice(ordinal))


def _forget_cuda() -> None:
    """Let a forked process decide again: CUDA does not work in it if it had been used before the fork."""
    for name, engine in list(_engines.items()):
        if engine.name != "cpu":
            _inherited.append(_engines.pop(name))  # kept, because what they hold must not be freed here


call_in_child(_forget_cuda)
