"""In which stream a call works: PyTorch's, where one is set there and none in CuPy; with stand-ins for both."""

import importlib
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from strategies import voxels

from wkgpu.dataset.blocks import Box
from wkgpu.dataset.streaming import fetched
from wkgpu.dataset.transfer import read_box, write_box
from wkgpu.engines.cuda.torch_stream import torch_stream
from wkgpu.errors import DeviceError
from wkgpu.storage.layout import ArrayLayout

SIDE = 0xABC0


class Torch(ModuleType):
    """PyTorch, as far as streams go: the current one is that of the thread."""

    def __init__(self):
        super().__init__("torch")
        self.handles = threading.local()
        self.is_initialized = True
        self.is_capturing = False
        self.asked = []
        self.cuda = SimpleNamespace(
            is_initialized=lambda: self.is_initialized,
            is_current_stream_capturing=lambda: self.is_capturing,
            current_stream=self.current_stream,
        )

    def current_stream(self, ordinal):
        self.asked.append(threading.get_ident())
        return SimpleNamespace(cuda_stream=getattr(self.handles, "handle", 0))


@pytest.fixture
def torch(monkeypatch):
    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


# ---- Which stream


def test_without_torch_there_is_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert torch_stream(0) is None
    assert "torch" not in sys.modules


def test_a_side_stream_of_torch(torch):
    assert torch_stream(0) is None
    torch.handles.handle = SIDE
    assert torch_stream(0) == SIDE
    torch.is_initialized = False
    assert torch_stream(0) is None


def test_a_module_that_is_being_imported_has_none(monkeypatch):
    for half in (ModuleType("torch"), None):
        monkeypatch.setitem(sys.modules, "torch", half)
        assert torch_stream(0) is None


def test_a_stream_that_captures_a_graph_is_refused(torch):
    torch.is_capturing = True
    assert torch_stream(0) is None, "the default stream captures nothing"
    torch.handles.handle = SIDE
    with pytest.raises(DeviceError, match=r"cuda:0 captures a CUDA graph.*before torch.cuda.graph"):
        torch_stream(0)


# ---- What is entered


class Cupy(ModuleType):
    """CuPy, as far as streams go; it writes down what is done."""

    def __init__(self):
        super().__init__("cupy")
        self.log = log = []
        self.current = [0]
        cupy = self

        class Device:
            def __init__(self, ordinal):
                self.ordinal = ordinal

            def __enter__(self):
                log.append(f"device {self.ordinal}")

            def __exit__(self, *arguments):
                log.append("device left")

        class Stream:
            def __init__(self, handle):
                self.ptr = handle

            @classmethod
            def from_external(cls, other):
                version, handle = other.__cuda_stream__()
                assert version == 0
                return cls(handle)

            def __enter__(self):
                log.append(f"enter {self.ptr:#x}")
                cupy.current.append(self.ptr)

            def __exit__(self, *arguments):
                log.append(f"leave {self.ptr:#x}")
                cupy.current.pop()

            def wait_event(self, event):
                log.append(f"{self.ptr:#x} waits for {event.stream.ptr:#x}")

        class Event:
            def __init__(self, disable_timing):
                assert disable_timing

            def record(self, stream):
                self.stream = stream

        self.cuda = SimpleNamespace(
            Device=Device, Stream=Stream, Event=Event, get_current_stream=lambda: Stream(cupy.current[-1])
        )


@pytest.fixture
def cupy(monkeypatch):
    cupy = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


@pytest.fixture
def current(cupy, monkeypatch):
    monkeypatch.delitem(sys.modules, "wkgpu.engines.cuda.gpu.current", raising=False)
    yield importlib.import_module("wkgpu.engines.cuda.gpu.current").Current
    sys.modules.pop("wkgpu.engines.cuda.gpu.current", None)


def test_torchs_stream_is_entered_and_ordered_with_cupys(torch, cupy, current):
    torch.handles.handle = SIDE
    with current(1):
        cupy.log.append("work")
        with current(1):
            cupy.log.append("more work")
    assert cupy.log == [
        "device 1", "0xabc0 waits for 0x0", "enter 0xabc0", "work", "device 1", "more work", "device left",
        "leave 0xabc0", "0x0 waits for 0xabc0", "device left",
    ]  # fmt: skip
    assert len(torch.asked) == 1, "it is found once in a call"


@pytest.mark.parametrize("own", [0x77, 0x1234])
def test_a_stream_that_is_set_in_cupy_counts(torch, cupy, current, own):
    torch.handles.handle = SIDE
    cupy.current.append(own)
    with current(0):
        assert cupy.current[-1] == own
    assert cupy.log == ["device 0", "device left"]


@pytest.mark.parametrize("own", [0, 1, 2])
def test_null_legacy_and_per_thread_streams_do_not(torch, cupy, current, own):
    torch.handles.handle = SIDE
    cupy.current.append(own)
    with current(0):
        assert cupy.current[-1] == SIDE
    assert cupy.current[-1] == own


def test_without_torch_nothing_is_asked(cupy, current, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda: pytest.fail("it costs time"))
    with current(0):
        pass
    assert cupy.log == ["device 0", "device left"]


def test_the_device_is_left_when_the_stream_captures(torch, cupy, current):
    torch.handles.handle = SIDE
    torch.is_capturing = True
    with pytest.raises(DeviceError), current(0):
        pytest.fail("it is entered")
    assert cupy.log == ["device 0", "device left"]


def test_an_error_of_the_block_stays_what_it_is(torch, cupy, current):
    torch.handles.handle = SIDE
    with pytest.raises(ZeroDivisionError), current(0):
        _ = 1 // 0
    assert cupy.log[-2:] == ["leave 0xabc0", "device left"]


def test_another_thread_enters_a_stream_that_it_is_given(torch, cupy, current):
    with current(0, cupy.cuda.Stream(SIDE)):
        assert cupy.current[-1] == SIDE
    assert torch.asked == []


# ---- Threads that read ahead


def test_what_is_read_ahead_is_read_in_the_stream_of_the_caller(make_array, cpu, simulated, monkeypatch):
    layout = ArrayLayout(np.dtype("uint8"), 1, (8, 8, 8), (2, 2, 2), "lz4")
    array = make_array(layout)
    data = voxels(layout, (16, 16, 16), 1)
    write_box(array, cpu, (0, 0, 0), data)
    caller = threading.get_ident()
    found, entered = [], []

    class Carried:
        def __enter__(self):
            entered.append(threading.get_ident())

        def __exit__(self, *arguments):
            pass

    def carried(self):
        found.append(threading.get_ident())
        return Carried

    monkeypatch.setattr(type(simulated.device), "carried", carried)
    pieces = [Box((0, 0, z), (16, 16, 8)) for z in (0, 8)]
    for piece, (voxel,) in fetched([array], simulated, lambda piece: (piece,), pieces):
        np.testing.assert_array_equal(voxel, data[:, :, :, piece.topleft[2] :][..., :8])
    assert found == [caller]
    assert len(entered) == 2
    assert caller not in entered
    assert read_box(array, simulated, (0, 0, 0), (16, 16, 16)).shape == (1, 16, 16, 16)
