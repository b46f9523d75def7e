"""How planning kernels are told about arrays and shards, and how they answer; see `cpu.planning`."""

from __future__ import annotations

# ---- Items of the array of numbers
SHAPE, PIECE, PER_CHUNK, PER_SHARD, STRIDES, SHIFT = range(0, 18, 3)
"""Voxels of a box; voxels of a piece; pieces of a chunk; chunks of a shard; of chunk ordinals, all zero for Morton
order; what is added to origins."""
FIRST_BOX, MAX_GAP, PIECE_NBYTES, FIRST_ORDINAL = range(18, 22)
"""What is added to numbers of boxes; bytes between two ranges of a file up to which they are fetched as one; bytes of
a decoded piece; what is added to ordinals of chunks."""
NUMBERS = 22

# ---- How the index of a shard answers, and the columns of the array of indexes
ABSENT, UNIFORM, TABLE, SKIPPED = range(4)
KIND, CODEC, BEGIN, END, ENTRIES, EXACT_NBYTES = range(6)
"""How it answers, where a skipped shard is one of another plan; the codec's number; the offset of chunk 0, or the
address of the offsets of all; the bytes of a chunk, or the address of the ends of all; the number of chunks; the bytes
that each stored chunk must have, 0 where they differ."""
INDEX_COLUMNS = 6

# ---- Rows of the tables of a read plan, each of which is a column of that table
FILE, OFFSET, NBYTES, STAGING_OFFSET = range(4)
SEGMENT_COLUMNS = 4
"""Of byte ranges: position in the plan's files, offset in the file, length, place in the staging space."""
CHUNK_STAGING_OFFSET, CHUNK_NBYTES, CHUNK_CODEC, CHUNK_BOX, CHUNK_ORIGIN = range(5)
PLACEMENT_ORDER = 7
CHUNK_COLUMNS = 8
"""Of chunks: place in the staging space, encoded bytes, pipeline, box, first voxel ``x, y, z`` in the box; and the
rows of this table by shard, box, z, y, x. The origin follows the box in all tables."""
MISSING_BOX, MISSING_ORIGIN = range(2)
MISSING_COLUMNS = 4
"""Of chunks that are stored nowhere: box, first voxel ``x, y, z`` in the box."""
