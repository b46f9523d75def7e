"""The demo's picture: a slice of both layers, side by side and one upon the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wkgpu.cli.pictures import Pixels, colours_of, overlaid
from wkgpu.errors import UnsupportedError
from wkgpu.extras import install_command

_MIN_EDGE = 400  # pixels of a panel; a smaller slice is enlarged by a whole factor
_MARGIN, _TEXT_HEIGHT, _FONT_SIZE = 16, 36, 16
_PAPER, _INK = (16, 18, 22), (225, 228, 232)


def save_panels(image: Any, segmentation: Any, nanometers: float, path: Path) -> None:
    """Save image, segmentation and overlay as a PNG, with names and a scale bar.

    Parameters
    ----------
    image, segmentation : array (x, y)
        uint8, and ids.
    nanometers : float
        Extent of a voxel.
    path : Path
        Ends with .png.

    Raises
    ------
    UnsupportedError
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise UnsupportedError(f"A picture needs Pillow; run: {install_command('image')}") from error

    colours = colours_of(segmentation.T)
    grey = np.ascontiguousarray(image.T)
    panels = {
        "image": np.repeat(grey[..., None], 3, axis=-1),
        "segmentation": colours,
        "overlay": overlaid(grey, colours),
    }
    factor = -(-_MIN_EDGE // max(grey.shape))
    height, width = grey.shape[0] * factor, grey.shape[1] * factor
    sheet = Image.new("RGB", (len(panels) * (width + _MARGIN) + _MARGIN, height + _MARGIN + _TEXT_HEIGHT), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    middle = _MARGIN + height + _TEXT_HEIGHT // 2
    for position, (name, pixels) in enumerate(panels.items()):
        left = _MARGIN + position * (width + _MARGIN)
        sheet.paste(Image.fromarray(_enlarged(pixels, factor)), (left, _MARGIN))
        draw.text((left, middle), name, _INK, font, anchor="lm")
    length, label = _scale_bar(width // 3, nanometers / factor)
    right = len(panels) * (width + _MARGIN)
    draw.rectangle((right - length, middle - 2, right - 1, middle + 1), _INK)
    draw.text((right - length - 8, middle), label, _INK, font, anchor="rm")
    sheet.save(path)


def _enlarged(pixels: Pixels, factor: int) -> Pixels:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _scale_bar(longest: int, nanometers: float) -> tuple[int, str]:
    """Return pixels and label of the longest round length that fits, for pixels of this extent."""
    lengths = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    length = max((length for length in lengths if length <= longest * nanometers), default=lengths[0])
    return round(length / nanometers), f"{length:,} nm"
