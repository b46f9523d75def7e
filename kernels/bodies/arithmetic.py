"""Arithmetic of floats whose last bit does not depend on the machine.

A compiler for a GPU makes one instruction of ``a * b + c``, which rounds once, where a CPU rounds twice. What stands
here is the definition of each operation, and what the simulator runs; machines have overloads.
"""

from __future__ import annotations

import numpy as np


def multiply(a, b):
    """Return ``a * b``, rounded, whatever is added to it afterwards."""
    return a * b


def add(a, b):
    """Return ``a + b``, rounded, whatever was multiplied before."""
    return a + b


def rounded(a):
    """Return the nearest whole number as a float64, and the even one of two that are as near."""
    return np.rint(a)
