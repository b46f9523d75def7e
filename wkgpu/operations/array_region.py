"""A box of a stored array, with the engine that works on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wkgpu.engines import Engine, get_engine
from wkgpu.forking import cached_property
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.settings import config
from wkgpu.storage.formats import open_array
from wkgpu.storage.stored_array import StoredArray


@dataclass(frozen=True)
class ArrayRegion:
    """What an operation works on, and what its jobs carry. In another process it opens its array on the first use.

    Attributes
    ----------
    path : Path
        Folder of the mag.
    mag : Mag
        Magnification.
    box : VoxelBox
        In the mag's own grid.
    device : str
        Name of the engine.
    follows_links : bool
        As for `StoredArray`.
    name : str
        What messages call it.
    coordinates : tuple of int
        Of the array along its extra axes; see `StoredArray.at`.
    """

    path: Path
    mag: Mag
    box: VoxelBox
    device: str
    follows_links: bool = False
    name: str = ""
    coordinates: tuple[int, ...] = ()

    @classmethod
    def of(cls, array: StoredArray, engine: Engine, mag: Mag, box: VoxelBox, name: str = "") -> ArrayRegion:
        """Return a region of an array that is open."""
        follows_links = array.follows_links or config.foreign_writes
        region = cls(array.path, mag, box, engine.name, follows_links, name, array.coordinates)
        region.__dict__.update(array=array, engine=engine)
        return region

    @cached_property
    def array(self) -> StoredArray:
        """The mag."""
        found = open_array(self.path, follows_links=self.follows_links)
        return found.at(self.coordinates) if self.coordinates else found

    @cached_property
    def engine(self) -> Engine:
        """What reads, computes and writes."""
        return get_engine(self.device)

    @property
    def bounding_box(self) -> BoundingBox:
        """The box in Mag(1)."""
        return BoundingBox(self.box.topleft, self.box.shape).from_mag_to_mag1(self.mag)

    def part(self, box: VoxelBox) -> ArrayRegion:
        """Return another box of the array."""
        return ArrayRegion.of(self.array, self.engine, self.mag, box, self.name)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what is open."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
