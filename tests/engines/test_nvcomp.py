"""The binding against the headers of the wheel, and what the library answers without a device."""

import ctypes
import importlib.util
import inspect
import json
import re
import struct
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from wkgpu.engines.cuda import nvcomp
from wkgpu.engines.cuda.nvcomp import Alignments, BatchedDeflate, BatchedLz4, BatchedZstd, Status
from wkgpu.errors import DeviceError


def installed():
    """The folder of the package that brings the library and its headers, or None."""
    try:
        package = importlib.util.find_spec("nvidia.libnvcomp")
    except ModuleNotFoundError:
        return None
    return package and Path(package.submodule_search_locations[0])


PACKAGE = installed()
needs_package = pytest.mark.skipif(PACKAGE is None, reason="nvidia.libnvcomp is not installed (nvidia-libnvcomp-cu13)")


@pytest.fixture
def library():
    return nvcomp.load()


@pytest.fixture
def lz4(library):
    return library.lz4


KINDS_OF_CODECS = [BatchedLz4, BatchedZstd, BatchedDeflate]
each_codec = pytest.mark.parametrize("kind", KINDS_OF_CODECS, ids=lambda kind: kind.codec)


def of(library, kind):
    return getattr(library, kind.codec.lower())


# ---- The headers of the wheel -------------------------------------------------------------------------------------


def header(name):
    """The text of a header without its comments."""
    text = (PACKAGE / "include" / name).read_text()
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def only(pattern, text):
    (match,) = re.findall(pattern, text, flags=re.DOTALL)
    return match


def enum(name):
    """The names and values of an enum."""
    body = only(rf"enum {name}\s*{{([^}}]*)}} {name};", header("nvcomp/shared_types.h"))
    return {key.strip(): int(value, 0) for key, value in (line.split("=") for line in body.split(",") if line.strip())}


def declarations(text, separator):
    """Pairs of a type, spaced in one way, and a name with what follows it."""
    for declaration in filter(str.strip, text.split(separator)):
        kind, name = re.fullmatch(r"\s*(.*?)\s*(\w+(?:\[\d+\])?)\s*", declaration, flags=re.DOTALL).groups()
        yield re.sub(r"\s*\*\s*", "*", " ".join(kind.split())), name


def fields(file, name):
    """The fields of a struct."""
    return list(declarations(only(rf"typedef struct\s*{{([^}}]*)}} {name};", header(file)), ";"))


def prototype(kind, name):
    """The parameters of a function that returns a status, with the names of LZ4's options."""
    codec = kind.codec
    text = only(rf"nvcompStatus_t nvcompBatched{codec}{name}\(([^)]*)\);", header(f"nvcomp/{codec.lower()}.h"))
    return list(declarations(text.replace(f"nvcompBatched{codec}", "nvcompBatchedLZ4"), ","))


def constant(name, file="lz4"):
    expression = only(rf"static const size_t {name} = ([^;]*);", header(f"nvcomp/{file}.h"))
    return eval(re.sub(r"(?<=\d)[uUlL]+", "", expression))


