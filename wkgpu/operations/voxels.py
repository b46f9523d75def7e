"""Data to be written, as voxels of a mag."""

from __future__ import annotations

from typing import Any, TypeAlias

from wkgpu.engines import Engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import DtypeError, ShapeError
from wkgpu.storage.spec import ArraySpec

Array: TypeAlias = Any
"""An array of a view's engine: of NumPy on the CPU, of CuPy on CUDA."""


def as_voxels(data: Any, spec: ArraySpec, engine: Engine) -> Array:
    """Return data as an array ``(channel, x, y, z)`` of an engine, copied only where it must be.

    Parameters
    ----------
    data : array (x, y, z) or (channel, x, y, z)
        NumPy, CuPy, or anything with DLPack, in any byte order and with any strides. Three axes are for one channel.
    spec : ArraySpec
        Of the mag that it must fit.
    engine : Engine
        Where it is to be.

    Raises
    ------
    ShapeError
        For other axes or channels.
    DtypeError
        For another dtype than the mag's; nothing is converted silently.
    """
    voxels = engine.as_input(data)
    if voxels.ndim == 3:
        voxels = voxels[None]
    channels = spec.num_channels
    if voxels.ndim != 4 or voxels.shape[0] != channels:
        raise ShapeError(
            f"The data have the shape {tuple(voxels.shape)}, but the mag has {channels} channel(s); "
            f"give ({channels}, x, y, z){' or (x, y, z)' if channels == 1 else ''}."
        )
    if voxels.dtype == spec.memory_dtype:
        return voxels
    if voxels.dtype.newbyteorder("=") == spec.memory_dtype:
        if voxels.nbytes >= LARGE_BYTES:
            engine.check_room(voxels.nbytes, f"A copy of the data {voxels.shape} in the byte order of this machine")
        return voxels.astype(spec.memory_dtype)
    raise DtypeError(
        f"The data are {voxels.dtype}, but the mag stores {spec.dtype}; convert them with .astype({spec.dtype.name!r})."
    )
