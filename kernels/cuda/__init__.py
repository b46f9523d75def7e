"""What a CUDA device does in its own way: bodies as kernels on a grid of threads, and CUDA C beside them."""
