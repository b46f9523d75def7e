"""Bodies register themselves where they are written, so that every machine can call and compile them.

Nothing here imports a compiler: a machine says with `for_each_body` what it does with each of them.
"""

from __future__ import annotations

from importlib import import_module

_bodies, _receivers, kernels = [], [], {}
"""``kernels``: those that engines launch, by the name of their module in this package and their own."""


def body(function):
    """Let other bodies and kernels of every machine call a function."""
    _bodies.append(function)
    for receive in _receivers:
        receive(function)
    return function


def kernel(function):
    """Let engines launch a function over rows, on every machine; it calls ``workers.share(first, last)``."""
    kernels[function.__module__.rpartition(".")[2], function.__name__] = function
    return function


def for_each_body(receive):
    """Call a function with each body: with those that are registered, and with those to come."""
    _receivers.append(receive)  # first, so that a body that another thread imports is not missed
    for function in tuple(_bodies):
        receive(function)


def find_kernel(topic, name):
    """Return the kernel of a name in the module ``topic`` of this package.

    Raises
    ------
    ModuleNotFoundError, KeyError
        If there is none.
    """
    import_module(f".{topic}", __package__)
    return kernels[topic, name]
