"""Layers that are copied into another dataset: mags, what the properties file says about them, and attachments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wkgpu.dataset.box_axes import extended
from wkgpu.dataset.changes.attachment_copies import CopiedAttachments
from wkgpu.dataset.changes.extents import extent_of, make_room
from wkgpu.dataset.changes.further_axes import axes_problem, box_of_copy, check_further_axes
from wkgpu.dataset.changes.groups import check_group, list_mags
from wkgpu.dataset.changes.layer_entries import new_layer
from wkgpu.dataset.changes.mag_entries import check_headers, settle_layer
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.legacy import warn_caller
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_properties import LayerProperties, checked_name
from wkgpu.dataset.readable import format_problem, is_usable, remote_problem, usable_mags
from wkgpu.dataset.shapes import Compression, Shape, changed_spec
from wkgpu.errors import MismatchError, NameTakenError, UnsupportedError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.jobs import Executor
from wkgpu.operations.rewriting import rewrite
from wkgpu.storage.formats import check_spec, create_array, format_named
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.links import check_inside

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer
    from wkgpu.dataset.mag_view import MagView

_OF_THE_COPY = frozenset(
    {"mags", "wkwResolutions", "attachments", "additionalAxes"}
)  # what lies in the copy, and not in the original


class LayoutOverrides(NamedTuple):
    """How copies are stored; what is None stays as each layer or mag has it. See `Dataset.copy_dataset`."""

    chunk_shape: Shape | None
    shard_shape: Shape | None
    chunks_per_shard: Shape | None
    data_format: str | DataFormat | None
    compress: Compression | None

    def check_format(self, layer: Layer) -> None:
        """Raise an `UnsupportedError` if a format is wanted that is not written."""
        if self.data_format is not None:
            format_named(self.format_of(layer).value)

    def format_of(self, layer: Layer) -> DataFormat:
        """Return the format of the copy of a layer."""
        return layer.data_format if self.data_format is None else DataFormat.parse(self.data_format)

    def of(self, found: StoredArray, data_format: DataFormat) -> ArraySpec:
        """Return the spec of the copy of a mag, in a format.

        Raises
        ------
        ShapeError, ArgumentError, UnsupportedError, DtypeError
            For shapes that do not fit each other, and for what the format cannot store.
        """
        compress = None if self.compress is True and found.spec.codecs else self.compress
        shapes = self.chunk_shape, self.shard_shape, self.chunks_per_shard
        spec = changed_spec(found.spec, found.data_format, *shapes, compress, data_format.value)
        check_spec(spec, data_format.value)
        return spec


class DatasetCopy:
    """A dataset that is going to be copied. Nothing is written before all layers are known to fit.

    Parameters
    ----------
    dataset : Dataset
        The original.
    wanted : LayoutOverrides
        How to store the copy.
    layers_to_ignore : iterable of str, optional
        Names of layers to leave out.

    Raises
    ------
    UnsupportedError, ShapeError, ArgumentError, MismatchError
        As from `LayerCopy`.
    """

    def __init__(self, dataset: Dataset, wanted: LayoutOverrides, layers_to_ignore: Iterable[str] | None) -> None:
        ignored = {layers_to_ignore} if isinstance(layers_to_ignore, str) else set(layers_to_ignore or ())
        self._properties = dataset._properties
        self._layers = [
            copy
            for name, layer in dataset.layers.items()
            if name not in ignored and (copy := LayerCopy.of(layer, wanted))
        ]
        for broken in self._properties.broken_layers:
            if broken.name not in ignored:
                warn_caller(f"Layer {broken.name!r} is not copied: {broken.reason}")

    def make(self, target: Dataset, executor: Executor | None) -> None:
        """Write the copy into a dataset.

        Raises
        ------
        NameTakenError, MismatchError, ReadOnlyError, NotFoundError, FormatError, StorageAccessError
            As from `LayerCopy.check_room` and `LayerCopy.make`.
        """
        for copy in self._layers:
            copy.check_room(target)
        with target._changing() as properties:
            add_missing(properties.document, self._properties.document)
        for copy in self._layers:
            copy.make(target, executor)


class LayerCopy:
    """A layer that is going to be copied. Nothing is written before all layers are known to fit.

    Parameters
    ----------
    layer : Layer
        The original.
    mags : sequence of MagView
        Which of its mags to copy.
    wanted : LayoutOverrides
        How to store the copy.
    name : str, optional
        Of the copy; by default that of the layer.
    with_attachments : bool
        Whether to copy the attachments.

    Raises
    ------
    UnsupportedError, ShapeError, ArgumentError
        If it cannot be stored like this.
    MismatchError
        If the header of a mag and the properties file disagree on the type or the channels of voxels.
    """

    def __init__(
        self,
        layer: Layer,
        mags: Sequence[MagView],
        wanted: LayoutOverrides,
        name: str | None = None,
        with_attachments: bool = True,
    ) -> None:
        check_headers(layer)
        self._layer = layer
        self._data_format = wanted.format_of(layer)
        self._specs = {mag_view.mag: (mag_view, wanted.of(mag_view._array, self._data_format)) for mag_view in mags}
        self._name = layer.name if name is None else name
        self._with_attachments = with_attachments

    @classmethod
    def of(cls, layer: Layer, wanted: LayoutOverrides) -> LayerCopy | None:
        """Return the copy of a layer; None, with a warning, if it has another format, or no mag that is local.

        Also if it has further axes, which the format of the copy does not have.

        Raises
        ------
        UnsupportedError
            For a format that is wanted and not written.
        UnsupportedError, ShapeError, ArgumentError, MismatchError
            As from the constructor.
        """
        wanted.check_format(layer)
        if not is_usable(layer, "copied"):
            return None
        if (problem := axes_problem(layer, wanted.format_of(layer))) is not None:
            warn_caller(f"Layer {layer.name!r} of {layer.dataset.path} is not copied: {problem}")
            return None
        mags = usable_mags(layer, "copied")
        return cls(layer, mags, wanted) if mags or not layer.mags else None

    def check_room(self, target: Dataset) -> None:
        """Check that a dataset has none of the mags, and that its layer of this name can hold them.

        Raises
        ------
        NameTakenError
            If it has one.
        MismatchError
            If the layer has another format than the copy, or other axes.
        ReadOnlyError
            If the folder for the layer is a link that leads out of the dataset.
        PropertiesError, ReadOnlyError
            If the group in that folder cannot be understood, or is a link.
        """
        check_inside(target.path / self._name, target.path, target._allow_foreign_writes)
        check_group(target.path / self._name, self._data_format)
        twin = target.layers.get(self._name)
        if twin is not None and twin.data_format != self._data_format:
            raise MismatchError(
                f"Layer {self._name!r} of {target.path} is {twin.data_format.value}, and the copy is to be "
                f"{self._data_format.value}; give data_format={twin.data_format.value!r}, or another name."
            )
        if twin is not None:
            check_further_axes(twin, self._layer.bounding_box)
        taken = [] if twin is None else [str(mag) for mag in self._specs if mag in twin.mags]
        if taken:
            raise NameTakenError(
                f"Layer {self._name!r} of {target.path} has a mag {taken[0]} already; delete it with "
                "delete_mag(), or leave the layer out with layers_to_ignore."
            )

    def make(self, target: Dataset, executor: Executor | None) -> Layer:
        """Write the copy, and return it.

        Raises
        ------
        MismatchError
            If the dataset has a layer of this name that differs in category, dtype or number of channels.
        NotFoundError, FormatError, StorageAccessError
            If files are missing, damaged, or cannot be read or written.
        """
        twin = self._twin(target)
        settle_layer(twin)
        for mag, (source, spec) in self._specs.items():
            text = f"Copying {self._layer.name} {mag}"
            copy_mag(source, twin, mag, spec, self._layer.bounding_box, executor, text)
        return twin

    def _twin(self, target: Dataset) -> Layer:
        """Return the layer of this name in the other dataset, and add it before if there is none."""
        layer = self._layer
        twin = target.get_or_add_layer(
            self._name,
            layer.category,
            dtype=layer.dtype,
            num_channels=layer.num_channels,
            data_format=self._data_format,
            bounding_box=box_of_copy(layer, self._data_format),
        )
        original = layer._properties.document
        added = {key: value for key, value in original.items() if key not in _OF_THE_COPY}
        has_attachments = (
            self._with_attachments and "attachments" in original and "attachments" not in twin._properties.document
        )
        attachments = original["attachments"] if has_attachments else None
        with CopiedAttachments(attachments, layer.dataset.path, twin.path, target._file) as copied:
            if has_attachments:
                added["attachments"] = copied.listed
            with target._changing() as properties:
                listed = properties.layer(twin.name)
                ids = [known.largest_segment_id for known in (listed, layer._properties)]
                add_missing(listed.document, added)
                listed.largest_segment_id = max((known for known in ids if known is not None), default=None)
                copied.place()
        return twin


def copy_layer(
    dataset: Dataset,
    layer: Layer,
    name: str,
    wanted: LayoutOverrides,
    exists_ok: bool,
    executor: Executor | None,
    with_attachments: bool,
) -> Layer:
    """Copy a layer into a dataset under a name; see `Dataset.add_layer_as_copy`."""
    dataset._check_writable()
    wanted.check_format(layer)
    data_format = wanted.format_of(layer)
    for problem in (format_problem(layer), *map(remote_problem, layer.mags.values())):
        if problem is not None:
            raise UnsupportedError(f"{problem} It cannot be copied.")
    if (problem := axes_problem(layer, data_format)) is not None:
        raise UnsupportedError(f"Layer {layer.name!r} of {layer.dataset.path} is not copied: {problem}")
    copy = LayerCopy(layer, list(layer.mags.values()), wanted, checked_name(name), with_attachments)
    dataset._refresh()
    is_new = name not in dataset.layers
    if not is_new and not exists_ok:
        raise NameTakenError(
            f"{dataset.path} has a layer {name!r} already; give another new_layer_name, or exists_ok=True to add the "
            "mags that it lacks."
        )
    copy.check_room(dataset)
    with ExitStack() as undone_if_it_fails:
        if is_new:
            listed = LayerProperties.new(
                name,
                layer.category,
                layer.dtype,
                layer.num_channels,
                data_format,
                box_of_copy(layer, data_format),
                None,
            )
            with suppress(NameTakenError) if exists_ok else nullcontext():  # another process may be faster
                undone_if_it_fails.enter_context(new_layer(dataset, listed))
        return copy.make(dataset, executor)


def copy_mag(
    source: MagView,
    layer: Layer,
    mag: Mag,
    spec: ArraySpec,
    box: NDBoundingBox,
    executor: Executor | None,
    progress_desc: str | None,
) -> MagView:
    """Add a copy of a mag to a layer. When it is whole it is listed, and the layer holds the box.

    Parameters
    ----------
    source : MagView
        The original.
    layer : Layer
        Gets the copy, as `mag`.
    spec : ArraySpec
        How it is stored. Where its fill value is another one than that of the original, all voxels of the original's
        box are written.
    box : NDBoundingBox
        In Mag(1); an empty one leaves the layer's box as it is.

    Raises
    ------
    NameTakenError
        If the layer has this mag.
    """
    dataset, name = layer.dataset, mag.to_layer_name()
    _check_free(layer._properties, mag, dataset.path)
    check_group(layer.path, layer.data_format)
    with NewFolder(layer.path / name, dataset._file) as folder:
        array, own = source._array, layer._properties
        copied = source.bounding_box if box.is_empty() else box
        extent = array.extent or extent_of(copied, mag, spec.shard_shape)
        found = dict(array.extra_axes)
        extra_axes = [(axis, max(end, found.get(axis, end))) for axis, end in own.extra_axes]
        target = create_array(folder.building, spec, layer.data_format.value, extent, own.axes, extra_axes)
        has_other_fill = array.spec.memory_fill_bytes != target.spec.memory_fill_bytes
        box_to_fill = source._frame.box if has_other_fill else None
        rewrite(array, target, source.mag, source._engine.name, executor, progress_desc, box_to_fill)
        with dataset._changing() as properties:
            listed = properties.layer(layer.name)
            _check_free(listed, mag, dataset.path)
            listed.add_mag(mag, f"./{layer.name}/{name}", spec.shard_shape, target.axes)
            extend_box(listed, box)
            folder.place()
    list_mags(layer)
    make_room(layer)
    return layer.get_mag(mag)


def extend_box(listed: LayerProperties, box: NDBoundingBox) -> None:
    """Let the box of a layer hold another one as well."""
    if not box.is_empty():
        listed.bounding_box = extended(listed.bounding_box, box)


def _check_free(listed: LayerProperties, mag: Mag, dataset: Path) -> None:
    if listed.has_mag(mag):
        raise NameTakenError(
            f"Layer {listed.name!r} of {dataset} has a mag {mag} already; delete it with delete_mag(), or choose "
            "another target."
        )


def add_missing(document: Document, original: Document) -> None:
    """Add those keys of a JSON object that another one lacks, also those that wkgpu does not know."""
    for key, value in original.items():
        document.setdefault(key, deepcopy(value))
