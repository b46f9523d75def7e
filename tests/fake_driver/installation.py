"""What is changed of CuPy, Numba-CUDA and wkgpu's binding of nvCOMP when they are imported on the fake driver."""

from __future__ import annotations

from typing import Any

from fake_driver import driver


def _change_cupy(runtime: Any) -> None:
    """Give the CUDA runtime's functions to the fake driver, before the rest of CuPy takes them."""
    driver.library()
    import fake_cudart

    fake_cudart.replace(runtime)
    for name in vars(fake_cudart):
        if name != "replace" and not name.startswith("_"):
            setattr(runtime, name, getattr(fake_cudart, name))
    from fake_driver import kernels

    kernels.play()


def _change_numba(dispatcher: Any) -> None:
    """Learn which Python function a kernel's name stands for."""
    from fake_driver import kernels

    add = dispatcher.CUDADispatcher.add_overload

    def add_overload(self: Any, kernel: Any, argtypes: Any) -> None:
        kernels.learn(kernel.entry_name, self.py_func, argtypes)
        add(self, kernel, argtypes)

    dispatcher.CUDADispatcher.add_overload = add_overload
    kernels.play()


def _change_nvcomp(nvcomp: Any) -> None:
    """Let liblz4 decode and encode, in the stream; sizes and bounds are nvCOMP's own."""
    from fake_driver import codec

    nvcomp.Batched.decode = codec.decode
    nvcomp.Batched.encode = codec.encode
    nvcomp.BatchedZstd.encode_temp_bytes = codec.encode_temp_bytes


CHANGES = {
    "cupy_backends.cuda.api.runtime": _change_cupy,
    "numba.cuda.dispatcher": _change_numba,
    "wkgpu.engines.cuda.nvcomp": _change_nvcomp,
}
