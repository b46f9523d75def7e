"""What a CUDA device does in its own way. Bodies and its primitives are there before its kernels."""

from .. import compilation as compilation
from . import primitives as primitives
