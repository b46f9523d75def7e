"""Makes the bodies callable from each other and from kernels, on every machine."""

from __future__ import annotations

from numba.extending import register_jitable

from . import exchange, gathering, packing, placement

for _body in (
    placement.copy_line,
    placement.place_joined,
    placement.place_group,
    placement.clear_group,
    placement.copy_box,
    gathering.common_length,
    gathering.common_begin,
    gathering.is_covered,
    exchange.exchange,
    packing.add_up,
    packing.pack,
):
    register_jitable(_body)
