"""A CUDA GPU as the engine wants it: CuPy's memory and streams, KvikIO's files, nvCOMP's codecs, Numba's launcher.

This folder alone names these libraries, and it does nothing else: all that only a GPU can run is here.
"""
