"""A look at each use of a buffer by a CUDA engine: is it ordered behind the other uses, by a wait that is written down?

Each actor (a stream, a request to a file, a thread of the host, a caller's stream) has a vector clock: how far it is,
and how far all others were when it last waited for them. Two uses of one buffer, of which one writes, are ordered if
the later actor knew of the earlier use. `watching.watched` tells of the uses.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from wkgpu.engines.cuda.ordering import Actor, wait_between

Clock = dict[Any, int]
FRESH = "fresh"
"""Memory that a slot has just taken, and has not named yet."""


class Use(NamedTuple):
    actor: Any
    kind: Actor
    clock: Clock

    def knows(self, other: Use) -> bool:
        """Whether the other use came before this one."""
        return other.clock[other.actor] <= self.clock.get(other.actor, 0)


class Buffer:
    def __init__(self, name: str, begin: int, end: int) -> None:
        self.name, self.begin, self.end = name, begin, end
        self.writes: dict[Any, Use] = {}
        self.reads: dict[Any, Use] = {}


class Ledger:
    """Uses of buffers so far, and what is wrong with them."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.waits: set[str] = set()
        """Names of the waits that have ordered two uses."""
        self._clocks: dict[Any, Clock] = {}
        self._buffers: dict[int, Buffer] = {}
        self._lock = threading.RLock()

    # ---- Clocks

    def host(self) -> Any:
        return (Actor.HOST, threading.get_ident())

    def caller(self) -> Any:
        """All callers are one: their streams are the default stream, or ordered with it."""
        return (Actor.CALLER, 0)

    def clock(self, actor: Any) -> Clock:
        return self._clocks.setdefault(actor, {actor: 0})

    def learn(self, actor: Any, clock: Clock) -> None:
        """Let an actor know all that another one knew."""
        own = self.clock(actor)
        for other, number in clock.items():
            own[other] = max(own.get(other, 0), number)

    def queued(self, actor: Any) -> Clock:
        """Return the clock of what the host gives an actor to do now."""
        with self._lock:
            self.learn(actor, self.clock(self.host()))
            own = self.clock(actor)
            own[actor] += 1
            return dict(own)

    # ---- Uses

    def name(self, name: str, begin: int, nbytes: int) -> None:
        """Say what lies at an address from now on."""
        with self._lock:
            end = begin + nbytes
            held = self._buffers.get(begin)
            if held is not None and held.end == end and held.name in (name, FRESH):
                held.name = name
                return
            self.name_fresh(begin, nbytes, name)

    def name_fresh(self, begin: int, nbytes: int, name: str = FRESH) -> None:
        """Say that memory has just been taken: what used it before is not known here."""
        with self._lock:
            end = begin + nbytes
            for other in [other for other in self._buffers.values() if other.begin < end and begin < other.end]:
                del self._buffers[other.begin]
            self._buffers[begin] = Buffer(name, begin, end)

    def give_back(self, address: int) -> None:
        """Say that memory of the host goes back to its pool: nothing may use it any more."""
        with self._lock:
            buffer, known = self._buffers.pop(address, None), self.clock(self.host())
            for use in [*buffer.writes.values(), *buffer.reads.values()] if buffer else []:
                if use.clock[use.actor] > known.get(use.actor, 0) and use.kind is not Actor.HOST:
                    self.violations.append(f"{buffer.name!r} is given back while {use.kind.value} uses it")

    def forget(self, begin: int, nbytes: int) -> None:
        """Say that memory has just come from a pool, where nothing uses it."""
        with self._lock:
            for other in [each for each in self._buffers.values() if each.begin < begin + nbytes and begin < each.end]:
                del self._buffers[other.begin]

    def find(self, address: int) -> Buffer | None:
        return next((each for each in self._buffers.values() if each.begin <= address < each.end), None)

    def use(self, address: int, actor: Any, kind: Actor, clock: Clock, *, writes: bool) -> None:
        with self._lock:
            buffer = self.find(address)
            if buffer is None:  # no buffer of the engine's
                return
            use = Use(actor, kind, clock)
            for others in (buffer.writes, buffer.reads) if writes else (buffer.writes,):
                for other in others.values():
                    if other.actor != actor:
                        self._compare(buffer, other, use)
            (buffer.writes if writes else buffer.reads)[actor] = use

    def _compare(self, buffer: Buffer, first: Use, second: Use) -> None:
        if buffer.name == "array" and first.kind is second.kind is Actor.SLOT:
            return  # other voxels
        if first.kind is second.kind in (Actor.HOST, Actor.FILES, Actor.CALLER):
            return  # slots pass from thread to thread behind a lock, requests of a batch have parts of their own
        wait = wait_between(buffer.name, first.kind, second.kind)
        what = f"{second.kind.value} uses {buffer.name!r} after {first.kind.value}"
        if not second.knows(first):
            by = f"nothing waits ({wait.name!r} should)" if wait else "nothing waits, and no wait is written down"
            self.violations.append(f"{what}: {by}")
        elif wait is None:
            self.violations.append(f"{what}: no wait is written down")
        else:
            self.waits.add(wait.name)
