"""Coarser mags, computed from finer ones."""
