"""What a CUDA device does in its own way. Its primitives are there before any of its kernels."""

from . import primitives as primitives
