"""What commands for a whole dataset leave out: what wkgpu does not read. A warning names each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wkgpu.dataset.legacy import warn_caller
from wkgpu.storage.formats import is_supported, titles
from wkgpu.storage.stores.local.paths import is_remote, url_of

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer
    from wkgpu.dataset.mag_view import MagView


def is_usable(layer: Layer, doing: str) -> bool:
    """Whether a layer has a format that wkgpu reads; a warning names one that has not.

    Parameters
    ----------
    doing : str
        What is done with the others, for the warning: "compressed", "copied".
    """
    if is_supported(layer.data_format.value):
        return True
    warn_caller(
        f"Layer {layer.name!r} of {layer.dataset.path} is not {doing}: it is {layer.data_format.value}, and this "
        f"version of wkgpu reads {titles()} only."
    )
    return False


def usable_mags(layer: Layer, doing: str) -> list[MagView]:
    """Return the mags of a layer whose files wkgpu reads; warnings name the others; see `is_usable`."""
    found = list(layer.mags.values())
    if found and not is_usable(layer, doing):
        return []
    for mag_view in found:
        if is_remote(mag_view.path):
            warn_caller(
                f"Mag {mag_view.name} of layer {layer.name!r} of {layer.dataset.path} is not {doing}: it is at "
                f"{url_of(mag_view.path)}, and only local files are supported."
            )
    return [mag_view for mag_view in found if not is_remote(mag_view.path)]


def format_problem(layer: Layer) -> str | None:
    """Return a sentence about a layer whose voxels wkgpu cannot read."""
    if is_supported(layer.data_format.value):
        return None
    return (
        f"Layer {layer.name!r} of {layer.dataset.path} is {layer.data_format.value}, and this version of wkgpu reads "
        f"{titles()} only."
    )


def remote_problem(mag_view: MagView) -> str | None:
    """Return a sentence about a mag that is not a local file."""
    if not is_remote(mag_view.path):
        return None
    return f"Mag {mag_view.name} is at {url_of(mag_view.path)}, and only local files are supported."
