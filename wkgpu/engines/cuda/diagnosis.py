"""What CUDA needs, and what of it is missing here.

The probes never raise, whatever is broken: a library that cannot be imported, or fails at its first use, becomes a
finding that says so. GPU libraries are imported in the probes and nowhere else, and not at all by
`cuda_unavailable_reason` where the driver or a package is missing, so that machines without a GPU lose no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from wkgpu.engines.cuda.driver import Driver, hidden_gpus, no_gpu_advice, read_driver, version
from wkgpu.engines.cuda.kernel_cache import use_cache_of_cupy
from wkgpu.engines.cuda.packages import built_for, install_advice, missing_packages
from wkgpu.forking import loading

_USUAL_CAPABILITY = (9, 0)
_LOOK = "see with nvidia-smi whether the GPU works and has memory left"


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing that CUDA needs.

    Parameters
    ----------
    subject : str
        What it is about: ``"NVIDIA driver"``, ``"GPUs"``, ``"CuPy"``, ``"KvikIO"``, ``"nvCOMP"`` or ``"Numba"``.
    works : bool
        Whether the CUDA engine can use it.
    text : str
        What was found, such as versions and paths.
    advice : str
        What to install or to do; empty where it works.
    """

    subject: str
    works: bool
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return _sentences([f"{self.subject}: {self.text}"], [self.advice] if self.advice else [])


def cuda_findings() -> list[Finding]:
    """Look for all that CUDA needs: the driver, GPUs, CuPy, KvikIO, nvCOMP and Numba.

    Examples
    --------
    >>> [finding.subject for finding in cuda_findings()]
    ['NVIDIA driver', 'GPUs', 'CuPy', 'KvikIO', 'nvCOMP', 'Numba']
    """
    return list(_findings(read_driver(), 0))


def cuda_unavailable_reason(ordinal: int = 0) -> str | None:
    """Return what keeps a GPU from being used, and what to do about it; None where nothing does.

    If the driver is missing, packages that are missing too are named at once. CUDA is not started in this process
    before all of them are there.

    Parameters
    ----------
    ordinal : int
        Of the GPU, counted from 0 among those that this process may use.
    """
    driver, missing = read_driver(start=False), missing_packages()
    if driver.problem or missing:
        return _all_that_is_missing(driver, missing)
    return next((str(finding) for finding in _findings(read_driver(), ordinal) if not finding.works), None)


def _all_that_is_missing(driver: Driver, missing: list[str]) -> str:
    what, how = [], []
    if driver.problem:
        what.append(f"NVIDIA driver: {driver.problem}")
        how.append(driver.advice)
    if missing:
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        what.append(f"{names}: not installed")
        how.append(install_advice(driver))
    return _sentences(what, how)


def _sentences(what: list[str], how: list[str]) -> str:
    return f"{'; '.join(what)}." + (f" To use a GPU: {', then '.join(how)}." if how else "")


def _findings(driver: Driver, ordinal: int) -> Iterator[Finding]:
    yield _driver_finding(driver)
    yield _gpu_finding(driver, ordinal)
    for subject, probe in _PROBES.items():
        yield _guarded(subject, probe, driver, ordinal)


def _driver_finding(driver: Driver) -> Finding:
    if driver.problem:
        return Finding("NVIDIA driver", False, driver.problem, driver.advice)
    number = version()
    cuda = "CUDA of an unknown version" if driver.cuda is None else f"CUDA up to {_dotted(driver.cuda)}"
    return Finding("NVIDIA driver", True, f"{number}, which runs {cuda}" if number else f"runs {cuda}")


