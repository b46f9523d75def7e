"""A launch whose arrays do not fit what the kernel touches is refused; one that fits runs."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkgpu.engines import get_engine
from wkgpu.engines.kernel import MAX_LANES, NamedKernel
from wkgpu.engines.kernel_table import KERNELS
from wkgpu.errors import LaunchError
from wkgpu.kernels import bodies
from wkgpu.kernels.bodies.registration import kernels

SMALL = st.integers(1, 4)
DTYPES = {"median_signed": "int16", "median_float": "float32", "mean_float": "float64", "mean_signed": "int64"}
DTYPES |= {"mean_unsigned": "uint64"}


def pooling(name, draw):
    dtype = DTYPES.get(name, "uint8")
    channels, *lines = (draw(SMALL) for _ in range(4))
    factors = draw(st.sampled_from([(2, 2, 2), (2, 2, 1), (1, 2, 3)]))
    x, y, z = (length * factor for length, factor in zip(lines, factors, strict=True))
    strides, width = (channels * x, channels * x * y), channels * lines[0]
    geometry = channels, tuple(lines), factors, 0, strides, 0, (width, width * lines[1])
    rows = lines[1] * lines[2]
    arguments = {"source": np.ones(strides[1] * z, dtype), "target": np.zeros(width * rows, dtype)}
    arguments["geometry"] = geometry
    if name == "nearest":
        for axis, length, factor in zip("xyz", lines, factors, strict=True):
            arguments[f"{axis}_indexes"] = np.arange(length) * factor + factor - 1
    elif name == "mode" or name.startswith("median"):
        voxels = 0 if channels == 1 and factors[0] == 2 else int(np.prod(factors))
        arguments |= {"memory": np.zeros(rows * width * voxels, dtype), "width": width}
    return rows, width, arguments


def mapping(name, draw):
    lines = draw(SMALL), draw(SMALL), draw(SMALL)
    width, rows = lines[0], lines[1] * lines[2]
    sources = tuple(np.ones(width * rows, "uint8") for _ in range(2 if name == "mask" else 1))
    one, table = np.uint8(1), np.arange(3, dtype="uint8")
    constants = {
        "threshold": (one, one, one), "clip": (one, one), "look_up": (table, one), "look_up_or_keep": (table,),
        "search": (table, table.copy(), one), "search_or_keep": (table, table.copy()), "mask": (one,),
    }.get(name, (1.0, 1.0, 0.0, one, one))  # fmt: skip
    geometry = lines, 0, (width, width * lines[1])
    arguments = {"target": np.zeros(width * rows, "uint8"), "geometry": geometry, "sources": sources}
    return rows, width, arguments | {"constants": constants}


def reductions(name, draw):
    width, rows = draw(st.integers(2, 5)), draw(SMALL)
    arguments = {"source": np.ones(width * rows, "uint8"), "width": width}
    zeros = np.zeros(64 * 4, np.int64)
    if name == "find_extremes":
        arguments |= {end: np.zeros(rows * MAX_LANES, "uint8") for end in ("lowest", "highest")}
    elif name == "count_values":
        arguments |= {"counters": zeros.copy(), "minimum": 0, "kinds": 256}
    elif name == "histogram":
        arguments |= {"counters": zeros[:4].copy(), "edges": np.linspace(0.0, 4.0, 5), "factor": 1.0}
    elif name == "count_runs":
        arguments |= {"runs": zeros[:rows].copy()}
    else:
        arguments |= {"ends": np.arange(rows + 1) * 2, "labels": np.zeros(2 * rows, "uint8")}
        arguments |= {"counts": zeros[: 2 * rows].copy()}
    return rows, width, arguments


CASES = {"pooling": pooling, "mapping": mapping, "reductions": reductions}


def arrays_of(arguments):
    """Name each array of the arguments: ``(argument, index in a tuple or None)``."""
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            yield name, None
        elif isinstance(value, tuple):
            yield from ((name, place) for place, item in enumerate(value) if isinstance(item, np.ndarray))


def replaced(arguments, where, change):
    name, place = where
    value = arguments[name]
    if place is None:
        return arguments | {name: change(value)}
    return arguments | {name: (*value[:place], change(value[place]), *value[place + 1 :])}


def launch(kernel, rows, width, arguments):
    get_engine("cpu").launch(NamedKernel(*kernel), rows, width, *arguments.values())


@pytest.mark.parametrize("kernel", KERNELS, ids=".".join)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_arrays_must_fit(kernel, data):
    topic, name = kernel
    rows, width, arguments = CASES[topic](name, data.draw)
    launch(kernel, rows, width, arguments)
    for where in arrays_of(arguments):
        array = arguments[where[0]] if where[1] is None else arguments[where[0]][where[1]]
        changes = [lambda array: np.repeat(array, 2)[::2]]  # strided
        # A table has any length, its values as many items as its keys; without edges as many counters are too few
        if array.size and where != ("constants", 0) and where[0] not in ("edges", "counters"):
            fewer = width if topic == "reductions" and where[0] == "source" else 1  # its last row may be shorter
            changes.append(lambda array, fewer=fewer: array[:-fewer].copy())
        if topic != "mapping" and where[0] != "source":
            changes.append(lambda array: array.astype("complex64"))
        for change in changes:
            if array.size > 1 or change is not changes[0]:
                with pytest.raises(LaunchError, match=rf"kernel {name}, .* was not run"):
                    launch(kernel, rows, width, replaced(arguments, where, change))


def test_counters_are_at_least_one_for_each_bin():
    source = np.ones(4, "uint8")
    for name, arguments in {"count_values": (0, 256), "histogram": (np.linspace(0.0, 256.0, 257), 1.0)}.items():
        with pytest.raises(LaunchError, match="counters has 255 items, and 256 are touched"):
            get_engine("cpu").launch(NamedKernel("reductions", name), 1, 4, source, 4, np.zeros(255, int), *arguments)


def test_indexes_of_nearest_lie_in_the_source():
    geometry = 1, (1, 1, 1), (2, 2, 2), 0, (2, 4), 0, (1, 1)
    source, target, zero = np.ones(8, "uint8"), np.zeros(1, "uint8"), np.zeros(1, np.int64)
    for place in (-1, 8):
        with pytest.raises(LaunchError):
            get_engine("cpu").launch(
                NamedKernel("pooling", "nearest"), 1, 1, source, target, geometry, zero + place, zero, zero
            )


def test_every_kernel_is_declared():
    for module in pkgutil.iter_modules(bodies.__path__, f"{bodies.__name__}."):
        import_module(module.name)
    assert kernels.keys() == KERNELS.keys()


def test_an_undeclared_kernel_is_not_run(cpu):
    with pytest.raises(LaunchError, match="does not declare"):
        cpu.launch(NamedKernel("pooling", "unknown"), 1, 1)


@pytest.mark.parametrize("fine", [(3, "uint8"), (1, "uint8"), (2, "uint16")])
@pytest.mark.parametrize("coarse", [(1, "uint8"), (3, "uint8"), (2, "uint8")])
def test_a_coarser_mag_with_other_voxels_is_refused(tmp_path, fine, coarse):
    import wkgpu as wk
    from wkgpu.geometry.voxel_box import VoxelBox
    from wkgpu.operations.downsampling.interpolation import InterpolationMode
    from wkgpu.operations.downsampling.tiles import downsample

    if fine == coarse:
        return
    dataset = wk.Dataset(tmp_path / "ds", voxel_size=(1, 1, 1))
    mags = []
    for number, (channels, dtype) in enumerate((fine, coarse)):
        layer = dataset.add_layer(f"c{number}", "color", dtype=dtype, num_channels=channels)
        mags.append(layer.add_mag(1 + number, shard_shape=64))
    mags[0].write(np.ones((fine[0], 64, 64, 64), fine[1]))
    box, magnifications = VoxelBox((0, 0, 0), (64, 64, 64)), tuple(mag.mag for mag in mags)
    with pytest.raises(wk.errors.MismatchError, match=r"channel\(s\) of"):
        downsample(*(mag._array for mag in mags), box, magnifications, InterpolationMode.MEDIAN, "cpu")
