"""A CUDA driver without a GPU, on which the real CuPy, KvikIO, Numba-CUDA and NVRTC run; see README.md.

`driver` asks it for faults and counts. It works in a process that `__main__` has started, and nowhere else.
"""
