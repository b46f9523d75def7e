"""Working memory of the CUDA engine: two slots a call, so that one batch is fetched while the other is decoded."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.cuda.budget import Budget
from wkgpu.engines.cuda.device import Bytes, Columns, Device, Event, Memory
from wkgpu.errors import DeviceLostError, DeviceMemoryError
from wkgpu.storage.plans.chunk_lookup import Ints

_ALIGNMENT = 256
_KEPT_PAIRS = 16  # of calls at the same time; those of more calls are given back


class Slot:
    """A stream, and memory by name that grows to what is asked for and is used again by the next batch."""

    def __init__(self, device: Device, release: Callable[[], None]) -> None:
        self._device = device
        self._release = release
        self.stream = device.new_stream()
        self._memory: dict[str, Memory] = {}
        self._used: set[str] = set()  # names that the call has asked for
        self._room = sys.maxsize
        self._host: dict[str, Bytes] = {}
        self.requests: list[Callable[[], int]] = []
        """What files are still asked for, or given, outside of the stream."""
        self._end: Event | None = None
        self._complete: Callable[[], None] | None = None

    def memory(self, name: str, nbytes: int) -> Memory:
        """Return at least ``nbytes`` of the device's memory, which hold anything. The slot must be idle."""
        self._used.add(name)
        held = self._memory.get(name)
        if held is None or held.nbytes < nbytes:
            self._memory.pop(name, None)
            del held  # so that the new memory can take its place
            capacity = device_capacity(nbytes)
            if self.nbytes + capacity > self._room:  # what an earlier call has used is in the way
                self._memory = {own: memory for own, memory in self._memory.items() if own in self._used}
            held = self._memory[name] = self._taken(capacity)
        return held

    def lend(self, nbytes: int) -> None:
        """Say that a call begins to use the slot, and how much of the device's memory it may come to hold."""
        self._used.clear()
        self._room = nbytes

    def _taken(self, nbytes: int) -> Memory:
        try:
            return self._device.memory(nbytes)
        except DeviceMemoryError:
            self._release()
        return self._device.memory(nbytes)

    def host(self, name: str, nbytes: int) -> Bytes:
        """Return exactly ``nbytes`` of the host's memory. The slot must be idle."""
        held = self._host.get(name)
        if held is None or held.nbytes < nbytes:
            self._host.pop(name, None)
            held = self._host[name] = self._device.host_memory(_host_capacity(nbytes))
        return held[:nbytes]

    def begin(self, of_caller: Event) -> None:
        """Let the stream wait for what the caller has given to the device before."""
        self.stream.after(of_caller)

    def end(self, complete: Callable[[], None] | None = None) -> None:
        """Say that a batch has been queued, and what `finish` calls once it is done."""
        self._end, self._complete = self.stream.record(), complete

    def finish(self) -> None:
        """Wait until the last batch is done, and complete it; from then on the slot is idle."""
        end, complete = self._end, self._complete
        self._end = self._complete = None
        if end is not None:
            end.wait()
        if complete is not None:
            complete()

    def drain(self) -> None:
        """Wait after an error, until nothing uses the slot's memory any more; the error counts, whatever comes now."""
        self._end = self._complete = None
        while self.requests:
            with suppress(BaseException):  # Ctrl+C comes when the request has ended
                self.requests[0]()
            self.requests.pop(0)
        with suppress(BaseException):
            self.stream.record().wait()

    @property
    def nbytes(self) -> int:
        """Bytes of the device's memory that it holds."""
        return sum(memory.nbytes for memory in self._memory.values())