def _gpu_finding(driver: Driver, ordinal: int) -> Finding:
    if driver.problem:
        return Finding("GPUs", False, "unknown without the driver", driver.advice)
    hidden = hidden_gpus(len(driver.gpus))
    remark = f" ({hidden})" if hidden else ""
    if not driver.gpus:
        return Finding("GPUs", False, f"none was found{remark}", no_gpu_advice())
    names = [f"cuda:{position} {gpu.name}" for position, gpu in enumerate(driver.gpus)]
    if ordinal >= len(names):
        count = "there is 1" if len(names) == 1 else f"there are {len(names)}"
        text = f"there is no cuda:{ordinal}; {count}, {', '.join(names)}{remark}"
        return Finding("GPUs", False, text, f"choose {' or '.join(f'cuda:{other}' for other in range(len(names)))}")
    texts = [
        f"{name}, {gpu.nbytes / 2**30:.1f} GiB, compute capability {_dotted(gpu.capability)}"
        for name, gpu in zip(names, driver.gpus, strict=True)
    ]
    return Finding("GPUs", True, f"{'; '.join(texts)}{remark}")


# ---- Probes


def _guarded(subject: str, probe: Callable[[Driver, int], Finding], driver: Driver, ordinal: int) -> Finding:
    try:
        return probe(driver, ordinal)
    except Exception as error:  # libraries raise classes of their own, which cannot be imported to be named here
        if isinstance(error, ModuleNotFoundError) and error.name in _NOT_INSTALLED:
            return Finding(subject, False, _NOT_INSTALLED[error.name], install_advice(driver))
        return Finding(subject, False, f"cannot be used: {_said(error)}", install_advice(driver))


def _cupy(driver: Driver, ordinal: int) -> Finding:
    if "CuPy" not in missing_packages():
        use_cache_of_cupy()  # before it is imported
    cupy = import_module("cupy")
    runtime = cupy.cuda.runtime.runtimeGetVersion()
    cuda = runtime // 1000, runtime % 1000 // 10
    about = f"{cupy.__version__} for CUDA {_dotted(cuda)}"
    if driver.cuda is not None and cuda[0] > driver.cuda[0]:
        return _too_new("CuPy", about, "cupy-cuda{}x", driver)
    try:
        with cupy.cuda.Device(ordinal):
            cupy.empty(1, "uint8")
    except Exception as error:
        said = _said(error)
        cause = ", so there is no driver, or one that is too old" if "InsufficientDriver" in said else ""
        return Finding("CuPy", False, f"{about} cannot allocate memory: {said}{cause}", driver.advice or _LOOK)
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        text = f"{about} does not find its compiler, NVRTC: {_said(error)}"
        return Finding("CuPy", False, text, install_advice(driver))
    return Finding("CuPy", True, about)


def _kvikio(driver: Driver, _ordinal: int) -> Finding:
    kvikio, defaults = import_module("kvikio"), import_module("kvikio.defaults")
    about = kvikio.__version__
    if _is_too_new("kvikio-cu{}", driver):
        return _too_new("KvikIO", about, "kvikio-cu{}", driver)
    threads, task = defaults.get("num_threads"), defaults.get("task_size")
    settings = f"{threads} {'thread' if threads == 1 else 'threads'}, tasks of {task / 2**20:g} MiB"
    if not driver.gpus:
        # Not tried: with no driver its first read fails, and opening cuFile waits for ever.
        text = f"{about} has no GPU to read for ({settings})"
        return Finding("KvikIO", False, text, driver.advice or no_gpu_advice())
    return Finding("KvikIO", True, f"{about} on {_kvikio_path()}, {settings}")


def _kvikio_path() -> str:
    if import_module("kvikio.defaults").is_compat_mode_preferred():
        return "the POSIX path"
    try:
        is_direct = import_module("kvikio.cufile_driver").get("is_gds_available")
    except Exception as error:  # KvikIO itself does without it, if it has to
        return f"cuFile, which does not say whether it has GPUDirect Storage ({_said(error)})"
    if is_direct:
        return "GPUDirect Storage"
    return "cuFile without GPUDirect Storage (nvidia-fs is not loaded)"


