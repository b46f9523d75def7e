"""Where: positions, sizes, magnifications and boxes of voxels.

Pure Python on its own: of wkgpu it imports the errors alone, and NumPy only when asked for an array.
"""

from wkgpu.geometry.bounding_box import BoundingBox, BoundingBoxLike
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.vec_int import VecInt, VecIntLike

__all__ = [
    "BoundingBox",
    "BoundingBoxLike",
    "Mag",
    "MagLike",
    "NDBoundingBox",
    "Vec3Int",
    "Vec3IntLike",
    "VecInt",
    "VecIntLike",
]
