"""Zarr 3 arrays as mags."""