# What the prototypes say, beside our names for their parameters.
PROTOTYPES = {
    "DecompressAsync": [
        ("sources", "const void*const*", "device_compressed_chunk_ptrs"),
        ("source_bytes", "const size_t*", "device_compressed_chunk_bytes"),
        ("capacities", "const size_t*", "device_uncompressed_buffer_bytes"),
        ("decoded_bytes", "size_t*", "device_uncompressed_chunk_bytes"),
        ("count", "size_t", "num_chunks"),
        ("temp", "void*const", "device_temp_ptr"),
        ("temp_bytes", "size_t", "temp_bytes"),
        ("targets", "void*const*", "device_uncompressed_chunk_ptrs"),
        ("options", "nvcompBatchedLZ4DecompressOpts_t", "decompress_opts"),
        ("statuses", "nvcompStatus_t*", "device_statuses"),
        ("stream", "cudaStream_t", "stream"),
    ],
    "CompressAsync": [
        ("sources", "const void*const*", "device_uncompressed_chunk_ptrs"),
        ("source_bytes", "const size_t*", "device_uncompressed_chunk_bytes"),
        ("chunk_bytes", "size_t", "max_uncompressed_chunk_bytes"),
        ("count", "size_t", "num_chunks"),
        ("temp", "void*", "device_temp_ptr"),
        ("temp_bytes", "size_t", "temp_bytes"),
        ("targets", "void*const*", "device_compressed_chunk_ptrs"),
        ("encoded_bytes", "size_t*", "device_compressed_chunk_bytes"),
        ("options", "nvcompBatchedLZ4CompressOpts_t", "compress_opts"),
        ("statuses", "nvcompStatus_t*", "device_statuses"),
        ("stream", "cudaStream_t", "stream"),
    ],
    "DecompressGetTempSize": [
        ("count", "size_t", "num_chunks"),
        ("chunk_bytes", "size_t", "max_uncompressed_chunk_bytes"),
        ("options", "nvcompBatchedLZ4DecompressOpts_t", "decompress_opts"),
        ("temp_bytes", "size_t*", "temp_bytes"),
        ("total_bytes", "size_t", "max_total_uncompressed_bytes"),
        ("stream", "cudaStream_t", "stream"),
    ],
    "CompressGetTempSize": [
        ("count", "size_t", "num_chunks"),
        ("chunk_bytes", "size_t", "max_uncompressed_chunk_bytes"),
        ("options", "nvcompBatchedLZ4CompressOpts_t", "compress_opts"),
        ("temp_bytes", "size_t*", "temp_bytes"),
        ("total_bytes", "size_t", "max_total_uncompressed_bytes"),
        ("stream", "cudaStream_t", "stream"),
    ],
    "CompressGetMaxOutputChunkSize": [
        ("chunk_bytes", "size_t", "max_uncompressed_chunk_bytes"),
        ("options", "nvcompBatchedLZ4CompressOpts_t", "compress_opts"),
        ("bound", "size_t*", "max_compressed_chunk_bytes"),
    ],
    "DecompressGetRequiredAlignments": [
        ("options", "nvcompBatchedLZ4DecompressOpts_t", "decompress_opts"),
        ("alignments", "nvcompAlignmentRequirements_t*", "alignment_requirements"),
    ],
    "CompressGetRequiredAlignments": [
        ("options", "nvcompBatchedLZ4CompressOpts_t", "compress_opts"),
        ("alignments", "nvcompAlignmentRequirements_t*", "alignment_requirements"),
    ],
}
KINDS = {
    "size_t": ctypes.c_size_t,
    "size_t*": ctypes.POINTER(ctypes.c_size_t),
    "cudaStream_t": ctypes.c_void_p,
    "nvcompAlignmentRequirements_t*": ctypes.POINTER(ctypes.c_size_t * 3),
}


def bound_functions(codec):
    """What is bound, by the part of the name after the codec."""
    functions = [value for value in vars(codec).values() if isinstance(value, nvcomp._Function)]
    return {function.name.removeprefix(f"nvcompBatched{codec.codec}"): function for function in functions}


@needs_package
@each_codec
def test_every_function_that_is_bound_is_compared(library, kind):
    assert type(of(library, kind)) is kind
    assert bound_functions(of(library, kind)).keys() == PROTOTYPES.keys()


@needs_package
@each_codec
@pytest.mark.parametrize("name", PROTOTYPES)
def test_prototypes_are_those_of_the_header(kind, name):
    assert prototype(kind, name) == [(theirs, parameter) for _, theirs, parameter in PROTOTYPES[name]]


@needs_package
@each_codec
@pytest.mark.parametrize("name", PROTOTYPES)
def test_parameters_are_bound_in_the_order_of_the_header(library, kind, name):
    function = bound_functions(of(library, kind))[name]
    options = {
        "nvcompBatchedLZ4DecompressOpts_t": type(kind.decode_options),
        "nvcompBatchedLZ4CompressOpts_t": type(kind.encode_options),
    }
    expected = []
    for _, declared, theirs in PROTOTYPES[name]:
        expected.append(ctypes.c_void_p if theirs.startswith("device_") else (KINDS | options)[declared])
        assert "*" in declared or not theirs.startswith("device_")
    assert list(function.call.argtypes) == expected
    assert list(function.parameters) == [ours for ours, _, _ in PROTOTYPES[name]]
    assert function.call.restype is ctypes.c_int


