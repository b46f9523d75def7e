"""What the CUDA engine reaches on a GPU, and what bounds it: `python -m benchmarks.gpu`."""
