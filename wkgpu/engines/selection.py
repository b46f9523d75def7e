"""Which engine serves a device name."""

from __future__ import annotations

from functools import cache

from wkgpu.engines.engine import Engine
from wkgpu.errors import DeviceError
from wkgpu.settings import config


def get_engine(device: str | None = None) -> Engine:
    """Return the engine of a device, always the same one for the same device.

    Parameters
    ----------
    device : str, optional
        ``"cpu"`` or ``"auto"``; without it, `wkgpu.config.device`, which the environment variable ``WKGPU_DEVICE``
        sets.

    Raises
    ------
    DeviceError
        For a device that this version does not know.

    Examples
    --------
    >>> get_engine("cpu").name
    'cpu'
    """
    wanted = config.device if device is None else device
    if wanted in ("auto", "cpu"):
        return _cpu_engine()
    raise DeviceError(f"device {wanted!r} is unknown; this version of wkgpu has 'cpu' and 'auto', which means 'cpu'.")


@cache
def _cpu_engine() -> Engine:
    from wkgpu.engines.cpu import CpuEngine  # here, because it imports Numba

    return CpuEngine()
