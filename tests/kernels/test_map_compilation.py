"""Kernels of every kind are compiled once for all processes."""

import json

import pytest

WORK = """
import json, sys
import numpy as np
import wkgpu as wk
from wkgpu.kernels.cpu import encoder, reader, row_kernels

dataset = wk.Dataset(sys.argv[1], voxel_size=(1, 1, 1))
mag_view = dataset.add_layer("cells", "segmentation", dtype="uint32").add_mag(1, chunk_shape=8, shard_shape=16)
mag_view.write(np.ones((20, 16, 16), "uint32"), absolute_offset=(0, 0, 0))
mag_view.map_voxels(wk.maps.threshold(1), mag_view)
mag_view.map_voxels(wk.maps.relabel({1: 2}), mag_view)
assert mag_view.count_labels()[0].tolist() == [2]
assert mag_view.min_max() == (2, 2)
mag_view.histogram()
mag_view.layer.downsample_mag(1, 2, interpolation_mode="max", chunk_shape=8, shard_shape=16)
named = [
    ("pooling", "maximum"), ("mapping", "threshold"), ("mapping", "search_or_keep"), ("reductions", "count_runs"),
    ("reductions", "count_labels"), ("reductions", "find_extremes"), ("reductions", "histogram"),
]
kernels = [reader.read_chunks, encoder.encode_chunks, *(row_kernels.named_kernel(*names) for names in named)]
print(json.dumps([[sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())] for k in kernels]))
"""


def test_a_second_process_uses_the_kernels_of_the_first(run_python, tmp_path):
    first, second = (
        json.loads(run_python(WORK, tmp_path / name, NUMBA_CACHE_DIR=str(tmp_path / "cache")))
        for name in ("first", "second")
    )
    assert first == [[0, 1]] * 9, "compiled once, for one signature"
    assert second == [[1, 0]] * 9, "found on disk"


ON_CUDA = """
import numpy as np
from numba import cuda
from wkgpu.kernels.cuda.row_kernels import named_kernel

kernel = named_kernel("reductions", "count_values")
counters = cuda.to_device(np.zeros(256, np.int64))
kernel[2, 32](3, 8, cuda.to_device(np.arange(30, dtype=np.uint8) % 3), 10, counters, 0, 256)
print(counters.copy_to_host()[:4].tolist(), sum(kernel.stats.cache_hits.values()))
"""


@pytest.mark.gpu
def test_a_second_process_uses_the_kernels_of_cuda(run_python, tmp_path):
    """A kernel over rows has there what a CUDA device has in place of functions, and is kept all the same."""
    runs = [run_python(ON_CUDA, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2)]
    assert runs == ["[10, 10, 10, 0] 0\n", "[10, 10, 10, 0] 1\n"]
