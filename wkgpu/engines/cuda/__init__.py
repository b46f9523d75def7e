"""The CUDA engine, the seam between it and a device, the one that is a GPU, and GPU detection."""
