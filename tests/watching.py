"""A look at each use of a buffer by the engines on a device, for the ledger of `happens_before`.

`watched` replaces methods of any device that has those of `wkgpu.engines.cuda.device`, of its streams, events and
files, and of the engine's slots, which tell the ledger and do what they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

from happens_before import Ledger

from wkgpu.engines.cuda.checked_decoding import CheckedDecoding
from wkgpu.engines.cuda.decoding import Decoding
from wkgpu.engines.cuda.encoder import _Encoding
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.engines.cuda.ordering import Actor
from wkgpu.engines.cuda.slots import Slot, Slots
from wkgpu.errors import DeviceLostError
from wkgpu.operations.prefetch import Ahead

WRITTEN = {
    "place_chunks": lambda words, numbers: [words[2]],
    "fill_chunks": lambda words, numbers: [words[1]],
    "fill_words": lambda words, numbers: [words[0]],
    "exchange_chunks": lambda words, numbers: [words[1] if numbers[-1] else words[2]],
    "drop_filled": lambda words, numbers: [words[0]],
    "add_up_lengths": lambda words, numbers: [words[0]],
    "pack_chunks": lambda words, numbers: [words[2]],
}
"""Which of the arrays of a kernel it writes; the table is the first of them."""


def address_of(memory: Any) -> int:
    if hasattr(memory, "address"):
        return int(memory.address)
    interface = "__array_interface__" if hasattr(memory, "__array_interface__") else "__cuda_array_interface__"
    return int(getattr(memory, interface)["data"][0])


def _launched(kernel: Any, grid: Any, threads: int, *arguments: Any) -> list[tuple[Any, bool]]:
    words = [each for each in arguments if not isinstance(each, int)]
    written = WRITTEN[kernel.py_func.__name__](words, [each for each in arguments if isinstance(each, int)])
    return [(each, any(each is one for one in written)) for each in words]


STREAM_OPERATIONS: dict[str, Callable[..., list[tuple[Any, bool]]]] = {
    "upload": lambda source, target, begin=0: [(source, False), (target, True)],
    "download": lambda source, begin, target: [(source, False), (target, True)],
    "clear": lambda memory, nbytes: [(memory, True)],
    "launch": _launched,
}
"""Of each operation: the memory that it uses, and whether it writes it."""


class _Watch:
    """Makes methods that tell the ledger, of a device and of the slots."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def by_stream(self, stream: Any, uses: Iterable[tuple[Any, bool]]) -> None:
        """Tell of what is being queued on a stream."""
        actor = (Actor.SLOT, id(stream))
        clock = self.ledger.queued(actor)
        for memory, writes in uses:
            self.ledger.use(address_of(memory), actor, Actor.SLOT, clock, writes=writes)

    def operation(self, name: str, original: Any) -> Any:
        def operation(stream: Any, *arguments: Any) -> None:
            self.by_stream(stream, STREAM_OPERATIONS[name](*arguments))
            original(stream, *arguments)

        return operation

    def after(self, original: Any) -> Any:
        def after(stream: Any, event: Any) -> None:
            self.ledger.learn((Actor.SLOT, id(stream)), event.clock)
            original(stream, event)

        return after

    def record(self, original: Any) -> Any:
        def record(stream: Any) -> Any:
            event = original(stream)
            event.clock = self.ledger.queued((Actor.SLOT, id(stream)))
            return event

        return record

    def wait(self, original: Any) -> Any:
        def wait(event: Any) -> None:
            is_over = True
            try:
                original(event)
            except DeviceLostError:  # it does nothing any more
                raise
            except BaseException:
                is_over = False
                raise
            finally:
                if is_over and hasattr(event, "clock"):
                    self.ledger.learn(self.ledger.host(), event.clock)

        return wait

    def record_event(self, original: Any) -> Any:
        def record_event(device: Any) -> Any:
            event = original(device)
            event.clock = self.ledger.queued(self.ledger.caller())
            return event

        return record_event

    def device_memory(self, original: Any) -> Any:
        """The caller has given this memory back a moment ago, and its stream still uses it."""
        ledger = self.ledger

        def memory(device: Any, nbytes: int) -> Any:
            clock = ledger.queued(ledger.caller())
            found = original(device, nbytes)
            ledger.name_fresh(found.address, found.nbytes)
            ledger.use(found.address, ledger.caller(), Actor.CALLER, clock, writes=True)
            return found

        return memory

    def host_memory(self, original: Any) -> Any:
        def host_memory(device: Any, nbytes: int) -> Any:
            found = original(device, nbytes)
            self.ledger.name_fresh(address_of(found), found.nbytes)
            return found

        return host_memory

    def opened(self, original: Any) -> Any:
        def opened(device: Any, descriptor: int, *, writable: bool = False) -> Any:
            file = original(device, descriptor, writable=writable)
            file.read, file.write = self.request(file.read, writes=True), self.request(file.write, writes=False)
            return file

        return opened

    def drain_files(self, original: Any) -> Any:
        def drain_files(device: Any) -> None:
            original(device)
            for actor, clock in list(self.ledger._clocks.items()):
                if actor[0] is Actor.FILES:
                    self.ledger.learn(self.ledger.host(), clock)

        return drain_files

    def request(self, original: Any, *, writes: bool) -> Any:
        ledger = self.ledger

        def request(memory: Any, begin: int, nbytes: int, offset: int) -> Any:
            actor = (Actor.FILES, object())
            clock = ledger.queued(actor)
            ledger.use(memory.address, actor, Actor.FILES, clock, writes=writes)
            try:
                complete = original(memory, begin, nbytes, offset)
            except OSError:
                ledger.learn(ledger.host(), clock)
                raise

            def completed() -> int:
                try:
                    return int(complete())
                finally:
                    ledger.learn(ledger.host(), clock)

            return completed

        return request

    # ---- The engine's own

    def slot_memory(self, original: Any) -> Any:
        def memory(slot: Any, name: str, nbytes: int) -> Any:
            found = original(slot, name, nbytes)
            if found is not None:
                self.ledger.name(name, found.address, found.nbytes)
            return found

        return memory

    def slot_begin(self, original: Any) -> Any:
        """The thread that is lent a slot knows what the one knew that gave it back: a lock is between them."""

        def begin(slot: Any, of_caller: Any) -> None:
            self.ledger.learn(self.ledger.host(), getattr(slot, "given_back", {}))
            original(slot, of_caller)

        return begin

    def slots_keep(self, original: Any) -> Any:
        def keep(slots: Any, pair: Any, nbytes: int) -> None:
            for slot in pair:
                slot.given_back = dict(self.ledger.clock(self.ledger.host()))
            original(slots, pair, nbytes)

        return keep

    def ahead_start(self, original: Any) -> Any:
        """A thread that makes a call ahead knows what its caller knew; what takes the result knows what it knew."""

        def start(ahead: Any) -> None:
            ahead.known = dict(self.ledger.clock(self.ledger.host()))
            original(ahead)

        return start

    def ahead_run(self, original: Any) -> Any:
        def run(ahead: Any) -> None:
            function = ahead._function

            def called() -> Any:
                self.ledger.learn(self.ledger.host(), ahead.known)
                try:
                    return function()
                finally:
                    ahead.known = dict(self.ledger.clock(self.ledger.host()))

            ahead._function = called
            original(ahead)

        return run

    def ahead_wait(self, original: Any) -> Any:
        def wait(ahead: Any) -> None:
            original(ahead)
            self.ledger.learn(self.ledger.host(), getattr(ahead, "known", {}))

        return wait

    def slot_host(self, original: Any) -> Any:
        ledger = self.ledger

        def host(slot: Any, name: str, nbytes: int) -> Any:
            before = slot._host.get(name)
            found = original(slot, name, nbytes)
            whole = slot._host[name]
            if before is not whole:
                if before is not None:
                    ledger.give_back(address_of(before))
                ledger.forget(address_of(whole), whole.nbytes)
            ledger.name(f"host {name}", address_of(whole), whole.nbytes)
            ledger.use(address_of(whole), ledger.host(), Actor.HOST, ledger.queued(ledger.host()), writes=True)
            return found

        return host

    def decoding(self, original: Any) -> Any:
        def initialised(decoding: Any, device: Any, slot: Any, table: Any, codecs: Any, sources: Any, lengths: Any,
                        targets: Any, size: int, wanted: Any) -> None:  # fmt: skip
            original(decoding, device, slot, table, codecs, sources, lengths, targets, size, wanted)
            decoding.first = int(sources[0]), int(targets[0])

        return initialised

    def decoding_queue(self, original: Any) -> Any:
        """Of LZ4, and of what is checked: that writes all memory in which it works, and columns."""

        def queue(decoding: Any) -> None:
            actor = (Actor.SLOT, id(decoding._slot.stream))
            clock = self.ledger.queued(actor)
            source, target = decoding.first
            if isinstance(decoding, CheckedDecoding):
                written = [target, decoding.columns.sources, *(memory.address for memory in decoding.memory.values())]
            else:
                written = [target, decoding._results.address]
                written += [decoding._found.address, decoding.columns.sources] if decoding.decoder == "nvcomp" else []
            for address in written:
                self.ledger.use(address, actor, Actor.SLOT, clock, writes=True)
            for address in (source, decoding.columns.sources):
                self.ledger.use(address, actor, Actor.SLOT, clock, writes=False)
            original(decoding)

        return queue

    def encode(self, original: Any) -> Any:
        def encode(encoding: Any, table: Any, at: int, encoded_at: int) -> None:
            written = [encoding._encoded, encoding._temp, encoding._statuses, table.memory]
            self.by_stream(encoding._slot.stream, [(encoding._chunks, False), *((each, True) for each in written)])
            original(encoding, table, at, encoded_at)

        return encode

    def call(self, original: Any) -> Any:
        """Before a call and after it, the caller uses its array."""
        ledger = self.ledger

        def call(engine: Any, *arguments: Any) -> None:
            array = arguments[-1]
            with engine.device.active():
                span = engine.device.span(array)[0] if isinstance(array, engine.xp.ndarray) and array.size else None

            def use() -> None:
                if span is not None:
                    ledger.name("array", span.address, span.nbytes)
                    clock = ledger.queued(ledger.caller())
                    ledger.use(span.address, ledger.caller(), Actor.CALLER, clock, writes=True)

            use()
            original(engine, *arguments)
            use()

        return call


