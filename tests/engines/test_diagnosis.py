"""What CUDA needs, and messages about what of it is missing: with drivers and packages that are broken on purpose."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from importlib.util import find_spec
from unittest.mock import Mock

import pytest
from kernels.test_ptx import UNAVAILABLE

from wkgpu.engines.cuda import diagnosis, driver, nvcomp, packages
from wkgpu.engines.cuda.diagnosis import cuda_findings, cuda_unavailable_reason
from wkgpu.engines.cuda.driver import Gpu, read_driver
from wkgpu.errors import DeviceError
from wkgpu.extras import install_command

DOWNLOAD = "https://www.nvidia.com/drivers"
CUDA = {12: install_command("cuda12"), 13: install_command("cuda13")}
BOTH = f"{CUDA[13]} (drivers from 580 on), or {CUDA[12]} (older ones)"
NAMES = {0: "CUDA_SUCCESS", 3: "CUDA_ERROR_NOT_INITIALIZED", 100: "CUDA_ERROR_NO_DEVICE", 999: "CUDA_ERROR_UNKNOWN"}
H200 = Gpu("NVIDIA H200", 141 << 30, (9, 0))

CUPY = """
from contextlib import nullcontext
from types import SimpleNamespace
__version__ = "14.2.0"
class CUDARuntimeError(RuntimeError): pass
def empty(shape, dtype):
    {allocate}
def find_nvrtc():
    {nvrtc}
cuda = SimpleNamespace(
    Device=lambda ordinal: nullcontext(), runtime=SimpleNamespace(runtimeGetVersion=lambda: {runtime}),
    nvrtc=SimpleNamespace(getVersion=find_nvrtc),
)
"""
KVIKIO = {
    "__init__": '__version__ = "26.10.00"\nfrom kvikio import defaults',
    "defaults": """
is_compat_mode_preferred = lambda: {posix}
get = {{"num_threads": {threads}, "task_size": 4 << 20}}.__getitem__
""",
    "cufile_driver": "get = {{'is_gds_available': {gds}}}.__getitem__",
}
NUMBA_CUDA = '__version__ = "0.30.4"'
NO_DRIVER = 'raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")'


class Library:
    """A libcuda.so.1."""

    def __init__(self, version=13000, status=0, gpus=(H200,)):
        self._version, self._status, self._gpus = version, status, gpus
        self.is_started = False

    def cuInit(self, flags):
        self.is_started = True
        return self._status

    def cuDriverGetVersion(self, version):
        version._obj.value = self._version
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self._gpus)
        return 0 if self.is_started else 3

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name, length, device):
        name.value = self._gpus[device.value].name.encode()[: length - 1]
        return 0

    def cuDeviceTotalMem_v2(self, nbytes, device):
        nbytes._obj.value = self._gpus[device.value].nbytes
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self._gpus[device.value].capability[{75: 0, 76: 1}[attribute]]
        return 0

    def cuGetErrorName(self, status, name):
        name._obj.value = NAMES[status].encode()
        return 0


@pytest.fixture
def use_driver(monkeypatch):
    """Puts another driver in place: a `Library`, or the error that loading it raises."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(driver, "version", lambda: "")
    monkeypatch.setattr(diagnosis, "version", lambda: "580.95.05")

    def use(library=None):
        def load():
            if isinstance(library, Exception):
                raise library
            return library

        library = Library() if library is None else library
        monkeypatch.setattr(driver, "_load", load)
        return library

    return use


@pytest.fixture
def no_driver(use_driver):
    return use_driver(OSError("libcuda.so.1: cannot open shared object file: No such file or directory"))


@pytest.fixture
def use_nodes(monkeypatch):
    """Sets how many GPUs there are in /dev."""
    return lambda count: monkeypatch.setattr(driver, "_count_nodes", lambda pattern: count * ("[0-9]" in pattern))


PACKAGES = ("cupy", "kvikio", "numba_cuda")


