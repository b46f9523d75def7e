"""How WEBKNOSSOS shows a dataset and its layers at first: ``defaultViewConfiguration`` in the properties file."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

import msgspec

from wkgpu.dataset.metadata.json_document import Document
from wkgpu.errors import ArgumentError, PropertiesError

_KEY = "defaultViewConfiguration"


class _ViewConfiguration(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a dataset and a layer have in common: None stands for what is not said, and is not written."""

    @classmethod
    def saved_in(cls, document: Document, where: str) -> Self | None:
        """Return what an entry of the properties file says; None where it says nothing.

        Raises
        ------
        PropertiesError
            Which begins with `where`, and names the key.
        """
        saved = document.get(_KEY)
        if saved is None:
            return None
        try:
            return msgspec.convert(_readable(saved), cls)
        except (msgspec.ValidationError, UnicodeError) as error:
            raise PropertiesError(f"{where}: {_KEY}: {error}. Correct it, or remove the key.") from error

    @classmethod
    def save_in(cls, document: Document, configuration: Self | None) -> None:
        """Write a configuration into an entry of the properties file, or remove it; keys that are not known stay.

        Raises
        ------
        ArgumentError
            For what is no configuration, or one with a value of the wrong type.
        """
        if configuration is None:
            document.pop(_KEY, None)
            return
        if not isinstance(configuration, cls):
            raise ArgumentError(f"default_view_configuration is {configuration!r}; give a {cls.__name__}, or None.")
        try:
            found = msgspec.to_builtins(configuration, enc_hook=_from_numpy)
            msgspec.convert(_readable(found), cls)
        except (msgspec.ValidationError, TypeError, UnicodeError) as error:
            raise ArgumentError(f"{configuration!r} cannot be saved: {error}") from error
        document[_KEY] = cls._joined(document.get(_KEY), found)

    @classmethod
    def _joined(cls, saved: Any, new: Document) -> Document:
        """Return a new object with the keys of a saved one that are not known here."""
        known = {field.encode_name for field in msgspec.structs.fields(cls)} | set(cls.__struct_fields__)
        kept = {key: value for key, value in saved.items() if key not in known} if isinstance(saved, dict) else {}
        return deepcopy(kept) | new


class LayerViewConfiguration(_ViewConfiguration):
    """How WEBKNOSSOS shows a layer at first. None leaves it to WEBKNOSSOS.

    Parameters
    ----------
    color : (r, g, b), optional
        From 0 to 255: what the brightest voxels look like.
    alpha : float, optional
        Opacity in percent.
    intensity_range : (low, high), optional
        Voxel values that are shown black and in full color.
    min, max : float, optional
        Ends of the slider of the intensity range.
    is_disabled, is_inverted, is_in_edit_mode : bool, optional
        Whether the layer is hidden, shown inverted, and its range can be edited.
    mapping : dict of str, optional
        The agglomerate to show: ``{"name": ..., "type": "HDF5"}``.

    Examples
    --------
    >>> LayerViewConfiguration(color=(255, 0, 0), alpha=50)
    LayerViewConfiguration(color=(255, 0, 0), alpha=50)
    """

    color: tuple[int, int, int] | None = None
    alpha: float | None = None
    intensity_range: tuple[float, float] | None = None
    min: float | None = None
    max: float | None = None
    is_disabled: bool | None = None
    is_inverted: bool | None = None
    is_in_edit_mode: bool | None = None
    mapping: dict[str, str] | None = None

    def __repr__(self) -> str:
        return _shown(self)


class DatasetViewConfiguration(_ViewConfiguration):
    """How WEBKNOSSOS shows a dataset at first. None leaves it to WEBKNOSSOS.

    Parameters
    ----------
    four_bit, interpolation, render_missing_data_black : bool, optional
        Whether voxels are shown with four bits, interpolated, and black where there are none.
    loading_strategy : str, optional
        Which mags are loaded first: ``"PROGRESSIVE_QUALITY"`` or ``"BEST_QUALITY_FIRST"``.
    segmentation_pattern_opacity : int, optional
        In percent.
    zoom : float, optional
        Voxels of Mag(1) in a pixel.
    position : (x, y, z), optional
        In Mag(1).
    rotation : (x, y, z), optional
        In degrees.
    layers : dict of LayerViewConfiguration, optional
        By the name of the layer.
    color_layer_order : list of str, optional
        Names of layers, as they are stacked.
    blend_mode : str, optional
        ``"Additive"`` or ``"Cover"``.
    natively_rendered_layer_name : str, optional
        The layer to whose grid the others are transformed.

    Examples
    --------
    >>> DatasetViewConfiguration(zoom=2, layers={"cells": LayerViewConfiguration(alpha=20)})
    DatasetViewConfiguration(zoom=2, layers={'cells': LayerViewConfiguration(alpha=20)})
    """

    four_bit: bool | None = None
    interpolation: bool | None = None
    render_missing_data_black: bool | None = None
    loading_strategy: str | None = None
    segmentation_pattern_opacity: int | None = None
    zoom: float | None = None
    position: tuple[int, int, int] | None = None
    rotation: tuple[int, int, int] | None = None
    layers: dict[str, LayerViewConfiguration] | None = None
    color_layer_order: list[str] | None = None
    blend_mode: str | None = None
    natively_rendered_layer_name: str | None = None

    def __repr__(self) -> str:
        return _shown(self)

    @classmethod
    def _joined(cls, saved: Any, new: Document) -> Document:
        layers = saved.get("layers") if isinstance(saved, dict) else None
        if isinstance(layers, dict):
            for name, layer in new.get("layers", {}).items():
                new["layers"][name] = LayerViewConfiguration._joined(layers.get(name), layer)
        return super()._joined(saved, new)


def rename_in_view_configuration(document: Document, old: str, new: str) -> None:
    """Let the configuration of a dataset name a layer by its new name."""
    saved = document.get(_KEY)
    if not isinstance(saved, dict):
        return
    if isinstance(layers := saved.get("layers"), dict):
        saved["layers"] = {new if name == old else name: layer for name, layer in layers.items()}
    if isinstance(order := saved.get("colorLayerOrder"), list):
        saved["colorLayerOrder"] = [new if name == old else name for name in order]
    if saved.get("nativelyRenderedLayerName") == old:
        saved["nativelyRenderedLayerName"] = new


def _shown(configuration: _ViewConfiguration) -> str:
    values = {name: getattr(configuration, name) for name in configuration.__struct_fields__}
    said = ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)
    return f"{type(configuration).__name__}({said})"


def _readable(value: Any) -> Any:
    """Return a JSON value with whole numbers as integers, and the layers' keys as WEBKNOSSOS writes them.

    The WEBKNOSSOS library writes the layers of a dataset's configuration with underscores.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {field.name: field.encode_name for field in msgspec.structs.fields(LayerViewConfiguration)}
    found = {key: _readable(item) for key, item in value.items()}
    if isinstance(layers := found.get("layers"), dict):
        found["layers"] = {
            name: {names.get(key, key): item for key, item in layer.items()} if isinstance(layer, dict) else layer
            for name, layer in layers.items()
        }
    return found


def _from_numpy(value: Any) -> Any:
    """Return what JSON has for a number or an array of NumPy."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"{value!r} is nothing that JSON has")
    return value.tolist()
