"""What the CPU does in its own way, by Numba and liblz4. Bodies and its primitives are there before its kernels."""

from .. import compilation as compilation
from . import primitives as primitives
