"""Payloads as they come back, byte by byte after docs/trailer.md."""

import random
import struct
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from instamp import Clock, Hook, Phase, Record

NONCE = 0x0123_4567_89AB_CDEF


def stamp(phase: Phase, hook: Hook, time_ns: int, node: int = 7, clock: Clock = Clock.MONOTONIC) -> Record:
    return Record(phase, 0, hook, node, clock, 64, time_ns)


#: Sent at 1000, left at 1020, came at 1090, received at 1100.
RECORDS = (stamp(Phase.REQUEST, Hook.TC_EGRESS, 1020), stamp(Phase.REPLY, Hook.XDP_INGRESS, 1090))


def packed(r: Record) -> bytes:
    exponent = 31 if r.bound_ns is None else r.bound_ns.bit_length() - 1
    return struct.pack("!BBHQ", r.phase << 7 | r.point << 4 | r.hook, r.clock << 5 | exponent, r.node, r.time_ns)


def payload(
    records: Sequence[Record] = RECORDS,
    nonce: int = NONCE,
    application: bytes = b"",
    cap: int = 4,
    used: Optional[int] = None,
    flags: int = 0,
    magic: bytes = b"IST\x01",
) -> bytes:
    stamps = b"".join(packed(record) for record in records).ljust(12 * cap, b"\0")
    counts = (len(records) if used is None else used) << 4 | cap
    return application + stamps + struct.pack("!QHBB4s", nonce, 0xBEEF, counts, flags, magic)


def hostile(seed: int, count: int) -> List[Tuple[int, int, int, bytes]]:
    """Nonces, times of sending and receiving, and payloads: whole ones, damaged ones, and noise."""
    source = random.Random(seed)
    extremes = (0, 1, 1 << 63, (1 << 64) - 1)
    rows = []
    for _ in range(count):
        records = list(RECORDS)
        for _ in range(source.choice((0, 0, 1, 2))):
            fields: Dict[str, Any] = {
                "phase": Phase(source.randrange(2)),
                "point": source.randrange(8),
                "hook": Hook(source.randrange(16)),
                "node": source.choice((7, 9)),
                "clock": Clock(source.randrange(8)),
                "bound_ns": source.choice((1, 1 << 30, None)),
                "time_ns": source.choice((*extremes, 1050, source.getrandbits(64))),
            }
            changed = source.sample(sorted(fields), source.randrange(len(fields) + 1))
            record = replace(source.choice(RECORDS), **{name: fields[name] for name in changed})
            records[source.randrange(3) : source.randrange(3)] = [record]
        del records[4:]
        data = bytearray(payload(records, application=source.randbytes(source.choice((0, 0, 2, 300, 301)))))
        for _ in range(source.choice((0, 0, 0, 1, 5))):
            data[source.randrange(len(data))] = source.randrange(256)
        if source.random() < 0.1:
            data = bytearray(source.randbytes(source.randrange(100)))
        if source.random() < 0.1:
            del data[source.randrange(len(data) + 1) :]
        sent_ns, received_ns = source.choice((1000, 1000, *extremes)), source.choice((1100, 1100, *extremes))
        rows.append((NONCE, sent_ns, received_ns, bytes(data)))
    return rows
