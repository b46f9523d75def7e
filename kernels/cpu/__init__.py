"""What the CPU does in its own way, by Numba and liblz4. Its primitives are there before any of its kernels."""

from . import primitives as primitives
