"""What the WEBKNOSSOS library has and wkgpu has not, so that an `AttributeError` can say what to do instead.

The names are those of version 4.3; a test compares them with the library. A name that wkgpu gets is removed here.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

_ON_A_SERVER: dict[str, str] = {
    "wkgpu": """AgglomerateGraph AiModelCategory Annotation AnnotationInfo AnnotationState AnnotationType Datastore
        LayerToLink Project RemoteAccessMode RemoteAiModel RemoteAnnotation RemoteAttachments RemoteDataset RemoteFolder
        RemoteLayer RemoteMagView RemoteSegmentationLayer SegmentInformation StorageCredentials Task TaskType Team
        TransferMode User WkApiClient current_version login webknossos_context""",
    "Dataset": """add_remote_layer download get_remote_datasets open_remote publish_to_preliminary_dataset
        trigger_dataset_import trigger_reload_in_datastore upload""",
    "Layer": "add_remote_mag",
}
_IN_THE_LIBRARY: dict[str, str] = {
    "wkgpu": """AffineCoordinateTransformation AttachmentProperties AttachmentsProperties CoordinateTransformation
        CorruptImageError DatasetProperties Group ImageConversionError LayerExport LayerProperties MagViewProperties
        Node NormalizedBoundingBox SegmentationLayerProperties Skeleton ThinPlateSplineCoordinateTransformation Tree
        UnsupportedImageDataError UnsupportedImageFormatError Vec3Float as_vec3_float_or_none as_vec3_int_or_none
        check_version_in_background get_dataset_converter length_unit_from_str""",
    "Dataset": """ConversionLayerMapping add_copy_layer add_fs_copy_layer add_layer_from_images add_symlink_layer
        from_images fs_copy_dataset resolved_path shallow_copy_dataset""",
    "Layer": """add_copy_mag add_fs_copy_mag add_mag_from_zarrarray add_symlink_mag coordinate_transformations
        export is_foreign is_mag_view_foreign is_remote_to_dataset resolved_path upsample""",
    "MagView": "create is_foreign",
}

ON_A_SERVER = {owner: frozenset(names.split()) for owner, names in _ON_A_SERVER.items()}
"""Members that need a WEBKNOSSOS server, by the name of the class or module that has them."""

IN_THE_LIBRARY = {owner: frozenset(names.split()) for owner, names in _IN_THE_LIBRARY.items()}
"""Members that need none."""


def absence(owners: Iterable[str], name: str) -> str:
    """Return the rest of the message of an `AttributeError`; empty for a name that the library does not have.

    Examples
    --------
    >>> "needs a WEBKNOSSOS server" in absence(["Dataset"], "upload"), absence(["Dataset"], "uplaod")
    (True, '')
    """
    owners = list(owners)
    use = "use the webknossos package, for which the files are the same."
    if any(name in ON_A_SERVER.get(owner, ()) for owner in owners):
        return f": it needs a WEBKNOSSOS server, which wkgpu does not talk to; {use}"
    if any(name in IN_THE_LIBRARY.get(owner, ()) for owner in owners):
        return f": wkgpu does not have it; {use}"
    return ""


def _check(owner: type, name: str) -> None:
    if rest := absence((base.__name__ for base in owner.__mro__), name):
        raise AttributeError(f"{owner.__name__!r} has no attribute {name!r}{rest}")


class _TellingType(ABCMeta):
    """The type of `TellsWhatIsAbsent`, for members of the class itself: ``Dataset.download``."""

    if not TYPE_CHECKING:  # a type checker would take every name for one that is there

        def __getattr__(cls, name: str) -> Any:
            _check(cls, name)
            return type.__getattribute__(cls, name)  # Python's own error


class TellsWhatIsAbsent(metaclass=_TellingType):
    """A class whose members that are missing, and known to the WEBKNOSSOS library, are errors that say so."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            _check(type(self), name)
            return object.__getattribute__(self, name)  # Python's own error, or that of a property
