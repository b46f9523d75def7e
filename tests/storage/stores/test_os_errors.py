"""Files that the system does not let us read or write: the error names them, and nothing is left behind."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from strategies import voxels

from wkgpu.errors import FormatError, HeaderError, NotFoundError, ReadOnlyError, StorageAccessError, WkgpuError
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.formats import create_array, open_array
from wkgpu.storage.spec import ArraySpec

SHAPE = (8, 8, 8)


@pytest.fixture(params=["raw", "lz4"])
def codec(request):
    return request.param


def layout_of(codec):
    return ArraySpec(np.dtype("uint16"), 1, (4, 4, 4), (2, 2, 2), pipeline_of(codec))


def files_of(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def refused(array, engine, error, message):
    """Neither a read nor a write accepts the shard; the error names it."""
    pattern = f"{re.escape(array.shard_path((0, 0, 0)))}.*{message}"
    before = files_of(array.path)
    with pytest.raises(error, match=pattern):
        read_box(array, engine, (0, 0, 0), SHAPE)
    with pytest.raises(error, match=pattern):
        write_box(array, engine, (1, 1, 1), voxels(array.spec, (6, 6, 6), 1))
    assert files_of(array.path) == before
    return True


# ---- Things that are not files


def test_a_shard_that_is_a_folder(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    os.makedirs(array.shard_path((0, 0, 0)))
    assert refused(array, cpu, StorageAccessError, "folder")


def test_a_folder_of_shards_that_is_a_file(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    (array.path / "z0").write_bytes(b"")
    assert refused(array, cpu, StorageAccessError, "folder is a file")
    assert array.existing_shards() == []


def test_a_shard_that_is_a_pipe(make_array, run_python):
    """No process writes into the pipe: one that opens it waits for ever."""
    array = make_array(layout_of("lz4"))
    os.makedirs(os.path.dirname(array.shard_path((0, 0, 0))))
    os.mkfifo(array.shard_path((0, 0, 0)))
    script = """
import signal, sys
from wkgpu.errors import StorageAccessError
from wkgpu.storage.formats import open_array
from pathlib import Path
signal.alarm(5)
try:
    open_array(Path(sys.argv[1])).open_shard((0, 0, 0))
except StorageAccessError as error:
    print(error)
"""
    assert array.shard_path((0, 0, 0)) in run_python(script, array.path)


def test_a_dangling_link_is_a_missing_shard(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    os.makedirs(os.path.dirname(array.shard_path((0, 0, 0))))
    os.symlink("nowhere", array.shard_path((0, 0, 0)))
    assert not read_box(array, cpu, (0, 0, 0), SHAPE).any()


# ---- Mags


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, NotFoundError, "does not exist"),
        (lambda path: path.mkdir(), NotFoundError, r"no header\.wkw"),
        (lambda path: path.write_bytes(b""), FormatError, "is a file"),
        (lambda path: (path / "header.wkw").mkdir(parents=True), StorageAccessError, r"header\.wkw"),
        (lambda path: (path.mkdir(), (path / "header.wkw").write_bytes(b"WKW")), HeaderError, "truncated"),
        (lambda path: path.symlink_to(path), WkgpuError, "mag"),
    ],
    ids=["missing", "empty", "a file", "header is a folder", "header is truncated", "a circle of links"],
)  # fmt: skip
def test_what_is_not_a_mag(tmp_path, make, error, message):
    make(tmp_path / "mag")
    with pytest.raises(error, match=message):
        open_array(tmp_path / "mag")


def test_a_path_that_no_system_takes(tmp_path):
    with pytest.raises(WkgpuError, match="a" * 300):
        open_array(tmp_path / ("a" * 300))
    with pytest.raises(WkgpuError, match="a" * 300):
        create_array(tmp_path / ("a" * 300), layout_of("raw"))


# ---- Permissions and full disks


def as_another_user(work):
    """Run in a forked child that is not root; what it returned, or its error's class and message."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            result = repr(work())
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(write_end, result.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


@pytest.fixture
def public_array(make_array, naive, codec):
    """A mag with a shard, in a folder that all users can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    array = create_array(folder / "mag", layout_of(codec))
    write_box(array, naive, (0, 0, 0), voxels(array.spec, SHAPE, 3))
    yield array
    shutil.rmtree(folder)


def test_no_permission_to_read_a_shard(public_array, cpu):
    os.chmod(public_array.shard_path((0, 0, 0)), 0)
    result = as_another_user(lambda: read_box(public_array, cpu, (0, 0, 0), SHAPE).shape)
    assert re.match(rf"StorageAccessError: .*{public_array.shard_path((0, 0, 0))}.*[Pp]ermission denied", result)


def test_no_permission_to_read_a_header(public_array):
    os.chmod(public_array.lock_file, 0)
    result = as_another_user(lambda: open_array(public_array.path))
    assert re.match(rf"StorageAccessError: .*{public_array.lock_file}.*[Pp]ermission denied", result)


def test_no_permission_to_enter_a_mag(public_array):
    os.chmod(public_array.path, 0)
    result = as_another_user(lambda: open_array(public_array.path))
    assert re.match(rf"(StorageAccess|NotFound)Error: .*{public_array.path}", result)


def test_no_permission_to_write(public_array, cpu):
    for path in public_array.path.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    data = voxels(public_array.spec, (1, 1, 1), 1)
    result = as_another_user(lambda: write_box(public_array, cpu, (0, 0, 0), data))
    assert re.match(rf"{ReadOnlyError.__name__}: .*{public_array.path}", result)


# The limit is a file size at which the system refuses to write on, as a full disk does.
FULL = """
import json, resource, sys
from pathlib import Path
import numpy as np
from wkgpu.operations.transfer import write_box
from wkgpu.engines import get_engine
from wkgpu.errors import StorageAccessError
from wkgpu.storage.formats import open_array

topleft, shape = json.loads(sys.argv[2]), json.loads(sys.argv[3])
array, engine = open_array(Path(sys.argv[1])), get_engine("cpu")
data = np.random.default_rng(0).integers(0, 65536, (1, *shape), np.uint16)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_box(array, engine, topleft, data)
except StorageAccessError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("codec", "topleft", "shape"),
    [
        ("raw", [0, 0, 0], [8, 8, 8]),
        ("raw", [7, 7, 7], [1, 1, 1]),
        ("raw", [8, 0, 0], [1, 1, 1]),
        ("lz4", [0, 0, 0], [8, 8, 8]),
        ("lz4", [7, 7, 7], [1, 1, 1]),
        ("lz4", [8, 0, 0], [1, 1, 1]),
    ],
    ids=["a raw shard", "one raw chunk", "a new raw shard", "a shard", "one chunk", "a new shard"],
)
def test_a_full_disk(public_array, run_python, topleft, shape):
    before = files_of(public_array.path)
    message = run_python(FULL, public_array.path, topleft, shape)
    assert re.search(rf"{public_array.shard_path((topleft[0] // 8, 0, 0))}.*too large", message)
    assert files_of(public_array.path) == before
