"""What waits for what: every buffer that two of the engine's actors use, and what orders their uses.

A GPU's streams, KvikIO's threads and the host all work at the same time. Where one of them uses a buffer after another,
and one of the two writes it, a wait of `WAITS` lies between both uses; there are no others. The tests look at each use
of a buffer, on the simulated device and on the fake driver, and compare it with this table: a use that no wait orders
is an error there, and so is one that the table does not know. A new buffer or actor needs its rows here.

Two things need no row. The operations of one stream are in order. And what is written to one output by both slots of a
call are different voxels, because a plan places every voxel once.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Actor(Enum):
    """What uses buffers by itself."""

    CALLER = "the caller's stream"
    SLOT = "a slot's stream"
    FILES = "KvikIO's threads"
    HOST = "the host"


class Wait(NamedTuple):
    """A wait between two uses of a buffer."""

    name: str
    buffers: frozenset[str]
    """Names in `slots.Slot.memory`, with a leading "host " in `Slot.host`; "array" is an output or input."""
    producer: Actor
    consumer: Actor
    how: str


_HOST_TABLES = frozenset({"host table", "host staging", "host voxels"})
_HOST_RESULTS = frozenset({"host results", "host verdicts", "host statuses", "host lengths", "host packed"})
_ENCODER = frozenset({"encoded", "packed", "temp", "statuses"})
_DECODER = frozenset({"results", "found", "temp", "verdicts", "expected", "aligned", "shuffled"})
_DEVICE = frozenset({"staging", "decoded", "table"}) | _ENCODER | _DECODER

WAITS = (
    Wait(
        "pool", _DEVICE, Actor.CALLER, Actor.SLOT,
        "Device.memory hands out memory only when what the caller has queued is done: it may still use what it has "
        "given back",
    ),
    Wait(
        "pool of files", frozenset({"staging", "packed", "decoded"}), Actor.CALLER, Actor.FILES,
        "the same, for KvikIO's threads",
    ),
    Wait(
        "begin", frozenset({"array"}), Actor.CALLER, Actor.SLOT,
        "Slots.borrow lets both streams wait for what the caller has queued before the call",
    ),
    Wait(
        "done", frozenset({"array"}), Actor.SLOT, Actor.CALLER,
        "Slots.borrow finishes both slots before the call returns",
    ),
    Wait(
        "arrive", frozenset({"staging"}), Actor.FILES, Actor.SLOT,
        "Fetcher's result waits for the requests before anything that reads their bytes is queued; after an error "
        "Slot.drain does, and after Ctrl+C Device.drain_files too, for a request that no slot knows",
    ),
    Wait(
        "reuse", frozenset({"staging"}), Actor.SLOT, Actor.FILES,
        "Slot.finish waits for a batch before the next one is fetched to its place",
    ),
    Wait(
        "tables", _HOST_TABLES, Actor.HOST, Actor.SLOT,
        "the host writes a table, and gathers short ranges and new voxels, before it queues their upload",
    ),
    Wait(
        "next tables", _HOST_TABLES, Actor.SLOT, Actor.HOST,
        "Slot.finish waits for a batch, and so for its uploads, before the host writes the next tables",
    ),
    Wait(
        "results", _HOST_RESULTS, Actor.SLOT, Actor.HOST,
        "Slot.finish waits for the downloads before results are looked at; CudaWriter._store does for what it stores",
    ),
    Wait(
        "next results", _HOST_RESULTS, Actor.HOST, Actor.SLOT,
        "the host has looked at the results of a batch when it queues the download of the next one's",
    ),
    Wait(
        "encoded", frozenset({"packed", "decoded"}), Actor.SLOT, Actor.FILES,
        "Slot.finish waits for a batch before its chunks are given to KvikIO to be written",
    ),
    Wait(
        "stored", frozenset({"packed", "decoded"}), Actor.FILES, Actor.SLOT,
        "complete_writes waits for the requests before the slot is used again; after an error as for arrive",
    ),
)  # fmt: skip
"""Each with a name, its buffers, the producer and the consumer."""


def wait_between(buffer: str, producer: Actor, consumer: Actor) -> Wait | None:
    """Return what orders a use of a buffer behind another one; None where nothing does.

    Examples
    --------
    >>> wait_between("staging", Actor.FILES, Actor.SLOT).name
    'arrive'
    """
    for wait in WAITS:
        if buffer in wait.buffers and wait.producer is producer and wait.consumer is consumer:
            return wait
    return None
