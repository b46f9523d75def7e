"""Arguments and options that several commands have, and the words that they take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wkgpu.errors import WkgpuError
from wkgpu.storage.stores.local.paths import has_scheme, local_path


class CodecChoice(StrEnum):
    """How chunks can be encoded."""

    RAW = "raw"
    LZ4 = "lz4"
    LZ4HC = "lz4hc"
    ZSTD = "zstd"


class CompressionChoice(StrEnum):
    """Those that compress."""

    LZ4 = "lz4"
    LZ4HC = "lz4hc"
    ZSTD = "zstd"


class Interpolation(StrEnum):
    """What a block of voxels becomes in a coarser mag. The words are those of the library, as a test checks."""

    DEFAULT = "default"
    MEDIAN = "median"
    MODE = "mode"
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    MAX = "max"
    MIN = "min"


class Sampling(StrEnum):
    """Along which axes voxels grow from mag to mag."""

    ANISOTROPIC = "anisotropic"
    ISOTROPIC = "isotropic"
    CONSTANT_Z = "constant_z"


def _power_of_two(edge: int | None) -> int | None:
    if edge is not None and (edge < 1 or edge & (edge - 1)):
        raise typer.BadParameter(f"{edge} is no power of two, like 32 or 1024")
    return edge


def local(path: Path | None) -> Path | None:
    """Return the path of an argument, also of one that begins with file://; other URLs are wrong arguments."""
    try:
        return path if path is None or not has_scheme(path) else local_path(path)
    except WkgpuError as error:
        raise typer.BadParameter(str(error)) from error


PathArgument = Annotated[
    Path,
    typer.Argument(show_default=False, callback=local, help="A dataset, a folder of mags, or the folder of one mag."),
]
DatasetArgument = Annotated[
    Path, typer.Argument(show_default=False, metavar="DATASET", callback=local, help="A dataset.")
]
LayerArgument = Annotated[
    str | None,
    typer.Argument(show_default=False, metavar="[LAYER]", help="Name of the layer; without it, all layers."),
]
MagArgument = Annotated[
    str | None, typer.Argument(show_default=False, metavar="[MAG]", help="1, 2-2-1, ...; without it, all mags.")
]
MagOption = Annotated[
    str | None, typer.Option("--mag", show_default=False, metavar="MAG", help="1, 2-2-1, ...; default: all.")
]
TargetOption = Annotated[
    Path | None,
    typer.Option(
        "--target",
        show_default=False,
        metavar="DIR",
        callback=local,
        help="Dataset that receives a copy; PATH then stays as it is.",
    ),
]
ChunkOption = Annotated[
    int, typer.Option("--chunk", metavar="EDGE", callback=_power_of_two, help="Voxels that are encoded at once, cubed.")
]
ShardOption = Annotated[
    int, typer.Option("--shard", metavar="EDGE", callback=_power_of_two, help="Voxels in one file, cubed.")
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=1,
        metavar="N",
        help="Jobs at a time, in threads. One already uses all cores; more of them overlap with waiting for the disk.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        show_default=False,
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N; default: WKGPU_DEVICE, else cpu.",
    ),
]
