"""Zarr 3: mags of shards with an index, or of files with one chunk each."""
