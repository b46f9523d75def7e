"""Loops over rows of voxels and bytes, written once as plain Python and compiled for each machine.

``bodies`` holds the loops, ``cpu`` and ``cuda`` what a machine does in its own way: primitives, codecs, the share of a
worker. Nothing here imports wkgpu: a kernel knows addresses, lengths and strides, and no file, box or dataset.
"""
