"""Volumes that look and compress like electron micrographs of tissue, made from a seed with NumPy alone.

For demonstrations, tests and benchmarks on a machine that holds no real data.
"""

from wkgpu.synthetic.tissue import Tissue

__all__ = ["Tissue"]
