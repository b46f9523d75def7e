"""WEBKNOSSOS volumes at the speed of the machine: the public names of wkgpu, each loaded at its first use."""

from importlib import import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from wkgpu.forking import loading as _loading

if (_Path(__file__).parents[1] / "pyproject.toml").is_file():
    __path__.append(str(_Path(__file__).parents[1]))  # a source tree, where `wkgpu.kernels` lies beside the package

if TYPE_CHECKING:
    from wkgpu import errors as errors
    from wkgpu.dataset.array_info import ArrayInfo as ArrayInfo
    from wkgpu.dataset.attachments import Attachments as Attachments
    from wkgpu.dataset.dataset import Dataset as Dataset
    from wkgpu.dataset.layer import Layer as Layer
    from wkgpu.dataset.mag_view import MagView as MagView
    from wkgpu.dataset.metadata.attachment_kinds import AgglomerateAttachment as AgglomerateAttachment
    from wkgpu.dataset.metadata.attachment_kinds import Attachment as Attachment
    from wkgpu.dataset.metadata.attachment_kinds import AttachmentDataFormat as AttachmentDataFormat
    from wkgpu.dataset.metadata.attachment_kinds import ConnectomeAttachment as ConnectomeAttachment
    from wkgpu.dataset.metadata.attachment_kinds import CumsumAttachment as CumsumAttachment
    from wkgpu.dataset.metadata.attachment_kinds import MeshAttachment as MeshAttachment
    from wkgpu.dataset.metadata.attachment_kinds import SegmentIndexAttachment as SegmentIndexAttachment
    from wkgpu.dataset.metadata.attachment_kinds import SegmentStatisticsAttachment as SegmentStatisticsAttachment
    from wkgpu.dataset.metadata.data_format import DataFormat as DataFormat
    from wkgpu.dataset.metadata.layer_category import COLOR_CATEGORY as COLOR_CATEGORY
    from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY as SEGMENTATION_CATEGORY
    from wkgpu.dataset.metadata.layer_category import LayerCategoryType as LayerCategoryType
    from wkgpu.dataset.metadata.view_configuration import DatasetViewConfiguration as DatasetViewConfiguration
    from wkgpu.dataset.metadata.view_configuration import LayerViewConfiguration as LayerViewConfiguration
    from wkgpu.dataset.metadata.voxel_size import LengthUnit as LengthUnit
    from wkgpu.dataset.metadata.voxel_size import VoxelSize as VoxelSize
    from wkgpu.dataset.open_mag import open_mag as open_mag
    from wkgpu.dataset.segmentation_layer import SegmentationLayer as SegmentationLayer
    from wkgpu.dataset.view import View as View
    from wkgpu.engines import get_engine as get_engine
    from wkgpu.engines.cuda.diagnosis import Finding as Finding
    from wkgpu.engines.cuda.diagnosis import cuda_findings as cuda_findings
    from wkgpu.engines.cuda.driver import has_gpu as has_gpu
    from wkgpu.engines.device_selection import set_device as set_device
    from wkgpu.errors import WkgpuError as WkgpuError
    from wkgpu.geometry.bounding_box import BoundingBox as BoundingBox
    from wkgpu.geometry.bounding_box import BoundingBoxLike as BoundingBoxLike
    from wkgpu.geometry.mag import Mag as Mag
    from wkgpu.geometry.mag import MagLike as MagLike
    from wkgpu.geometry.nd_bounding_box import NDBoundingBox as NDBoundingBox
    from wkgpu.geometry.vec3_int import Vec3Int as Vec3Int
    from wkgpu.geometry.vec3_int import Vec3IntLike as Vec3IntLike
    from wkgpu.geometry.vec_int import VecInt as VecInt
    from wkgpu.geometry.vec_int import VecIntLike as VecIntLike
    from wkgpu.operations import maps as maps
    from wkgpu.operations.downsampling.sampling_modes import SamplingModes as SamplingModes
    from wkgpu.operations.executors import get_executor as get_executor
    from wkgpu.operations.voxel_map import VoxelMap as VoxelMap
    from wkgpu.operations.voxel_map import voxel_map as voxel_map
    from wkgpu.settings import config as config

_MODULES = {
    "AgglomerateAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "ArrayInfo": "wkgpu.dataset.array_info",
    "Attachment": "wkgpu.dataset.metadata.attachment_kinds",
    "AttachmentDataFormat": "wkgpu.dataset.metadata.attachment_kinds",
    "Attachments": "wkgpu.dataset.attachments",
    "BoundingBox": "wkgpu.geometry.bounding_box",
    "BoundingBoxLike": "wkgpu.geometry.bounding_box",
    "COLOR_CATEGORY": "wkgpu.dataset.metadata.layer_category",
    "ConnectomeAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "CumsumAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "DataFormat": "wkgpu.dataset.metadata.data_format",
    "Dataset": "wkgpu.dataset.dataset",
    "DatasetViewConfiguration": "wkgpu.dataset.metadata.view_configuration",
    "Finding": "wkgpu.engines.cuda.diagnosis",
    "Layer": "wkgpu.dataset.layer",
    "LayerCategoryType": "wkgpu.dataset.metadata.layer_category",
    "LayerViewConfiguration": "wkgpu.dataset.metadata.view_configuration",
    "LengthUnit": "wkgpu.dataset.metadata.voxel_size",
    "Mag": "wkgpu.geometry.mag",
    "MagLike": "wkgpu.geometry.mag",
    "MagView": "wkgpu.dataset.mag_view",
    "MeshAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "NDBoundingBox": "wkgpu.geometry.nd_bounding_box",
    "SEGMENTATION_CATEGORY": "wkgpu.dataset.metadata.layer_category",
    "SamplingModes": "wkgpu.operations.downsampling.sampling_modes",
    "SegmentIndexAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "SegmentStatisticsAttachment": "wkgpu.dataset.metadata.attachment_kinds",
    "SegmentationLayer": "wkgpu.dataset.segmentation_layer",
    "Vec3Int": "wkgpu.geometry.vec3_int",
    "Vec3IntLike": "wkgpu.geometry.vec3_int",
    "VecInt": "wkgpu.geometry.vec_int",
    "VecIntLike": "wkgpu.geometry.vec_int",
    "View": "wkgpu.dataset.view",
    "VoxelMap": "wkgpu.operations.voxel_map",
    "VoxelSize": "wkgpu.dataset.metadata.voxel_size",
    "WkgpuError": "wkgpu.errors",
    "config": "wkgpu.settings",
    "cuda_findings": "wkgpu.engines.cuda.diagnosis",
    "get_engine": "wkgpu.engines",
    "get_executor": "wkgpu.operations.executors",
    "has_gpu": "wkgpu.engines.cuda.driver",
    "open_mag": "wkgpu.dataset.open_mag",
    "set_device": "wkgpu.engines.device_selection",
    "voxel_map": "wkgpu.operations.voxel_map",
}
_SUBMODULES = {"errors": "wkgpu.errors", "maps": "wkgpu.operations.maps"}

__all__ = sorted([*_MODULES, *_SUBMODULES])  # the names above, written once


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        with _loading:
            return import_module(_SUBMODULES[name])
    if name not in _MODULES:
        from wkgpu.absent_names import absence  # only now: what is there does without it

        raise AttributeError(f"module 'wkgpu' has no attribute {name!r}{absence(['wkgpu'], name)}")
    with _loading:
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
