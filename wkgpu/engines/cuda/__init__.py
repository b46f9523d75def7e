"""The CUDA engine, the seam between it and a device, the one that is a GPU, and what tells whether there is one."""