@needs_package
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("decode", "DecompressAsync"),
        ("encode", "CompressAsync"),
        ("decode_temp_bytes", "DecompressGetTempSize"),
        ("encode_temp_bytes", "CompressGetTempSize"),
        ("bound", "CompressGetMaxOutputChunkSize"),
        ("decode_alignments", "DecompressGetRequiredAlignments"),
        ("encode_alignments", "CompressGetRequiredAlignments"),
    ],
)
def test_methods_pass_each_argument_where_it_belongs(lz4, method, name, monkeypatch):
    function, calls = bound_functions(lz4)[name], []
    monkeypatch.setattr(function, "call", lambda *arguments: calls.append(arguments) or 0)
    numbered = {name: number for number, name in enumerate(inspect.signature(getattr(lz4, method)).parameters, 100)}
    getattr(lz4, method)(**numbered)
    ((*arguments,),) = calls
    passed = dict(zip(function.parameters, arguments, strict=True))
    assert passed.pop("options") is (lz4.decode_options if name.startswith("Decompress") else lz4.encode_options)
    if "stream" not in numbered:
        assert passed.pop("stream", 0) == 0
    assert {key: value for key, value in passed.items() if isinstance(value, int)} == numbered


@needs_package
def test_statuses_are_those_of_the_header():
    snake = {"nvcomp" + "".join(word.capitalize() for word in s.name.split("_")): s.value for s in Status}
    assert {name.replace("nvcompError", "nvcomp"): value for name, value in enum("nvcompStatus_t").items()} == snake
    assert Status.SUCCESS == 0


@needs_package
def test_values_are_those_of_the_header():
    assert enum("nvcompDecompressBackend_t")["NVCOMP_DECOMPRESS_BACKEND_CUDA"] == nvcomp.BACKEND_CUDA
    assert enum("nvcompType_t")["NVCOMP_TYPE_CHAR"] == nvcomp.TYPE_CHAR
    assert enum("nvcompBitshuffleMode_t")["NVCOMP_BITSHUFFLE_NONE"] == nvcomp.BITSHUFFLE_NONE


@needs_package
def test_limits_are_those_of_the_header():
    assert constant("nvcompLZ4CompressionMaxAllowedChunkSize") == BatchedLz4.max_encoded_chunk_bytes == 1 << 24
    assert constant("nvcompLZ4DecompressionMaxAllowedChunkSize") == BatchedLz4.max_decoded_chunk_bytes
    assert constant("nvcompZstdCompressionMaxAllowedChunkSize", "zstd") >= BatchedZstd.max_encoded_chunk_bytes
    assert constant("nvcompZstdDecompressionMaxAllowedChunkSize", "zstd") == BatchedZstd.max_decoded_chunk_bytes
    limits = BatchedDeflate.max_encoded_chunk_bytes, BatchedDeflate.max_decoded_chunk_bytes
    assert constant("nvcompDeflateCompressionMaxAllowedChunkSize", "deflate") == limits[0]
    assert constant("nvcompDeflateDecompressionMaxAllowedChunkSize", "deflate") == limits[1]


@needs_package
@each_codec
@pytest.mark.parametrize("way", ["Compress", "Decompress"])
def test_options_are_laid_out_as_in_the_header(kind, way):
    options = type(kind.encode_options if way == "Compress" else kind.decode_options)
    file, name = f"nvcomp/{kind.codec.lower()}.h", f"nvcompBatched{kind.codec}{way}Opts_t"
    integers = {"int", "nvcompType_t", "nvcompBitshuffleMode_t", "nvcompDecompressBackend_t"}
    expected = []
    for declared, field in fields(file, name):
        if length := re.fullmatch(r"reserved\[(\d+)\]", field):
            assert declared == "char"
            expected.append(("reserved", ctypes.c_char * int(length[1])))
        else:
            assert declared in integers
            expected.append((field, ctypes.c_int))
    assert list(options._fields_) == expected
    assert ctypes.sizeof(options) == 64


def test_options_ask_for_plain_blocks_and_for_statuses():
    assert bytes(BatchedLz4.encode_options) == struct.pack("ii56x", 0, 0)
    assert bytes(BatchedLz4.decode_options) == struct.pack("iiii48x", 2, 0, 0, 0)
    assert bytes(BatchedZstd.decode_options) == struct.pack("i60x", 2)
    assert bytes(BatchedDeflate.decode_options) == struct.pack("ii56x", 2, 0)


