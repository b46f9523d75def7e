"""Every error that wkgpu raises.

All of them are :class:`WkgpuError`. Each is also an instance of the built-in class that callers of the WEBKNOSSOS
library catch in the same place, so that ``except AssertionError`` around a view's bounds, or ``except RuntimeError``
around a read-only view, keeps working. A message names the values at hand and says what to do.
"""

from __future__ import annotations


class WkgpuError(Exception):
    """The base of every error that wkgpu raises."""


# ---- What the caller asked for ------------------------------------------------------------------------------------


class MagError(WkgpuError, ValueError, AssertionError, TypeError):
    """What is no magnification: not one or three whole numbers, or one that is no power of two."""


class RegionError(WkgpuError, AssertionError, ValueError):
    """A region argument that contradicts another one, is empty, negative, or leaves the view."""


class OutOfBoundsError(RegionError):
    """A region that leaves the view or the layer."""


class ShapeError(WkgpuError, AssertionError, ValueError):
    """Data, output arrays, chunk shapes or shard shapes that do not fit."""


class DtypeError(WkgpuError, AssertionError, ValueError, TypeError):
    """A voxel type that does not fit or that no format stores."""


class ArgumentError(WkgpuError, TypeError, ValueError):
    """Arguments that contradict each other, or one that is missing or means nothing here."""


class NumberError(WkgpuError, ValueError, OverflowError):
    """A number that is not whole, or none at all, where voxels are counted."""


class CompilationError(WkgpuError, TypeError, ValueError):
    """A function of voxels that cannot be compiled."""


class SamplingError(WkgpuError, RuntimeError, AssertionError, ValueError):
    """Mags that do not follow from each other by downsampling."""


class InterpolationError(WkgpuError, KeyError, ValueError):
    """An interpolation mode that does not exist."""

    __str__ = Exception.__str__  # KeyError would print the message as a quoted literal


class CategoryError(WkgpuError, RuntimeError, ValueError):
    """A layer category that is neither "color" nor "segmentation"."""


class InvalidNameError(WkgpuError, ValueError):
    """A layer name that cannot be the name of a folder everywhere."""


class MismatchError(WkgpuError, AssertionError, ValueError):
    """A layer or mag that exists, but with other properties than were asked for."""


class ReadOnlyError(WkgpuError, RuntimeError, AssertionError):
    """A write through a read-only view, or to a place without write permission."""


class HandleError(WkgpuError, RuntimeError):
    """A legacy handle that is opened twice, or closed when it is not open."""


class UnsupportedError(WkgpuError, ValueError, NotImplementedError):
    """A request that this format or this version of wkgpu cannot serve."""


class DeviceError(WkgpuError, RuntimeError):
    """A device that does not exist here or whose libraries do not work."""


class DeviceLostError(DeviceError):
    """A GPU that CUDA cannot use in this process any more, after an error that no call recovers from.

    Every later call on this GPU raises it as well, until the process is started again.
    """


class TooLargeError(WkgpuError, MemoryError):
    """A box or an array that memory, or a disk, has no room for. Nothing of it was read."""


class DeviceMemoryError(DeviceError, TooLargeError):
    """A device that has not as much memory as an array or a batch needs."""


class LaunchError(WkgpuError, RuntimeError):
    """Arrays that compiled code would have left. The code was not run; the cause is a bug, or files that disagree."""


class ConfigurationError(WkgpuError, ValueError):
    """A setting or an environment variable with a value that cannot be used."""


# ---- What is, or is not, on disk ----------------------------------------------------------------------------------


class NotFoundError(WkgpuError, FileNotFoundError):
    """A dataset, mag or file that does not exist."""


class AlreadyExistsError(WkgpuError, FileExistsError, AssertionError, RuntimeError):
    """A dataset, layer or mag that exists where a new one was to be made."""


class NameTakenError(AlreadyExistsError, IndexError, ValueError):
    """A layer or mag that the dataset holds already, under the name of a new one."""


class LayerNotFoundError(WkgpuError, KeyError, IndexError):
    """A layer name that the dataset does not hold."""

    __str__ = Exception.__str__  # KeyError would print the message as a quoted literal


class MagNotFoundError(WkgpuError, KeyError, IndexError):
    """A mag that the layer does not hold."""

    __str__ = Exception.__str__  # as above


class StorageAccessError(WkgpuError, OSError):
    """The operating system refused: no permission, a folder where a file belongs, a full or a failing disk."""


class FormatError(WkgpuError, ValueError):
    """A file whose structure contradicts its format. Nothing of such a file is decoded."""


class HeaderError(FormatError):
    """A header that is truncated, not of this format, or that contradicts its mag's header."""


class ShardIndexError(FormatError):
    """A jump table that is truncated, decreases, or points outside its file."""


class OutdatedFileError(StorageAccessError):
    """A file that was replaced or deleted after it had been looked at. It is read again, and not replaced."""


class ChunkError(FormatError):
    """A chunk that is truncated, does not decode, or decodes to the wrong length."""


class PropertiesError(FormatError):
    """A ``datasource-properties.json`` that is not JSON, or lacks what a dataset needs."""
