"""What the CUDA kernels need of a GPU, found out without one: `python -m benchmarks.kernels`."""
