"""What wkgpu gains over its peers: `python -m benchmarks`."""
