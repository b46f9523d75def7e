"""Kernels as PTX and as machine code, and what that needs of a GPU; none has to be there.

They go the way that they go for a GPU: NVVM compiles those of Numba to PTX, which nvJitLink assembles, and NVRTC
compiles CUDA C to machine code. (For Numba's PTX, `ptxas -v` names fewer registers and `ptxas -c -v` the same ones,
because nvJitLink assembles code that can be linked.) Registers and stack are what the machine code, an ELF file, tells
a driver; spills and shared memory what the assembler reports.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cuda.bindings import nvjitlink, nvrtc
from numba.cuda import compiler, dispatcher

from benchmarks.kernels import listing
from wkgpu.kernels.cuda.sources import whole_text

ARCHITECTURES = ("sm_80", "sm_90a", "sm_100a")
"""Those that are assembled: A100, H100 and B200, by the names that Numba gives them."""
OLDEST = "sm_75"
"""What CUDA 13 still compiles for; as PTX only, and what reads and writes need only."""


@dataclass(frozen=True)
class Compiled:
    """A kernel of Numba for one architecture.

    Attributes
    ----------
    name, types, group
        See `listing.Kernel`.
    architecture
        As "sm_90a".
    ptx
        What NVVM makes.
    """

    name: str
    types: str
    group: str
    architecture: str
    ptx: str


@dataclass(frozen=True)
class Figures:
    """What a kernel needs.

    Attributes
    ----------
    kernel, types, architecture
        Which it is; CUDA C has no types.
    registers
        Of a thread, with the functions that it calls.
    spilled_bytes
        What a thread stores and loads because registers do not suffice.
    stack_bytes
        Of a thread: spilled registers and arrays of its own.
    shared_bytes
        Of a block.
    """

    kernel: str
    types: str
    architecture: str
    registers: int
    spilled_bytes: int
    stack_bytes: int
    shared_bytes: int


def toolkit() -> str:
    """Return the version of the toolkit that assembles, as "13.5"."""
    return ".".join(map(str, nvjitlink.version()))


def compile_all(architectures: Sequence[str] = ARCHITECTURES) -> Iterator[Compiled]:
    """Compile all kernels of Numba for architectures; types are inferred once for all of them.

    Those that move words come for the oldest architecture as well.
    """
    # Device functions are compiled for the current device, of which there is none.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=_capability(OLDEST))
    listing.compile_for_cpu()
    for kernel in listing.kernels():
        oldest = [OLDEST] if kernel.group == "words" else []
        library, _ = (
            compiler._compile_pyfunc_with_fixup(  # `cuda.compile` would begin from Python for each architecture
                kernel.function, kernel.signature, device=False, abi="numba", cc=_capability(architectures[-1])
            )
        )
        for architecture in (*oldest, *architectures):
            ptx = library.get_asm_str(cc=_capability(architecture))
            yield Compiled(kernel.name, kernel.types, kernel.group, architecture, ptx)


def figures_of_c(source: Path, architecture: str, *options: str) -> list[Figures]:
    """Compile a file of CUDA C to machine code with NVRTC, as CuPy does, and return what each kernel in it needs.

    Raises
    ------
    RuntimeError
        Where NVRTC refuses it, with what NVRTC says.
    """
    options = (f"-arch={architecture}", "--ptxas-options=-v", *options)
    options += tuple(f"-D{name}={value}" for name, value in listing.MACROS.items())
    program = _nvrtc(
        nvrtc.nvrtcCreateProgram(whole_text(source.parent, source.name).encode(), source.name.encode(), 0, [], [])
    )
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = bytearray(_nvrtc(nvrtc.nvrtcGetProgramLogSize(program)))
        nvrtc.nvrtcGetProgramLog(program, log)
        if status:
            raise RuntimeError(f"{source.name} does not compile for {architecture}: {log.decode()}")
        cubin = bytearray(_nvrtc(nvrtc.nvrtcGetCUBINSize(program)))
        nvrtc.nvrtcGetCUBIN(program, cubin)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return [_of_entry(entry, "", architecture, entry, bytes(cubin), log.decode()) for entry in _reports(log.decode())]


def _nvrtc(answer: tuple[Any, Any]) -> Any:
    status, value = answer
    if status:
        raise RuntimeError(f"NVRTC: {status.name}")
    return value


def figures(compiled: Compiled, *options: str) -> Figures:
    """Assemble what was compiled, with options of nvJitLink, and return what the kernel needs.

    Raises
    ------
    RuntimeError
        Where the assembler or its machine code does not say so.
    """
    cubin, log = assemble(compiled.ptx, compiled.architecture, *options)
    (entry,) = re.findall(r"\.visible \.entry (\w+)", compiled.ptx)
    return _of_entry(compiled.name, compiled.types, compiled.architecture, entry, cubin, log)


def _of_entry(name: str, types: str, architecture: str, entry: str, cubin: bytes, log: str) -> Figures:
    try:
        attributes = _attributes(cubin)[entry]
        registers, stack = attributes[_REGISTERS], attributes[_FRAME]
        spilled, shared = _reports(log)[entry]
    except KeyError as error:
        raise RuntimeError(f"CUDA {toolkit()} does not say what {entry} needs: {log}") from error
    return Figures(name, types, architecture, registers, spilled, stack, shared)


def assemble(ptx: str, architecture: str, *options: str) -> tuple[bytes, str]:
    """Return the machine code for an architecture, and what the assembler reports."""
    text = ptx.encode()
    options = (f"-arch={architecture}", "-verbose", "-Xptxas=-v", *options)
    handle = nvjitlink.create(len(options), list(options))
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    return bytes(cubin), log.decode()


def _capability(architecture: str) -> tuple[Any, ...]:
    major, minor, suffix = re.fullmatch(r"sm_(\d+)(\d)(a?)", architecture).groups()  # type: ignore[union-attr]
    return (int(major), int(minor), suffix) if suffix else (int(major), int(minor))


# ---- What the assembler reports


def _reports(log: str) -> dict[str, tuple[int, int]]:
    """Return the bytes that are spilled and the bytes of shared memory of each entry.

    ptxas writes for each::

        ptxas info    : Compiling entry function 'NAME' for 'sm_80'
        ptxas info    : Function properties for NAME
            0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
        ptxas info    : Used 83 registers, used 6 barriers, 256 bytes smem, 544 bytes cmem[0]
    """
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        spills = re.search(rf"properties for {name}\s.*?(\d+) bytes spill stores, (\d+) bytes spill loads", part, re.S)
        used = re.search(r"Used \d+ registers.*", part)
        if spills and used:
            shared = re.search(r"(\d+) bytes smem", used[0])
            found[name] = int(spills[1]) + int(spills[2]), int(shared[1]) if shared else 0
    return found


# ---- What the machine code tells a driver: a table of attributes, each of a symbol


_FRAME, _REGISTERS = 0x11, 0x2F  # EIATTR_FRAME_SIZE and EIATTR_REGCOUNT in the names of `readelf` and `cuobjdump`
_NO_VALUE, _BYTE, _SHORT, _SIZED = 1, 2, 3, 4  # how the value of an attribute is stored


def _attributes(cubin: bytes) -> dict[str, dict[int, int]]:
    """Return those attributes of all functions that are a number."""
    (sections_at,) = struct.unpack_from("<Q", cubin, 0x28)
    count, names_index = struct.unpack_from("<HH", cubin, 0x3C)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, sections_at + 64 * row) for row in range(count)]

    def data(section: tuple[int, ...]) -> bytes:
        return cubin[section[4] : section[4] + section[5]]

    def text(table: bytes, offset: int) -> str:
        return table[offset : table.index(b"\0", offset)].decode()

    names = data(sections[names_index])
    by_name = {text(names, section[0]): section for section in sections}
    symbols, strings = by_name[".symtab"], data(by_name[".strtab"])
    found: dict[str, dict[int, int]] = {}
    for attribute, value in _sized_values(data(by_name[".nv.info"])):
        symbol, number = struct.unpack("<II", value)
        (name_at,) = struct.unpack_from("<I", data(symbols), 24 * symbol)
        found.setdefault(text(strings, name_at), {})[attribute] = number
    return found


def _sized_values(table: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the attributes whose value is a symbol and a number."""
    at = 0
    while at + 4 <= len(table):
        form, attribute, value = struct.unpack_from("<BBH", table, at)
        at += 4
        if form == _SIZED:
            if value == 8:
                yield attribute, table[at : at + value]
            at += value
        elif form not in (_NO_VALUE, _BYTE, _SHORT):
            raise RuntimeError(f"attribute {attribute:#x} of a kernel has the unknown form {form}")