def forget_packages():
    names = [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def use_packages(monkeypatch, tmp_path):
    """Installs packages that are there for the test alone; without a text a package is not there."""
    imported = forget_packages()
    numbers = itertools.count()
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cupy-cache"))

    def use(cupy=None, kvikio=None, numba_cuda=None, distributions=()):
        folder = tmp_path / f"packages-{next(numbers)}"
        folder.mkdir()
        forget_packages()
        for name, text in zip(PACKAGES, (cupy, kvikio, numba_cuda), strict=True):
            if text is None:
                sys.modules[name] = None
                continue
            (folder / name).mkdir()
            for file, lines in (text if isinstance(text, dict) else {"__init__": text}).items():
                (folder / name / f"{file}.py").write_text(lines)
        monkeypatch.syspath_prepend(folder)

        def built_for(distribution):
            return [cuda for cuda in (12, 13) if distribution.format(cuda) in distributions]

        monkeypatch.setattr(packages, "built_for", built_for)
        monkeypatch.setattr(diagnosis, "built_for", built_for)

    yield use
    forget_packages()
    sys.modules.update(imported)


@pytest.fixture
def complete(monkeypatch, use_driver, use_packages):
    """All that CUDA needs, with one GPU; arguments replace parts of it."""

    def use(library=None, cupy=None, kvikio=None, numba=True, **others):
        use_driver(library)
        cupy = cupy or CUPY.format(allocate="return None", nvrtc="return 13, 5", runtime=13020)
        kvikio = kvikio or kvikio_on(posix=True)
        use_packages(cupy, kvikio, NUMBA_CUDA, **others)
        monkeypatch.setattr(packages, "_has_nvcomp", lambda: True)
        monkeypatch.setattr(nvcomp, "load", lambda: Loaded)
        if numba:
            monkeypatch.setitem(
                diagnosis._PROBES, "Numba", lambda _driver, _ordinal: diagnosis.Finding("Numba", True, "0.68.1")
            )

    return use


class Loaded:
    version, path = "6.0.0", "/opt/libnvcomp.so.6"


def kvikio_on(posix, gds=False, threads=1):
    return {name: text.format(posix=posix, gds=gds, threads=threads) for name, text in KVIKIO.items()}


def finding_of(subject):
    (finding,) = [finding for finding in cuda_findings() if finding.subject == subject]
    return finding


# ---- The driver


def test_no_driver_and_no_packages_are_said_at_once(no_driver, use_packages, monkeypatch):
    use_packages()
    monkeypatch.setattr(packages, "_has_nvcomp", lambda: False)
    reason = cuda_unavailable_reason()
    assert reason == (
        "NVIDIA driver: not installed (libcuda.so.1 is not there); CuPy, KvikIO, nvCOMP and numba-cuda: not installed. "
        f"To use a GPU: install the driver from {DOWNLOAD}, then {BOTH}."
    )
    assert not any(finding.works for finding in cuda_findings() if finding.subject != "nvCOMP")


def test_without_a_driver_no_package_is_imported(no_driver, use_packages):
    explosive = "raise SystemExit('imported')"
    use_packages(explosive, explosive, explosive)
    assert cuda_unavailable_reason().startswith("NVIDIA driver: not installed")
    assert not {"cupy", "kvikio", "numba_cuda"} & set(sys.modules)


@pytest.mark.parametrize(
    "error", [OSError("libcuda.so.1: file too short"), OSError("libcuda.so.1: wrong ELF class: ELFCLASS32")]
)
def test_a_driver_that_cannot_be_loaded(use_driver, error):
    use_driver(error)
    assert f"cannot be loaded: {error}" in cuda_unavailable_reason()
    assert DOWNLOAD in cuda_unavailable_reason()


def test_a_library_that_is_no_driver(use_driver):
    use_driver(object())
    assert read_driver().problem.startswith("does not answer: AttributeError")
    assert DOWNLOAD in read_driver().advice


def test_on_macos_there_is_nothing_to_install(no_driver, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "macOS" in cuda_unavailable_reason()
    assert "pip" not in cuda_unavailable_reason()


@pytest.mark.parametrize(("status", "advice"), [(999, "restart the machine"), (3, "'spawn'")])
def test_a_driver_that_does_not_start(complete, status, advice):
    complete(Library(status=status))
    reason = cuda_unavailable_reason()
    assert f"cuInit returned {status} ({NAMES[status]})" in reason
    assert advice in reason
    assert finding_of("GPUs").advice == finding_of("NVIDIA driver").advice


def test_an_old_driver(use_driver, use_packages):
    use_driver(Library(version=11080))
    use_packages()
    assert "runs CUDA only up to 11.8" in cuda_unavailable_reason()
    assert "newer driver" in cuda_unavailable_reason()
    assert CUDA[12] in cuda_unavailable_reason()


def test_cuda_is_not_started_while_packages_are_missing(use_driver, use_packages):
    library = use_driver()
    use_packages(numba_cuda=NUMBA_CUDA)
    assert cuda_unavailable_reason().startswith("CuPy")
    assert not library.is_started


# ---- GPUs


def test_no_gpu(complete, use_nodes, monkeypatch):
    use_nodes(0)
    complete(Library(status=100))
    assert "GPUs: none was found" in cuda_unavailable_reason()
    assert "nvidia-smi" in cuda_unavailable_reason()
    complete(Library(gpus=()))
    assert "GPUs: none was found" in cuda_unavailable_reason()
    use_nodes(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (
        "(CUDA_VISIBLE_DEVICES='' hides 2). To use a GPU: change or unset CUDA_VISIBLE_DEVICES"
        in cuda_unavailable_reason()
    )


def test_a_number_that_no_gpu_has(complete):
    complete(Library(gpus=(H200, H200._replace(name="NVIDIA L4"))))
    assert cuda_unavailable_reason(1) is None
    assert cuda_unavailable_reason(7) == (
        "GPUs: there is no cuda:7; there are 2, cuda:0 NVIDIA H200, cuda:1 NVIDIA L4. "
        "To use a GPU: choose cuda:0 or cuda:1."
    )
    complete(Library())
    assert "there is no cuda:1; there is 1, cuda:0 NVIDIA H200" in cuda_unavailable_reason(1)


def test_what_gpus_are_like(complete, use_nodes, monkeypatch):
    use_nodes(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    complete()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert finding_of("NVIDIA driver").text == "580.95.05, which runs CUDA up to 13.0"
    text = "cuda:0 NVIDIA H200, 141.0 GiB, compute capability 9.0 (CUDA_VISIBLE_DEVICES='3' hides 3)"
    assert finding_of("GPUs") == diagnosis.Finding("GPUs", True, text)


@pytest.mark.covers("has_gpu")
def test_whether_there_is_a_gpu_is_found_out_without_starting_cuda(use_driver, use_nodes, monkeypatch):
    library = use_driver()
    use_nodes(1)
    assert driver.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not driver.has_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    use_nodes(0)
    assert not driver.has_gpu()
    use_nodes(1)
    use_driver(OSError("No such file"))
    assert not driver.has_gpu()
    assert not library.is_started


# ---- Packages


@pytest.mark.covers("cuda_findings", "Finding")
def test_all_that_cuda_needs(complete):
    complete()
    assert cuda_unavailable_reason() is None
    assert all(finding.works and not finding.advice for finding in cuda_findings())
    assert finding_of("CuPy").text == "14.2.0 for CUDA 13.2"
    assert finding_of("KvikIO").text == "26.10.00 on the POSIX path, 1 thread, tasks of 4 MiB"
    assert finding_of("nvCOMP").text == "6.0.0, /opt/libnvcomp.so.6"


@pytest.mark.parametrize(("cuda", "extra"), [(14010, 13), (13000, 13), (12090, 12)])
def test_the_extra_is_that_of_the_driver(use_driver, use_packages, cuda, extra):
    use_driver(Library(version=cuda))
    use_packages()
    assert f"To use a GPU: {CUDA[extra]}." in cuda_unavailable_reason()


def test_the_extra_is_that_of_the_cupy_that_is_there(use_driver, use_packages):
    use_driver(Library(version=13000))
    use_packages(distributions=["cupy-cuda12x"])
    assert f"{CUDA[12]}." in cuda_unavailable_reason()
    use_driver(OSError("No such file"))
    assert f"{CUDA[12]}." in cuda_unavailable_reason()


def test_cupy_without_a_driver(no_driver, use_packages):
    use_packages(CUPY.format(allocate=NO_DRIVER, nvrtc="return 13, 5", runtime=13020))
    finding = finding_of("CuPy")
    assert not finding.works
    assert finding.text.startswith("14.2.0 for CUDA 13.2 cannot allocate memory: CUDARuntimeError: cudaErrorInsuff")
    assert finding.text.endswith("so there is no driver, or one that is too old")
    assert DOWNLOAD in finding.advice


def test_a_gpu_without_memory(complete):
    complete(
        cupy=CUPY.format(
            allocate="raise MemoryError('Out of memory allocating 512 bytes')", nvrtc="return 13, 5", runtime=13020
        )
    )
    assert "CuPy: 14.2.0 for CUDA 13.2 cannot allocate memory: MemoryError: Out of memory" in cuda_unavailable_reason()
    assert "nvidia-smi" in cuda_unavailable_reason()


def test_cupy_without_its_compiler(complete):
    """Which decodes LZ4; it is a package of its own."""
    fail = "raise RuntimeError('libnvrtc.so.13 was not found')"
    complete(cupy=CUPY.format(allocate="return None", nvrtc=fail, runtime=13020))
    assert (
        "CuPy: 14.2.0 for CUDA 13.2 does not find its compiler, NVRTC: RuntimeError: libnvrtc.so.13"
        in cuda_unavailable_reason()
    )
    assert CUDA[13] in cuda_unavailable_reason()


def test_cupy_for_a_newer_cuda_than_the_driver(complete):
    complete(Library(version=12080), distributions=["cupy-cuda13x"])
    assert cuda_unavailable_reason() == (
        "CuPy: 14.2.0 for CUDA 13.2 is newer than the driver, which runs CUDA up to 12.8. To use a GPU: "
        f"pip uninstall cupy-cuda13x, then {CUDA[12]}, or update the driver."
    )


@pytest.mark.parametrize(("subject", "distribution"), [("KvikIO", "kvikio-cu13"), ("nvCOMP", "nvidia-libnvcomp-cu13")])
def test_packages_for_a_newer_cuda_than_the_driver(complete, subject, distribution):
    cupy = CUPY.format(allocate="return None", nvrtc="return 12, 9", runtime=12090)
    complete(Library(version=12080), cupy=cupy, distributions=["cupy-cuda12x", distribution])
    assert cuda_unavailable_reason().startswith(f"{subject}: ")
    assert "is newer than the driver" in cuda_unavailable_reason()
    assert f"pip uninstall {distribution}, then {CUDA[12]}" in cuda_unavailable_reason()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise OSError('libcuda.so.1: cannot open shared object file')", "OSError: libcuda.so.1: cannot open shared"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "ImportError: numpy.core.multiarray failed"),
        ("class Odd(Exception): pass\nraise Odd", "cannot be used: Odd"),
        ("raise RuntimeError('\\n====\\nFailed to import.\\n\\nMore')", "RuntimeError: Failed to import. To use"),
        ("raise RuntimeError('At init:\\n\\nno symbol\\nmore')", "RuntimeError: At init: no symbol. To use"),
        ("raise ImportError('Failed') from OSError('libnvrtc.so.13')", "ImportError: Failed (OSError: libnvrtc.so.13)"),
        ("import libsomething", "ModuleNotFoundError: No module named 'libsomething'"),
        ("1 +", "SyntaxError: invalid syntax"),
    ],
)
@pytest.mark.parametrize(("package", "subject"), [("cupy", "CuPy"), ("kvikio", "KvikIO")])
def test_packages_that_are_broken(complete, package, subject, text, said):
    complete(**{package: text})
    reason = cuda_unavailable_reason()
    assert reason.startswith(f"{subject}: cannot be used: ")
    assert said in reason
    assert CUDA[13] in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("posix", "gds", "path"),
    [
        (True, False, "the POSIX path"),
        (False, True, "GPUDirect Storage"),
        (False, False, "cuFile without GPUDirect Storage (nvidia-fs is not loaded)"),
    ],
)
def test_how_kvikio_reads(complete, posix, gds, path):
    complete(kvikio=kvikio_on(posix, gds, threads=8))
    assert finding_of("KvikIO").text == f"26.10.00 on {path}, 8 threads, tasks of 4 MiB"


def test_a_cufile_that_does_not_answer_is_no_obstacle(complete):
    """KvikIO itself takes its POSIX path then."""
    broken = kvikio_on(posix=False) | {
        "cufile_driver": "def get(name): raise RuntimeError('driver_open: no nvidia-fs')"
    }
    complete(kvikio=broken)
    assert finding_of("KvikIO").works
    assert "does not say whether it has GPUDirect Storage" in finding_of("KvikIO").text
    assert "driver_open: no nvidia-fs" in finding_of("KvikIO").text
    assert cuda_unavailable_reason() is None


def test_kvikio_without_a_gpu_is_not_tried(no_driver, use_packages):
    use_packages(kvikio=kvikio_on(posix=False))
    finding = finding_of("KvikIO")
    assert not finding.works
    assert finding.text == "26.10.00 has no GPU to read for (1 thread, tasks of 4 MiB)"
    assert DOWNLOAD in finding.advice


def test_nvcomp_of_another_major(use_driver, use_packages, monkeypatch):
    if not packages._has_nvcomp():
        pytest.skip("nvCOMP is not installed")
    use_driver()
    use_packages()
    monkeypatch.setattr(nvcomp, "MAJOR", 5)
    monkeypatch.setattr(nvcomp, "load", nvcomp.load.__wrapped__)
    finding = finding_of("nvCOMP")
    assert not finding.works
    assert "No nvCOMP 5 was found" in finding.text
    assert "is version 6." in finding.text
    assert finding.advice == CUDA[13]


def test_nvcomp_that_is_not_there(no_driver, use_packages, monkeypatch):
    def load():
        raise DeviceError("No nvCOMP 6 was found: libnvcomp.so.6: no file. To install it: pip install nvidia-nvcomp.")

    monkeypatch.setattr(nvcomp, "load", load)
    use_packages()
    finding = finding_of("nvCOMP")
    assert finding.text == "cannot be used: No nvCOMP 6 was found: libnvcomp.so.6: no file"
    assert finding.advice.startswith(BOTH)


@pytest.mark.parametrize("broken", ["no folder", "no room"])
def test_cupy_works_without_a_cache_of_kernels(complete, broken, tmp_path, monkeypatch, caplog):
    """It makes the folder when it is imported, and writes to it whatever it compiles; as this one does."""
    text = """
import os
from pathlib import Path
Path(os.environ["CUPY_CACHE_DIR"]).mkdir(exist_ok=True)
if not int(os.environ.get("CUPY_CACHE_IN_MEMORY", 0)):
    (Path(os.environ["CUPY_CACHE_DIR"]) / "kernel.cubin").write_bytes(b"kernel")
"""
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    complete(cupy=text + CUPY.format(allocate="return None", nvrtc="return 13, 5", runtime=13020))
    assert finding_of("CuPy").works
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "0", "where it can be kept, all stays as it is"
    assert [path.name for path in (tmp_path / "kernels").iterdir()] == ["kernel.cubin"]

    (tmp_path / "file").touch()
    if broken == "no folder":
        monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    else:
        monkeypatch.setattr(tempfile, "TemporaryFile", Mock(side_effect=OSError(28, "No space left on device")))
    for _ in range(2):
        complete(cupy=text + CUPY.format(allocate="return None", nvrtc="return 13, 5", runtime=13020))
        assert finding_of("CuPy").works
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
    assert len(caplog.records) == 1
    assert "choose another one with CUPY_CACHE_DIR" in caplog.text


# ---- Numba


@pytest.fixture
def numba_of(complete, monkeypatch):
    """Makes Numba see GPUs, or raise an error."""
    from types import SimpleNamespace

    monkeypatch.setattr("wkgpu.kernels.numpy_names.complete_numba_cuda", lambda: None)

    def use(gpus, compiles=True, simulates=0):
        diagnosis._why_nothing_compiles.cache_clear()

        def list_devices():
            if isinstance(gpus, Exception):
                raise gpus
            return gpus

        config = SimpleNamespace(ENABLE_CUDASIM=simulates)
        module = SimpleNamespace(
            list_devices=list_devices,
            is_available=lambda: compiles,
            config=config,
            compile=lambda function, signature, cc, **options: compiled.append(cc),
        )
        monkeypatch.setitem(sys.modules, "numba.cuda", module)
        complete(numba=False)
        return module

    compiled = []
    use.compiled = compiled
    yield use
    diagnosis._why_nothing_compiles.cache_clear()


def test_numba(numba_of):
    import numba

    numba_of([0])
    assert cuda_unavailable_reason() is None
    assert finding_of("Numba").text == f"{numba.__version__} with numba-cuda 0.30.4"
    assert numba_of.compiled == [H200.capability], "once in a process, for the GPU that is there"
    numba_of([0], simulates=1)
    assert "only simulates CUDA" in cuda_unavailable_reason()
    assert "unset NUMBA_ENABLE_CUDASIM" in cuda_unavailable_reason()
    numba_of([])
    assert "sees only 0 GPUs" in cuda_unavailable_reason()
    numba_of(ImportError("Error at driver init: \n\nCUDA driver library cannot be found.\n"))
    assert (
        "sees no GPU: ImportError: Error at driver init: CUDA driver library cannot be found."
        in cuda_unavailable_reason()
    )
    numba_of([0], compiles=False)
    assert "NVVM" in cuda_unavailable_reason()
    assert CUDA[13] in cuda_unavailable_reason()


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
@pytest.mark.parametrize("lacking", ["row_stack", "flipud"])
def test_a_numpy_that_numba_cuda_does_not_fit(run_python, lacking):
    """What is known to be missing does not matter; what else is, is said before the first read fails."""
    script = f"""
from types import SimpleNamespace
import numpy as np
vars(np).pop("{lacking}", None) and np.__all__.remove("{lacking}")
from numba import cuda
from wkgpu.engines.cuda import diagnosis
from wkgpu.engines.cuda.driver import Gpu
cuda.list_devices, cuda.is_available = lambda: [0], lambda: True
driver = SimpleNamespace(gpus=[Gpu("NVIDIA H200", 1 << 30, (9, 0))], cuda=(13, 0), advice="")
print(diagnosis._numba(driver, 0))
"""
    reason = run_python(UNAVAILABLE).strip()
    if reason:
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    said = run_python(script)
    assert ("cannot compile a kernel: AttributeError: module 'numpy' has no" in said) == (lacking != "row_stack"), said
    assert (CUDA[13] in said) == (lacking != "row_stack")


def test_numba_without_numba_cuda(no_driver, use_packages):
    use_packages()
    assert finding_of("Numba").text == "numba-cuda is not installed"


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
def test_the_simulator_is_no_gpu(run_python):
    script = "from wkgpu import cuda_findings; print(cuda_findings()[-1])"
    assert "only simulates CUDA" in run_python(script, NUMBA_ENABLE_CUDASIM="1")


# ---- The whole


def test_nothing_that_is_broken_keeps_the_cpu_from_working(run_python, tmp_path, monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cupy-cache"))
    (tmp_path / "cupy.py").write_text(CUPY.format(allocate=NO_DRIVER, nvrtc="return 13, 5", runtime=13020))
    (tmp_path / "kvikio.py").write_text("raise OSError('libcuda.so.1: cannot open shared object file')")
    (tmp_path / "numba_cuda.py").write_text("raise ImportError('no symbol')")
    script = """
import sys, numpy as np, wkgpu as wk
from wkgpu.engines.cuda import driver
class Broken:
    def __getattr__(self, name): raise OSError(f"{name} crashed")
driver._load = Broken
data = np.random.default_rng(0).integers(0, 255, (70, 50, 40), "uint8")
mag = wk.Dataset("dataset", voxel_size=(1, 1, 1)).add_layer("color", "color").add_mag(1, shard_shape=64)
mag.write(data)
assert (mag.read()[0] == data).all()
for finding in wk.cuda_findings(): print(finding.works, finding)
"""
    python_path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    printed = run_python(script, PYTHONPATH=python_path).splitlines()
    assert len(printed) == 6
    assert sum(line.startswith("True") for line in printed) <= 1  # nvCOMP
    assert "crashed" in printed[0]
    assert "cudaErrorInsufficientDriver" in printed[2]
    assert "OSError: libcuda.so.1" in printed[3]
    assert "ImportError: no symbol" in printed[5]
