"""Which mags follow from one when a layer is downsampled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any

from wkgpu.enum_members import member_of
from wkgpu.errors import ArgumentError, SamplingError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox

_COARSEST_EXTENT = 100  # voxels along x and y, at most, in a default coarsest mag: a thumbnail of the layer
_MIN_COARSEST = 4


class SamplingModes(Enum):
    """Along which axes voxels grow from one mag to the next.

    A name does wherever a member does: ``"isotropic"``.

    Attributes
    ----------
    ANISOTROPIC
        Voxels become as isotropic as their size in nanometers allows: the shortest axes are doubled alone as long as
        that makes voxels more even, and all three from then on.
    ISOTROPIC
        All axes are doubled.
    CONSTANT_Z
        x and y are doubled, z stays as it is.

    Examples
    --------
    >>> SamplingModes.parse("constant_z")
    <SamplingModes.CONSTANT_Z: 'constant_z'>
    """

    ANISOTROPIC = "anisotropic"
    ISOTROPIC = "isotropic"
    CONSTANT_Z = "constant_z"

    @classmethod
    def parse(cls, value: Any) -> SamplingModes:
        """Read a mode from its name, or from the same member of another library's enumeration.

        Raises
        ------
        ArgumentError
            If there is no such mode.
        """
        return member_of(cls, value, "sampling_mode", ArgumentError)

    def of_layer(self, bounding_box: NDBoundingBox) -> SamplingModes:
        """Return the mode for a layer with this box in Mag(1): z stays as it is where there is only one slice.

        Examples
        --------
        >>> from wkgpu.geometry.bounding_box import BoundingBox
        >>> SamplingModes.ISOTROPIC.of_layer(BoundingBox((0, 0, 7), (512, 512, 1)))
        <SamplingModes.CONSTANT_Z: 'constant_z'>
        """
        return SamplingModes.CONSTANT_Z if bounding_box.size_xyz.z == 1 else self


def default_coarsest_mag(bounding_box: NDBoundingBox) -> Mag:
    """Return the mag in which a layer with this box in Mag(1) has at most 100 voxels along x and y; at least 4.

    Examples
    --------
    >>> from wkgpu.geometry.bounding_box import BoundingBox
    >>> default_coarsest_mag(BoundingBox((0, 0, 0), (1600, 400, 9000)))
    Mag(16)
    """
    extent = max(bounding_box.size_xyz.x, bounding_box.size_xyz.y)
    needed = -(-extent // _COARSEST_EXTENT)
    return Mag(max(1 << (needed - 1).bit_length() if needed > 1 else 1, _MIN_COARSEST))


def downsampling_mags(
    from_mag: Mag,
    coarsest_mag: Mag,
    sampling_mode: SamplingModes,
    voxel_size: Sequence[float],
    known_mags: Iterable[Mag] = (),
    force: bool = False,
) -> list[Mag]:
    """Return the mags to make of a mag, from finer to coarser, until the largest factor is that of the coarsest mag.

    Parameters
    ----------
    from_mag : Mag
        Where to begin; it is not among the result.
    coarsest_mag : Mag
        Where to end; no factor gets larger than its counterpart here. With a constant z, that of z does not count.
    sampling_mode : SamplingModes
        Which factors are doubled.
    voxel_size : (x, y, z)
        Extents of a voxel of Mag(1), in any unit.
    known_mags : iterable of Mag
        Mags to align with: each takes the place of a mag with the same largest factor.
    force : bool
        Whether several mags may have the same largest factor.

    Raises
    ------
    SamplingError
        If the coarsest mag is not coarser or cannot be reached; if known mags contradict each other, or one is no
        coarser version of the mag before it; if several mags have the same largest factor, which WEBKNOSSOS cannot
        show.

    Examples
    --------
    >>> downsampling_mags(Mag(1), Mag(16), SamplingModes.ANISOTROPIC, (11.24, 11.24, 50))
    [Mag(2-2-1), Mag(4-4-1), Mag(8-8-2), Mag(16-16-4)]
    """
    aligned = _by_largest_factor(known_mags)
    if sampling_mode is SamplingModes.CONSTANT_Z:
        coarsest_mag = Mag((coarsest_mag.x, coarsest_mag.y, from_mag.z))
    if any(coarse < fine for fine, coarse in zip(from_mag, coarsest_mag, strict=True)):
        raise SamplingError(
            f"The coarsest_mag {coarsest_mag} is finer than the from_mag {from_mag} along an axis; give a coarser one."
        )
    mags = [from_mag]
    while mags[-1].max_dim < coarsest_mag.max_dim:
        mags.append(_next_mag(mags[-1], coarsest_mag, sampling_mode, voxel_size, aligned))
        check_step(*mags[-2:])
    made = mags[1:]
    if not force and len({mag.max_dim for mag in made}) < len(made):
        raise SamplingError(
            f"Of the mags {', '.join(map(str, made))} some have the same largest factor, which WEBKNOSSOS cannot show. "
            "Choose another sampling_mode, such as 'isotropic', or force_sampling_scheme=True."
        )
    return made


def check_step(source: Mag, target: Mag) -> None:
    """Check that a mag can be made of another one by downsampling.

    Raises
    ------
    SamplingError
        If the target is finer along an axis, or is the same.
    """
    if source == target or any(coarse < fine for fine, coarse in zip(source, target, strict=True)):
        raise SamplingError(
            f"Mag {target} cannot be made of mag {source}: it must be coarser, and finer along no axis. Give another "
            "mag, or align_with_other_layers=False if it is the mag of another layer."
        )


def ascending(from_mag: Mag, target_mags: Iterable[Mag]) -> list[Mag]:
    """Return the mags from finer to coarser, checked that each can be made of the one before it.

    Raises
    ------
    SamplingError
        Naming two mags that do not follow from each other.
    """
    mags = sorted(target_mags, key=lambda mag: (mag.max_dim, sum(mag)))
    for source, target in pairwise([from_mag, *mags]):
        check_step(source, target)
    return mags


def _next_mag(
    mag: Mag, coarsest: Mag, mode: SamplingModes, voxel_size: Sequence[float], aligned: dict[int, Mag]
) -> Mag:
    if mode is SamplingModes.ANISOTROPIC:
        # Whatever makes voxels more even has twice the largest factor: what is known need not be searched.
        return aligned.get(2 * mag.max_dim) or _more_even_mag(mag, coarsest, voxel_size)
    found = _coarser(mag, (2, 2, 1) if mode is SamplingModes.CONSTANT_Z else (2, 2, 2), coarsest)
    return aligned.get(found.max_dim, found) if found.max_dim > mag.max_dim else found


def _more_even_mag(mag: Mag, coarsest: Mag, voxel_size: Sequence[float]) -> Mag:
    found = mag
    while found.max_dim == mag.max_dim:  # a long axis may have to wait for the short ones
        finer, found = found, _coarser(found, _evening_factors(found, voxel_size), coarsest)
        if found == finer:
            raise SamplingError(
                f"The coarsest_mag {coarsest} cannot be reached from {finer} with a voxel_size of {tuple(voxel_size)}; "
                "give another one, as its largest factor alone, or another sampling_mode."
            )
    return found


def _evening_factors(mag: Mag, voxel_size: Sequence[float]) -> tuple[int, int, int]:
    """Return by what to multiply a mag: 2 for all axes, or for the shortest alone if that makes voxels more even."""
    extents = [factor * length for factor, length in zip(mag, voxel_size, strict=True)]
    shortest = min(extents)
    x, y, z = (2 if extent == shortest else 1 for extent in extents)
    grown = [extent * factor for extent, factor in zip(extents, (x, y, z), strict=True)]
    return (2, 2, 2) if max(extents) / shortest < max(grown) / min(grown) else (x, y, z)


def _coarser(mag: Mag, factors: tuple[int, int, int], coarsest: Mag) -> Mag:
    return Mag([min(own * factor, limit) for own, factor, limit in zip(mag, factors, coarsest, strict=True)])


def _by_largest_factor(mags: Iterable[Mag]) -> dict[int, Mag]:
    found: dict[int, Mag] = {}
    for mag in mags:
        if found.setdefault(mag.max_dim, mag) != mag:
            raise SamplingError(
                f"Layers have the mags {found[mag.max_dim]} and {mag}, which have the same largest factor, so that "
                "there is nothing to align with; give align_with_other_layers=False."
            )
    return found