def device_capacity(nbytes: int) -> int:
    """Round up to an eighth of the size's power of two: calls of about one size then use the same memory.

    It is a multiple of `_ALIGNMENT`, as the address of memory is. So the kernels of ``lz4.cu`` may read whole blocks of
    16 bytes, of which some hold a byte of a chunk and others do not.
    """
    step = max(1 << max(nbytes.bit_length() - 4, 0), _ALIGNMENT)
    return max(-(-nbytes // step), 1) * step


def _host_capacity(nbytes: int) -> int:
    """Round up to a power of two: CuPy's pool of pinned memory gives what a slot has outgrown to requests of its size.

    Of memory of any size it would keep a block for each size that a slot ever had. So these are at most as many bytes
    as the slot has now.
    """
    return max(1 << (nbytes - 1).bit_length() if nbytes > 1 else 1, _ALIGNMENT)


SlotPair: TypeAlias = tuple[Slot, Slot]


class Slots:
    """Lends pairs of slots; some are kept for the next calls.

    Parameters
    ----------
    budget : Budget
        What is kept is given up where it is in the way of what calls are given.
    """

    def __init__(self, device: Device, budget: Budget) -> None:
        self._device = device
        self._budget = budget
        self._idle: list[SlotPair] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, nbytes: int = 0) -> Iterator[SlotPair]:
        """Lend a pair for a ``with`` block, at whose end nothing uses its memory any more.

        Parameters
        ----------
        nbytes : int
            How much of the device's memory the pair may come to hold: what the budget has given.
        """
        pair = self._taken(nbytes)
        for slot in pair:
            slot.lend(nbytes // len(pair))
        try:
            of_caller = self._device.record_event()
            for slot in pair:
                slot.begin(of_caller)
            yield pair
            for slot in pair:
                slot.finish()
        except BaseException as error:
            for slot in pair:
                slot.drain()
            if not isinstance(error, Exception):  # Ctrl+C may have come between a request and its record in a slot
                with suppress(BaseException):
                    self._device.drain_files()
            if isinstance(error, DeviceLostError):
                self.forget()
            elif not isinstance(error, DeviceMemoryError):  # what is in the way of a call with smaller batches
                self._keep(pair, nbytes)
            raise
        self._keep(pair, nbytes)

    def _taken(self, nbytes: int) -> SlotPair:
        """Return the idle pair with the most memory that may be as much, or a new one; others make room for it."""
        with self._lock:
            fitting = [pair for pair in self._idle if _held(pair) <= nbytes]
            pair = max(fitting, key=_held, default=None)
            if pair is not None:
                self._idle.remove(pair)
            while self._idle and sum(map(_held, self._idle)) > self._budget.rest:
                self._idle.pop(0)
        return pair or (Slot(self._device, self.release), Slot(self._device, self.release))

    def _keep(self, pair: SlotPair, nbytes: int) -> None:
        """Keep a pair for the next call, as far as the budget has room when the call has given back what it had."""
        with self._lock:
            self._idle.append(pair)
            while len(self._idle) > _KEPT_PAIRS or sum(map(_held, self._idle)) > self._budget.rest + nbytes:
                self._idle.pop(0)

    def release(self) -> None:
        """Give the memory of idle slots back."""
        self.forget()
        self._device.release()

    def forget(self) -> None:
        """Keep no idle slots, and ask nothing of the device, which may be lost."""
        with self._lock:
            self._idle.clear()

    @property
    def nbytes_kept(self) -> int:
        """Bytes of the device's memory that idle slots hold."""
        with self._lock:
            return sum(map(_held, self._idle))


def _held(pair: SlotPair) -> int:
    return sum(slot.nbytes for slot in pair)


class BatchTable:
    """The numbers of a batch (int64), put together in host memory and uploaded at once.

    Parameters
    ----------
    slot : Slot
        Idle.
    items : int
        How many numbers there will be, at most.
    """

    def __init__(self, slot: Slot, items: int) -> None:
        self._slot = slot
        self._numbers: NDArray[np.int64] = slot.host("table", 8 * items).view(np.int64)
        self.memory = slot.memory("table", 8 * items)
        self._end = 0

    def add(self, numbers: Ints | list[int]) -> int:
        """Append numbers to upload, and return the item at which they begin."""
        begin = self._end
        self._end += len(numbers)
        self._numbers[begin : self._end] = numbers
        return begin

    def add_bytes(self, data: bytes) -> tuple[int, int]:
        """Append bytes to upload; returns their address on the device, a multiple of 8, and how many they are."""
        begin = self.add(np.frombuffer(data + bytes(-len(data) % 8), np.int64))
        return self.address(begin), len(data)

    def add_chunks(self, sources: Ints, lengths: Ints, targets: Ints, size: int, wanted: Ints | int | None) -> Columns:
        """Append the columns of chunks to decode.

        Parameters
        ----------
        sources, targets : int64 (n,)
            Addresses on the device of the encoded chunks, and of where they are decoded to.
        lengths : int64 (n,)
            Encoded bytes.
        size : int
            Decoded bytes of each.
        wanted : int64 (n,) or int or None
            How many of these are needed; None for decoders that do not ask.
        """
        count = len(sources)

        def column(numbers: Ints | int) -> int:
            return self.address(self.add(np.broadcast_to(np.asarray(numbers, np.int64), count)))

        return Columns(
            column(sources), column(lengths), column(targets), column(size), 0 if wanted is None else column(wanted),
            count,
        )  # fmt: skip

    def upload(self) -> None:
        """Queue the upload of all numbers."""
        self._slot.stream.upload(self._numbers[: self._end].view(np.uint8), self.memory)

    def leave(self, items: int) -> int:
        """Leave room, after what was uploaded, for what the device writes; return the item at which it begins."""
        begin = self._end
        self._end += items
        return begin

    def address(self, item: int) -> int:
        """Return the device's address of an item."""
        return self.memory.address + 8 * item
