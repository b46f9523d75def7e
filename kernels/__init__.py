"""Loops over rows of voxels and bytes, written once as plain Python and compiled for each machine.

``placement`` and ``gathering`` hold the bodies; ``cpu`` compiles them with Numba for the CPU and joins them with
liblz4. Nothing here imports wkgpu: a kernel knows addresses, lengths and strides, and no file, box or dataset.
"""
