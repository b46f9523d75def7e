"""What the CPU does in its own way: bodies as kernels over a range of rows, files, liblz4."""