@needs_package
def test_answers_are_laid_out_as_in_the_header():
    alignments = fields("nvcomp/shared_types.h", "nvcompAlignmentRequirements_t")
    assert alignments == [("size_t", name) for name in Alignments._fields]
    properties = fields("nvcomp/shared_types.h", "nvcompProperties_t")
    assert properties == [("uint32_t", "version"), ("uint32_t", "cudart_version")]
    formula = only(r"#define MAKE_SEMANTIC_VERSION\(major, minor, patch\) (.*?)\n", header("nvcomp/version.h"))
    assert formula == "((major * 1000) + (minor * 100) + patch)"


# ---- Answers without a device -------------------------------------------------------------------------------------


@needs_package
def test_the_version_is_that_of_the_header(library):
    parts = [
        only(rf"#define NVCOMP_VER_{part} (\d+)", header("nvcomp/version.h")) for part in ("MAJOR", "MINOR", "PATCH")
    ]
    assert library.version == ".".join(parts)
    assert int(parts[0]) == nvcomp.MAJOR
    assert Path(library.path).parent == PACKAGE / "lib64"


@needs_package
def test_the_library_is_loaded_once(library):
    assert nvcomp.load() is library


@needs_package
def test_chunks_need_no_alignment(lz4):
    assert lz4.decode_alignments() == Alignments(input=1, output=1, temp=1)
    assert lz4.encode_alignments() == Alignments(input=1, output=1, temp=2)


@needs_package
@pytest.mark.parametrize("chunk_bytes", [1, 32**3, 8 * 32**3, (1 << 32) - 1])
def test_decoding_works_in_no_memory_of_its_own(lz4, chunk_bytes):
    assert lz4.decode_temp_bytes(32_768, chunk_bytes, 32_768 * chunk_bytes) == 0


@needs_package
@pytest.mark.parametrize("chunk_bytes", [1, 32**3, 8 * 32**3, 1 << 24])
def test_encoding_works_in_as_much_for_each_chunk_whatever_its_size(lz4, chunk_bytes):
    assert lz4.encode_temp_bytes(1, chunk_bytes, chunk_bytes) == 32 * 1024
    assert lz4.encode_temp_bytes(32_768, chunk_bytes, 32_768 * chunk_bytes) == 1 << 30


@needs_package
@pytest.mark.parametrize(("chunk_bytes", "bound"), [(1, 8), (32_768, 32_904), (65_536, 65_800), (1 << 24, 16_843_016)])
def test_bound(lz4, chunk_bytes, bound):
    assert lz4.bound(chunk_bytes) == bound


@needs_package
@pytest.mark.parametrize(
    "ask",
    [
        lambda lz4: lz4.bound(lz4.max_encoded_chunk_bytes + 1),
        lambda lz4: lz4.encode_temp_bytes(1, lz4.max_encoded_chunk_bytes + 1, 1 << 25),
        lambda lz4: lz4.decode_temp_bytes(1, lz4.max_decoded_chunk_bytes + 1, 1 << 33),
    ],
)
def test_chunks_beyond_the_limit_are_refused(lz4, ask):
    with pytest.raises(DeviceError, match=r"nvcompBatchedLZ4.*chunk_bytes=\d+.*CHUNK_SIZE_TOO_LARGE \(18\): The chunk"):
        ask(lz4)


@needs_package
def test_a_status_that_is_unknown_is_reported_too(lz4, monkeypatch):
    monkeypatch.setattr(bound_functions(lz4)["CompressGetMaxOutputChunkSize"], "call", lambda *_: 77)
    with pytest.raises(DeviceError, match=r"nvcompBatchedLZ4CompressGetMaxOutputChunkSize.*unknown status \(77\)"):
        lz4.bound(1)


# Host memory stands in for that of the device: where no device is visible the library comes no further than arguments.
CALLS = """
import ctypes, json, re, sys
from wkgpu.engines.cuda.nvcomp import load
from wkgpu.errors import DeviceError

memory = (ctypes.c_uint64 * 65536)()
address = ctypes.addressof(memory)
lz4 = load().lz4
good = {
    "decode": dict(sources=address, source_bytes=address, capacities=address, decoded_bytes=address, count=1, temp=0,
                   temp_bytes=0, targets=address, statuses=address, stream=0),
    "encode": dict(sources=address, source_bytes=address, chunk_bytes=64, count=1, temp=address, temp_bytes=32768,
                   targets=address, encoded_bytes=address, statuses=address, stream=0),
}
answers = []
for method, changes in json.loads(sys.argv[1]):
    arguments = good[method] | {key: address + 2 if value == "odd" else value for key, value in changes.items()}
    try:
        getattr(lz4, method)(**arguments)
        answers.append("SUCCESS")
    except DeviceError as error:
        answers.append(re.search(r"returned (\\w+)", str(error))[1])
print(json.dumps(answers))
"""


