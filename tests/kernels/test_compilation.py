"""Kernels are compiled once for all voxel types and layouts, and once for all processes."""

import json
import shutil
from pathlib import Path

import pytest

import wkgpu.kernels

WORK = """
import json, sys
from pathlib import Path
import numpy as np
from wkgpu.operations.transfer import read_box, read_boxes, write_box
from wkgpu.engines import get_engine
from wkgpu.kernels.cpu import encoder, placement, reader
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.formats import create_array

engine = get_engine("cpu")
many = json.loads(sys.argv[2])
folder = Path(sys.argv[1])
dtypes = ["uint8", "float64", "int16"] if many else ["uint8"]
for dtype in dtypes:
    for codec in ["raw", "lz4", "lz4hc"] if many else ["lz4"]:
        for channels in [1, 3] if many else [1]:
            layout = ArraySpec(np.dtype(dtype), channels, (8, 8, 8), (2, 2, 2), pipeline_of(codec))
            array = create_array(folder / f"{dtype}-{codec}-{channels}", layout)
            data = np.ones((channels, 20, 20, 20), dtype)
            data.flags.writeable = False
            variants = [data, np.asfortranarray(data), data[:, ::-1, ::2]]
            variants += [np.broadcast_to(data[:, :1], data.shape)]
            for voxels in variants if many else variants[:1]:
                write_box(array, engine, (3, 0, 0), voxels)
            shape = (16, 16, 9)
            if many:
                corners = np.array([[0, 0, 0], [3, 3, 3], [90, 0, 0]])
                for toplefts in (corners.tolist(), np.asfortranarray(corners), corners.astype(np.int32)):
                    read_boxes(array, engine, toplefts, shape)
                read_box(array, engine, (np.int32(1), np.uint8(2), 3), shape)
                for order in "CF":
                    read_box(array, engine, (0, 0, 0), shape, out=np.zeros((channels, *shape), dtype, order=order))
                read_box(array, engine, (0, 0, 0), shape, out=np.zeros((channels, *shape), dtype)[:, ::-1, :, ::-1])
                read_box(array, engine, (20, 0, 0), (200, 200, 200 // channels))
                read_box(array, engine, (80, 0, 0), shape, out=np.zeros((channels, *shape), dtype))
            read_box(array, engine, (0, 0, 0), shape)
kernels = [reader.read_chunks, reader.read_chunks_to_any, placement.fill_chunks, placement.fill_chunks_of_any]
kernels.append(encoder.encode_chunks)
print(json.dumps({
    kernel.__name__: [
        list(map(str, kernel.signatures)),
        sum(kernel.stats.cache_hits.values()),
        sum(kernel.stats.cache_misses.values()),
    ]
    for kernel in kernels
}))
"""


@pytest.fixture
def kernel_cache(tmp_path):
    """A folder with nothing compiled."""
    return str(tmp_path / "cache")


def test_one_version_serves_all_types_and_layouts(run_python, tmp_path):
    kernels = json.loads(run_python(WORK, tmp_path / "mags", "true"))
    assert {name: signatures for name, (signatures, _, _) in kernels.items() if len(signatures) != 1} == {}


def test_changed_bodies_are_compiled_anew(run_python, tmp_path, kernel_cache):
    """Numba by itself looks only at the file of the function that is cached."""
    copy = tmp_path / "copy"
    shutil.copytree(Path(wkgpu.kernels.__file__).parent, copy / "loops", ignore=shutil.ignore_patterns("__pycache__"))
    script = """
from loops.cpu import placement
import numpy as np
target = np.ones(64, np.uint8)
missing = np.zeros((4, 1), np.int64)
placement.fill_chunks(0, 1, missing, 64, (4, 4, 4, 4, 4, 4, 1, 4, 16), 0, target.__array_interface__["data"][0])
print(target.sum())
"""
    environment = {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": kernel_cache}
    assert run_python(script, **environment).strip() == "0"
    body = copy / "loops" / "bodies" / "placement.py"
    text = body.read_text()
    changed = text.replace("fill_run(target, at, voxels * voxel, pattern, bits, lane, lanes)", "pass")
    assert changed != text
    body.write_text(changed)
    assert run_python(script, **environment).strip() == "64"


def test_kernels_import_nothing_of_wkgpu(run_python, tmp_path):
    shutil.copytree(Path(wkgpu.kernels.__file__).parent, tmp_path / "loops")
    names = "[name for name in sys.modules if name.split('.')[0] == 'wkgpu']"
    script = f"import sys, loops.cpu.reader, loops.cpu.encoder; print({names})"
    assert run_python(script, PYTHONPATH=str(tmp_path)).strip() == "[]"


def test_bodies_need_no_numba(run_python, tmp_path):
    """They are plain Python, which every machine compiles with its own compiler."""
    shutil.copytree(Path(wkgpu.kernels.__file__).parent, tmp_path / "loops")
    script = "import loops.bodies.placement, loops.bodies.overlap, sys; print('numba' in sys.modules)"
    assert run_python(script, PYTHONPATH=str(tmp_path)).strip() == "False"