@contextmanager
def watched(device: Any) -> Iterator[Ledger]:
    """Look at all uses of buffers by engines on devices of one class, and fail in the end if one is not ordered."""
    ledger = Ledger()
    watch = _Watch(ledger)
    stream = device.new_stream()
    kind, streams, events = type(device), type(stream), type(stream.record())
    replaced = [
        *((streams, name, partial(watch.operation, name)) for name in STREAM_OPERATIONS),
        (streams, "after", watch.after), (streams, "record", watch.record), (events, "wait", watch.wait),
        (kind, "record_event", watch.record_event), (kind, "memory", watch.device_memory), (kind, "open", watch.opened),
        (kind, "host_memory", watch.host_memory),
        (kind, "drain_files", watch.drain_files),
        (Slot, "memory", watch.slot_memory), (Slot, "host", watch.slot_host),
        (Ahead, "start", watch.ahead_start), (Ahead, "_run", watch.ahead_run), (Ahead, "wait", watch.ahead_wait),
        (Slot, "begin", watch.slot_begin), (Slots, "_keep", watch.slots_keep),
        *((kind, name, make) for kind in (Decoding, CheckedDecoding)
          for name, make in (("__init__", watch.decoding), ("queue", watch.decoding_queue))),
        (_Encoding, "_encode", watch.encode), (CudaEngine, "read", watch.call), (CudaEngine, "write", watch.call),
    ]  # fmt: skip
    with ExitStack() as stack:
        for owner, name, make in replaced:
            stack.enter_context(mock.patch.object(owner, name, make(getattr(owner, name))))
        yield ledger
    assert not ledger.violations, "\n".join(dict.fromkeys(ledger.violations))