@pytest.fixture
def call(run_python):
    """What the library answers to calls, given as (method, arguments that differ), in a process that sees no device."""
    return lambda calls: json.loads(run_python(CALLS, json.dumps(calls), CUDA_VISIBLE_DEVICES=""))


@needs_package
def test_without_a_device_a_batch_is_an_error(call):
    calls = [("decode", {}), ("encode", {}), ("encode", {"statuses": 0}), ("encode", {"chunk_bytes": 1 << 24})]
    assert call(calls) == ["CUDA_ERROR"] * len(calls)


@needs_package
def test_what_a_batch_must_give(call):
    needed = {
        "decode": ["sources", "source_bytes", "capacities", "decoded_bytes", "targets", "statuses"],
        "encode": ["sources", "source_bytes", "temp", "targets", "encoded_bytes"],
    }
    calls = [(method, {name: 0}) for method, names in needed.items() for name in names]
    assert call(calls) == ["INVALID_VALUE"] * len(calls)


@needs_package
def test_arrays_are_aligned_to_their_entries(call):
    arrays = {
        "decode": ["sources", "source_bytes", "capacities", "decoded_bytes", "targets", "statuses"],
        "encode": ["sources", "source_bytes", "targets", "encoded_bytes", "statuses"],
    }
    calls = [(method, {name: "odd"}) for method, names in arrays.items() for name in names]
    assert call(calls) == ["ALIGNMENT"] * len(calls)


@needs_package
def test_how_much_a_batch_may_be(call):
    max_count = 2**31 - 1
    refused = [
        ("decode", {"count": max_count + 1}),
        ("encode", {"count": max_count + 1}),
        ("encode", {"chunk_bytes": 2**24 + 1}),
    ]
    assert call(refused) == ["BATCH_SIZE_TOO_LARGE", "BATCH_SIZE_TOO_LARGE", "CHUNK_SIZE_TOO_LARGE"]
    assert (
        call([("decode", {"count": max_count}), ("encode", {"count": max_count, "temp_bytes": 2**62})])
        == ["CUDA_ERROR"] * 2
    )


@needs_package
def test_the_error_of_a_call_says_what_was_called_and_where_to_look(run_python):
    script = "from wkgpu.engines.cuda.nvcomp import load; load().lz4.decode(8, 8, 8, 8, 3, 0, 0, 8, 8, 0)"
    script = f"try:\n    {script}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    printed = run_python(script, CUDA_VISIBLE_DEVICES="")
    assert printed.startswith("DeviceError nvCOMP's nvcompBatchedLZ4DecompressAsync(sources=0x8, ")
    assert "count=3" in printed
    assert "nvidia-smi" in printed


# ---- zstd and deflate ---------------------------------------------------------------------------------------------


@needs_package
def test_zstd_decodes_anywhere_in_memory_of_its_own(library):
    """So encoded chunks are decoded where they were fetched to, and the memory belongs in the budget."""
    assert library.zstd.decode_alignments() == Alignments(input=1, output=1, temp=8)
    assert library.zstd.decode_temp_bytes(2048, 32**3, 2048 * 32**3) == 2048 * 105_240
    assert library.zstd.decode_temp_bytes(100, 1 << 20, 100 << 20) == 100 * 3_201_216


@needs_package
def test_zstd_encodes_chunks_that_begin_at_multiples_of_4(library):
    assert library.zstd.encode_alignments() == Alignments(input=4, output=1, temp=1)
    assert library.zstd.bound(32**3) == 32_779


@needs_package
def test_deflate_data_begins_at_multiples_of_4(library):
    assert library.deflate.decode_alignments() == Alignments(input=4, output=1, temp=1)
    assert library.deflate.decode_temp_bytes(8192, 32**3, 8192 * 32**3) == 0


# ---- Loading ------------------------------------------------------------------------------------------------------


