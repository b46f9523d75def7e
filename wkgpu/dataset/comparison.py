"""Whether two views have the same voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wkgpu.dataset.blocks import Box, cells
from wkgpu.dataset.chunk_shapes import comparison_shape
from wkgpu.dataset.transfer import boxes_are_equal
from wkgpu.storage.layout import triple

if TYPE_CHECKING:
    from wkgpu.dataset.view import View


def are_equal(views: tuple[View, View]) -> bool:
    """Whether two views of one mag and size have the same voxels; what is read at once fits memory easily."""
    one, other = views
    box, facing = (Box(view._frame.topleft, view._frame.shape) for view in views)
    shape = triple(comparison_shape(one) // one.mag.to_vec3_int())
    for corner in cells(box, shape):
        part = box.meet(Box(corner, shape))
        assert part is not None
        shifted = triple(a - b + c for a, b, c in zip(part.topleft, box.topleft, facing.topleft, strict=True))
        if not boxes_are_equal(one._array, other._array, one._engine, (part.topleft, shifted), part.shape):
            return False
    return True
