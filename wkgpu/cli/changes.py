"""The commands that change volumes, and the one that compares them; `app` adds them to the others.

Like those in `app`, they import what they need when they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wkgpu.cli.console import exits_2_on_error, output, reports_errors
from wkgpu.cli.options import (
    ChunkOption,
    CodecChoice,
    CompressionChoice,
    DatasetArgument,
    DeviceOption,
    Interpolation,
    JobsOption,
    LayerArgument,
    MagArgument,
    MagOption,
    PathArgument,
    Sampling,
    ShardOption,
    TargetOption,
    local,
)


@reports_errors
def compress(
    path: PathArgument,
    layer: LayerArgument = None,
    mag: MagArgument = None,
    *,
    codec: Annotated[
        CompressionChoice | None,
        typer.Option(show_default=False, help="Default: what is compressed stays as it is."),
    ] = None,
    target: TargetOption = None,
    jobs: JobsOption = 1,
    device: DeviceOption = None,
) -> None:
    """Compress a dataset, a layer or a mag, in place or as a copy.

    The new files are made beside the old ones, which they then replace at once, so that there has to be room for both
    files of a mag. No other process may write to it while that is done.

    • wkgpu compress dataset

    • wkgpu compress dataset color 1 --codec lz4hc --target archive
    """
    from wkgpu.cli.rewriting import compressing, rewrite_mags

    rewrite_mags(path, _names(layer, mag), compressing(codec), target, device, jobs, output())


@reports_errors
def rechunk(
    path: PathArgument,
    layer: LayerArgument = None,
    mag: MagArgument = None,
    *,
    chunk: ChunkOption = 32,
    shard: ShardOption = 1024,
    codec: Annotated[CodecChoice | None, typer.Option(show_default=False, help="Default: as each mag is.")] = None,
    target: TargetOption = None,
    jobs: JobsOption = 1,
    device: DeviceOption = None,
) -> None:
    """Cut a dataset, a layer or a mag into other chunks and shards, in place or as a copy.

    • wkgpu rechunk dataset color --chunk 64 --shard 512

    • wkgpu rechunk dataset color 1 --codec raw --target scratch
    """
    from wkgpu.cli.rewriting import rechunking, rewrite_mags

    rewrite_mags(path, _names(layer, mag), rechunking(chunk, shard, codec), target, device, jobs, output())


@reports_errors
def downsample(
    path: DatasetArgument,
    layer: LayerArgument = None,
    *,
    from_mag: Annotated[
        str | None,
        typer.Option("--from", show_default=False, metavar="MAG", help="Where to begin; default: the coarsest mag."),
    ] = None,
    to_mag: Annotated[
        str | None,
        typer.Option("--to", show_default=False, metavar="MAG", help="Where to end; default: a mag of 100 voxels."),
    ] = None,
    mode: Annotated[
        Interpolation,
        typer.Option(help="What a block of voxels becomes; default: mode for segmentations, and median for images."),
    ] = Interpolation.DEFAULT,
    sampling: Annotated[
        Sampling, typer.Option(help="Which axes get coarser; by the voxel size, all, or x and y alone.")
    ] = Sampling.ANISOTROPIC,
    again: Annotated[
        bool, typer.Option("--again", help="Recompute all mags of LAYER from the finest, after that was changed.")
    ] = False,
    jobs: JobsOption = 1,
    device: DeviceOption = None,
) -> None:
    """Add coarser mags to a layer, or to all layers of a dataset.

    • wkgpu downsample dataset

    • wkgpu downsample dataset color --from 2-2-1 --to 16
    """
    from wkgpu.cli.path_content import parse_mag
    from wkgpu.cli.pyramid import Pyramid, downsample_layers

    begin, end = (None if mag is None else parse_mag(mag) for mag in (from_mag, to_mag))
    wanted = Pyramid(begin, end, mode.value, sampling.value, again)
    downsample_layers(path, _names(layer, None), wanted, device, jobs, output())


@reports_errors
def merge(
    path: DatasetArgument,
    layer: Annotated[str, typer.Argument(show_default=False, metavar="LAYER", help="Name of the layer that changes.")],
    annotation: Annotated[
        Path,
        typer.Argument(
            show_default=False,
            metavar="ANNOTATION",
            callback=local,
            help="A folder of mags, or the folder of one mag.",
        ),
    ],
    *,
    mag: MagOption = None,
    jobs: JobsOption = 1,
    device: DeviceOption = None,
) -> None:
    """Merge a volume annotation into the layer that it was made on.

    Each file of the annotation replaces the voxels of its box, in all mags that both have. Mags that only the layer has
    stay as they are, and are named.

    • wkgpu merge dataset cells annotation
    """
    from wkgpu.cli.merging import merge_annotation

    merge_annotation(path, layer, annotation, mag, device, jobs, output())


@exits_2_on_error
def equal(
    path: PathArgument,
    other: Annotated[
        Path, typer.Argument(show_default=False, metavar="OTHER", callback=local, help="What to compare with.")
    ],
    *,
    layer: Annotated[
        str | None, typer.Option(show_default=False, metavar="LAYER", help="The only layer to compare; default: all.")
    ] = None,
    mag: MagOption = None,
    jobs: JobsOption = 1,
    device: DeviceOption = None,
) -> None:
    """Compare two datasets, layers or mags, however they are stored.

    The exit code is 0 if they are equal, 1 if they differ, and 2 if they cannot be compared.

    • wkgpu equal dataset archive

    • wkgpu equal dataset/color archive/color
    """
    from wkgpu.cli.comparison import are_equal

    if not are_equal(path, other, _names(layer, mag), device, jobs, output()):
        raise typer.Exit(1)


def _names(layer: str | None, mag: str | None) -> list[str]:
    return [name for name in (layer, mag) if name is not None]
