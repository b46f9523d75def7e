"""The CPU engine: liblz4 and compiled kernels on a team of threads."""