def _nvcomp(driver: Driver, _ordinal: int) -> Finding:
    from wkgpu.engines.cuda.nvcomp import load
    from wkgpu.errors import DeviceError

    try:
        nvcomp = load()
    except DeviceError as error:
        text = str(error).partition(" To install it")[0].rstrip(".")  # the advice below is for this driver
        return Finding("nvCOMP", False, f"cannot be used: {text}", install_advice(driver))
    about = f"{nvcomp.version}, {nvcomp.path}"
    if _is_too_new("nvidia-libnvcomp-cu{}", driver):
        return _too_new("nvCOMP", about, "nvidia-libnvcomp-cu{}", driver)
    return Finding("nvCOMP", True, about)


def _numba(driver: Driver, ordinal: int) -> Finding:
    numba, numba_cuda = import_module("numba"), import_module("numba_cuda")
    about = f"{numba.__version__} with numba-cuda {numba_cuda.__version__}"
    cuda = import_module("numba.cuda")
    if cuda.config.ENABLE_CUDASIM:
        text = f"{about} only simulates CUDA, because NUMBA_ENABLE_CUDASIM is set"
        return Finding("Numba", False, text, "unset NUMBA_ENABLE_CUDASIM and start Python again")
    try:
        count = len(cuda.list_devices())
    except Exception as error:
        return Finding("Numba", False, f"{about} sees no GPU: {_said(error)}", driver.advice or install_advice(driver))
    if ordinal >= count:
        return Finding("Numba", False, f"{about} sees only {count} GPUs", driver.advice or no_gpu_advice())
    if not cuda.is_available():
        return Finding("Numba", False, f"{about} does not find its compiler, NVVM", install_advice(driver))
    problem = _why_nothing_compiles(
        driver.gpus[ordinal].capability if ordinal < len(driver.gpus) else _USUAL_CAPABILITY
    )
    if problem:
        text = f"{about} and NumPy {import_module('numpy').__version__} cannot compile a kernel: {problem}"
        return Finding("Numba", False, text, install_advice(driver))
    return Finding("Numba", True, about)


@cache
def _why_nothing_compiles(capability: tuple[int, int]) -> str:
    """Compile a kernel that does nothing, once in a process, and say what went wrong; empty where nothing did.

    It takes some 0.2 s, which the first real kernel then saves: numba-cuda loads most of itself when it first compiles,
    and may find there that it does not fit the NumPy or the GPU that it meets.
    """
    try:
        with loading:
            import_module("wkgpu.kernels.numpy_names").complete_numba_cuda()
            cuda = import_module("numba.cuda")
            cuda.compile(_nothing, (), device=False, abi="numba", cc=capability, output="ptx")
    except Exception as error:
        return _said(error)
    return ""


def _nothing() -> None:
    """Do nothing, as a kernel."""


_NOT_INSTALLED = {"cupy": "not installed", "kvikio": "not installed", "numba_cuda": "numba-cuda is not installed"}
_PROBES = {"CuPy": _cupy, "KvikIO": _kvikio, "nvCOMP": _nvcomp, "Numba": _numba}


# ---- Words


def _is_too_new(distribution: str, driver: Driver) -> bool:
    majors = built_for(distribution)
    return driver.cuda is not None and bool(majors) and min(majors) > driver.cuda[0]


def _too_new(subject: str, about: str, distribution: str, driver: Driver) -> Finding:
    runs = f"is newer than the driver, which runs CUDA up to {_dotted(driver.cuda or (0, 0))}"
    installed = " ".join(map(distribution.format, built_for(distribution)))
    removal = f"pip uninstall {installed}, then " if installed else ""
    return Finding(subject, False, f"{about} {runs}", f"{removal}{install_advice(driver)}, or update the driver")


def _dotted(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]}.{numbers[1]}"


def _said(error: BaseException) -> str:
    """Return the class of an error, its first line, or as many as it takes to get past a colon, and its cause."""
    words = []
    for line in map(str.strip, str(error).splitlines()):
        if any(map(str.isalnum, line)):  # no empty lines, and no lines of "===="
            words.append(line)
            if not line.endswith(":"):
                break
    said = f"{type(error).__name__}: {' '.join(words).rstrip('.')}" if words else type(error).__name__
    return f"{said} ({_said(error.__cause__)})" if error.__cause__ is not None else said
