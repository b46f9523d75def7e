"""The ``elementClass`` of a properties file: the type of a whole voxel, all its channels together.

Three channels of uint8 are "uint24", two of float32 are "double". A dtype with a number of channels has one element
class; the other way around the number of channels must be known, and is 3 for the "uint24" of older files, which do
not store it.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import DTypeLike

from wkgpu.errors import DtypeError
from wkgpu.storage.spec import voxel_dtype

_FLOAT_NAMES = {32: "float", 64: "double"}
_FLOAT_BITS = {name: bits for bits, name in _FLOAT_NAMES.items()}
_NUMBERED = re.compile(r"(uint|int|float)(\d+)")


def element_class_of(dtype: np.dtype[np.generic], num_channels: int) -> str:
    """Name the type of a voxel.

    Examples
    --------
    >>> element_class_of(np.dtype("uint8"), 3), element_class_of(np.dtype("float32"), 1)
    ('uint24', 'float')
    """
    bits = dtype.itemsize * 8 * num_channels
    if dtype.kind == "f":
        return _FLOAT_NAMES.get(bits, f"float{bits}")
    return f"{'uint' if dtype.kind == 'u' else 'int'}{bits}"


def dtype_named(dtype: DTypeLike | None) -> np.dtype[np.generic]:
    """Return the dtype that the caller of `Dataset.add_layer` means: uint8 without one.

    "float" is float32, as in properties files, and not NumPy's float64.

    Raises
    ------
    DtypeError
        If it is none that can be stored.
    """
    if dtype is float or (isinstance(dtype, str) and dtype == "float"):
        return np.dtype("float32")
    return voxel_dtype("uint8" if dtype is None else dtype)


def dtype_of(element_class: str, num_channels: int) -> np.dtype[np.generic]:
    """Return the type of one channel of a voxel.

    A class that is too small for its channels is read as the type of each, as some writers use it.

    Raises
    ------
    DtypeError
        If no storable type has this name.

    Examples
    --------
    >>> dtype_of("uint24", 3), dtype_of("double", 1), dtype_of("uint8", 3)
    (dtype('uint8'), dtype('float64'), dtype('uint8'))
    """
    kind, bits = _kind_and_bits(element_class)
    per_channel = bits // num_channels
    smallest = 32 if kind == "float" else 8
    if bits % num_channels or per_channel < smallest:
        per_channel = bits
    try:
        return voxel_dtype(f"{kind}{per_channel}")
    except DtypeError as error:
        raise DtypeError(f"elementClass {element_class!r} with {num_channels} channel(s): {error}") from error


def default_num_channels(element_class: str) -> int:
    """Return how many channels a voxel has where a properties file does not say so."""
    return 3 if element_class == "uint24" else 1


def _kind_and_bits(element_class: str) -> tuple[str, int]:
    if element_class in _FLOAT_BITS:
        return "float", _FLOAT_BITS[element_class]
    match = _NUMBERED.fullmatch(element_class)
    if match is None:
        raise DtypeError(
            f"elementClass {element_class!r} is unknown; known are for example 'uint8', 'uint24', 'float'."
        )
    return match[1], int(match[2])
