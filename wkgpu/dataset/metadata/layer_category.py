"""What a layer shows: an image or a segmentation."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from wkgpu.errors import CategoryError

LayerCategoryType: TypeAlias = Literal["color", "segmentation"]

COLOR_CATEGORY: Literal["color"] = "color"
SEGMENTATION_CATEGORY: Literal["segmentation"] = "segmentation"


def checked_category(category: Any) -> LayerCategoryType:
    """Return the category, or raise a `CategoryError` that names it."""
    if category == COLOR_CATEGORY:
        return COLOR_CATEGORY
    if category == SEGMENTATION_CATEGORY:
        return SEGMENTATION_CATEGORY
    raise CategoryError(f"category is {category!r}; use {COLOR_CATEGORY!r} or {SEGMENTATION_CATEGORY!r}.")
