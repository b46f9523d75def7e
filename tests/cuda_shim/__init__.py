"""CUDA C run by a C++ compiler: kernels of `kernels/cuda` without a GPU, in this process or under AddressSanitizer."""