def fake_library(number):
    """A library that knows its version, and has no other function: an attempt to bind one fails."""

    def get_properties(address):
        ctypes.c_uint32.from_address(address).value = number
        return 0

    return SimpleNamespace(nvcompGetProperties=ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(get_properties))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with libraries of our choice: in the package by file name, and one of the system's loader."""

    def install(package=None, system=None):
        libraries = {"libnvcomp.so.6": system}
        spec = ModuleSpec("nvidia.libnvcomp", None)
        spec.submodule_search_locations = [str(tmp_path)]
        (tmp_path / "lib64").mkdir()
        for name, library in (package or {}).items():
            (tmp_path / "lib64" / name).touch()
            libraries[str(tmp_path / "lib64" / name)] = library
        module = ModuleType("nvidia.libnvcomp")
        module.__spec__ = spec
        # None says that there is no such module
        monkeypatch.setitem(sys.modules, "nvidia.libnvcomp", None if package is None else module)
        real = ctypes.CDLL

        def load(name):
            if name is None:
                return real(None)
            if libraries[name] is None:
                raise OSError(f"{name}: cannot open shared object file")
            return libraries[name]

        monkeypatch.setattr(ctypes, "CDLL", load)

    nvcomp.load.cache_clear()
    yield install
    nvcomp.load.cache_clear()


def os_error_to_wkgpu():
    with pytest.raises(DeviceError, match="No nvCOMP 6 was found") as caught:
        nvcomp.load()
    message = str(caught.value)
    for install in ("pip install 'nvidia-nvcomp-cu13==6.*'", "'nvidia-nvcomp-cu12==6.*'"):
        assert install in message
    return message


def test_no_library(machine):
    machine()
    assert "libnvcomp.so.6: cannot open shared object file" in os_error_to_wkgpu()


def test_no_package_of_nvidia_at_all(machine, monkeypatch):
    machine()

    def find_spec(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    os_error_to_wkgpu()


@pytest.mark.parametrize(("number", "version"), [(5100, "5.1.0"), (7023, "7.0.23"), (4203, "4.2.3")])
def test_another_major_version_in_the_package(machine, tmp_path, number, version):
    machine({f"libnvcomp.so.{version[0]}": fake_library(number)})
    message = os_error_to_wkgpu()
    assert f"{tmp_path}/lib64/libnvcomp.so.{version[0]} is version {version};" in message
    assert "libnvcomp.so.6: cannot open" in message


def test_another_major_version_behind_the_name_of_this_one(machine):
    machine(system=fake_library(5200))
    assert "is version 5.2.0" in os_error_to_wkgpu()


def test_a_library_that_does_not_load(machine, tmp_path):
    machine({"libnvcomp.so.6": None})
    assert f"{tmp_path}/lib64/libnvcomp.so.6: cannot open shared object file" in os_error_to_wkgpu()


@pytest.mark.parametrize("library", [SimpleNamespace(), fake_library(6000)])
def test_a_library_without_the_functions(machine, library):
    machine({"libnvcomp.so.6": library})
    assert "no attribute 'nvcomp" in os_error_to_wkgpu()


def test_a_failure_is_not_kept(machine, monkeypatch):
    machine()
    os_error_to_wkgpu()
    monkeypatch.setattr(nvcomp, "Nvcomp", lambda library, path, version: version)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake_library(6123))
    monkeypatch.setattr(nvcomp, "_candidates", lambda: ["/opt/libnvcomp.so.6"])
    assert nvcomp.load() == "6.1.23"


@needs_package
def test_the_library_of_the_system_is_found(run_python):
    script = """
import sys
sys.modules["nvidia.libnvcomp"] = None
from wkgpu.engines.cuda.nvcomp import load
print(load().path, load().version.split(".")[0], load().lz4.bound(32768))
"""
    printed = run_python(script, LD_LIBRARY_PATH=str(PACKAGE / "lib64"))
    assert printed.split() == [str(PACKAGE / "lib64" / "libnvcomp.so.6"), "6", "32904"]


def test_importing_loads_nothing(run_python):
    script = """
import sys
from pathlib import Path
import wkgpu.engines.cuda.nvcomp
maps = Path("/proc/self/maps")
print("nvidia.libnvcomp" in sys.modules, maps.exists() and "libnvcomp" in maps.read_text())
"""
    assert run_python(script).split() == ["False", "False"]
