"""Makes the bodies callable from each other and from kernels, on every machine."""

from __future__ import annotations

from numba.extending import register_jitable

from . import blocks, exchange, gathering, packing, placement, pooling

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
    blocks.lower,
    blocks.higher,
    blocks.join_unsigned,
    blocks.join_signed,
    blocks.join_float,
    blocks.sorted_4,
    blocks.median_of_8,
    blocks.median_of_4,
    blocks.mode_of_8,
    blocks.mode_of_4,
    blocks.maximum_of_8,
    blocks.maximum_of_4,
    blocks.minimum_of_8,
    blocks.minimum_of_4,
    blocks.mirrored,
    blocks.value_at,
    blocks.line_at,
    blocks.split_block,
    blocks.count_in_block,
    blocks.median_of_block,
    blocks.mode_of_block,
    blocks.maximum_of_block,
    blocks.minimum_of_block,
    blocks.mean_of_signed,
    blocks.mean_of_unsigned,
    blocks.mean_of_floats,
    blocks.mean_of_integers,
    pooling.pool_line_of_8,
    pooling.pool_line_of_4,
    pooling.pool_lines,
    pooling.average_lines,
    pooling.pick_lines,
):
    register_jitable(_body)
