"""What a process on the fake driver does first: change CuPy and nvCOMP as they are imported, also in its children."""

import importlib.abc
import importlib.util
import sys


class _Changed(importlib.abc.MetaPathFinder):
    """Finds modules as the others do, and lets `fake_driver.installation` change them once they are loaded."""

    names = ("cupy_backends.cuda.api.runtime", "numba.cuda.dispatcher", "wkgpu.engines.cuda.nvcomp")

    def find_spec(self, name, path=None, target=None):
        if name not in self.names:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._extend(spec.loader, name)
                return spec
        return None

    def _extend(self, loader, name):
        load = loader.exec_module

        def exec_module(module):
            load(module)
            from fake_driver import installation

            installation.CHANGES[name](module)

        loader.exec_module = exec_module


sys.meta_path.insert(0, _Changed())
