"""WHICH BYTES: shard files as tables of byte ranges and chunks. Nothing here decodes a voxel."""
