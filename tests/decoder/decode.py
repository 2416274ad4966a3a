#!/usr/bin/env python3
"""Reads instamp trailers by docs/trailer.md alone.

It shares no code with the library, so that where the two differ, one of them or the document is wrong. In: lines
`nonce TAB sent TAB received TAB payload` (nonce and payload in hex, times in ns). Out: a line for each, the name of the
error of `strip`, or `LEN FULL RECORDS OUTCOME`. Sections in comments are those of the document.
"""

import sys
from typing import Callable, List, NamedTuple, Optional, Tuple, Union

FOOTER, RECORD = 16, 12
DRIVER_TX, NIC_TX, NIC_RX = 4, 5, 6
HOOKS = range(1, 9)
MONOTONIC, TAI, PHC = 1, 2, 3
BOUND_UNKNOWN = 31


class Record(NamedTuple):
    phase: int
    point: int
    hook: int
    node: int
    clock: int
    bound: int
    time: int

    def known(self) -> bool:
        """2.1: nothing is computed from other hooks."""
        return self.hook in HOOKS

    def timed(self) -> bool:
        """2.1 and 6: its time is one of a host's clock."""
        return self.clock in (MONOTONIC, TAI)

    def late(self) -> bool:
        """1: the time of a request; a late stamp has P = 0."""
        return self.hook in (DRIVER_TX, NIC_TX) and self.phase == 0

    def card(self) -> bool:
        return self.hook in (NIC_TX, NIC_RX)


class Trailer(NamedTuple):
    start: int
    full: bool
    records: List[Record]


class Outcome(NamedTuple):
    rtt: int
    net: int
    remote: Optional[int]
    tx_stack: int
    rx_stack: int
    bound: Optional[int]
    source_request: int
    source_request_point: int
    source_reply: int
    source_reply_point: int
    nic_net: Optional[int]
    nic_net_bound: Optional[int]
    nic_left_out: bool
    negative: bool


def strip(payload: bytes, nonce: int) -> Union[str, Trailer]:
    """The trailer of a reply (2, 4.4 to 4.7, 6), or why there is none."""
    footer = payload[-FOOTER:]
    if len(footer) < FOOTER or footer[12:15] != b"IST":
        return "no-trailer"
    if footer[15] != 1:
        return "version"
    if len(payload) % 2:
        return "odd-length"
    used, cap = footer[10] >> 4, footer[10] & 15
    start = len(payload) - FOOTER - RECORD * cap
    if cap < 2 or used > cap or start < 0:
        return "counts"
    if int.from_bytes(footer[:8], "big") != nonce:
        return "foreign-nonce"
    ends = [start + RECORD * index for index in range(used + 1)]
    return Trailer(start, bool(footer[11] & 1), [record(payload[a:b]) for a, b in zip(ends, ends[1:])])


def record(data: bytes) -> Record:
    return Record(
        phase=data[0] >> 7,
        point=data[0] >> 4 & 7,
        hook=data[0] & 15,
        clock=data[1] >> 5,
        bound=data[1] & 31,
        node=int.from_bytes(data[2:4], "big"),
        time=int.from_bytes(data[4:12], "big"),
    )


def bound_of(records: List[Record]) -> Optional[int]:
    if any(r.bound == BOUND_UNKNOWN for r in records):
        return None
    return sum(1 << r.bound for r in records)


def first(records: List[Record]) -> Record:
    return min(enumerate(records), key=lambda i: (i[1].time, i[0]))[1]


def last(records: List[Record]) -> Record:
    return max(enumerate(records), key=lambda i: (i[1].time, i[0]))[1]


def local_node(records: List[Record]) -> Optional[int]:
    of = [r for r in records if r.late()] or [r for r in records if r.phase == 0]
    return of[0].node if of else None


def in_order(records: List[Record], node: int) -> bool:
    """6: the local stamps of the request, the remote ones, the remote ones of the reply, the local ones."""
    places = [
        (3 if r.node == node else 2) if r.phase else (0 if r.node == node else 1) for r in records if not r.late()
    ]
    return places == sorted(places)


def difference(later: int, earlier: int) -> Optional[int]:
    """6: one that has no place in 64 bits with a sign is none."""
    result = later - earlier
    return result if -(1 << 63) <= result < 1 << 63 else None


def outside(r: Record, sent: int, received: int) -> bool:
    slack = 1 << r.bound if r.card() and r.bound != BOUND_UNKNOWN else 0
    return r.time < sent - slack or r.time > received + slack


def remote_of(records: List[Record], node: int) -> Tuple[Optional[int], List[Record]]:
    """The remote's residence, and the stamps that are subtracted for it."""
    others = [r for r in records if r.node != node]
    if not others:
        return 0, []
    of = [r for r in others if r.node == others[0].node and r.timed()]
    arrivals, departures = [r for r in of if r.phase == 0], [r for r in of if r.phase == 1]
    if not arrivals or not departures or len({r.clock for r in of}) > 1:
        return None, []
    stamps = [first(arrivals), last(departures)]
    residence = difference(stamps[1].time, stamps[0].time)
    return (None, []) if residence is None else (residence, stamps)


def chosen(local: List[Record], phase: int, card: int, pick: Callable[[List[Record]], Record]) -> Optional[Record]:
    """Software's stamp, or the card's in its place."""
    software = [r for r in local if r.phase == phase and not r.card()]
    cards = [r for r in local if r.phase == phase and r.hook == card]
    if not software:
        return pick(cards) if cards else None
    stamp = pick(software)
    at_point = [r for r in cards if r.point == stamp.point]
    return pick(at_point) if at_point else stamp


def nic_net(local: List[Record], rtt: int, remote: int, spanned: List[Record]) -> Tuple[Optional[int], Optional[int]]:
    """What the card alone tells, and its bound."""
    pairs = (
        (tx, rx)
        for tx in local
        for rx in local
        if (tx.hook, tx.phase, rx.hook, rx.phase) == (NIC_TX, 0, NIC_RX, 1)
        and (tx.point, tx.clock) == (rx.point, rx.clock)
        and tx.clock in (MONOTONIC, PHC)
    )
    for tx, rx in pairs:
        time = difference(rx.time, tx.time)
        slack = bound_of([tx, rx]) or 0
        if time is None or time < -slack or time > rtt + slack + rtt // 1024:
            break
        net = difference(time, remote)
        return net, None if net is None else bound_of([tx, rx] + spanned)
    return None, None


def correct(records: List[Record], sent: int, received: int) -> Union[str, Outcome]:
    """Section 6, with the reasons in the order of its table."""
    records = [r for r in records if r.known()]
    if not records:
        return "no-stamps"
    node = local_node(records)
    if node is None:
        return "no-request-stamp"
    local = [r for r in records if r.node == node]
    clocks = {r.clock for r in local if r.timed()}
    if not in_order(records, node) or any(r.late() and r.node != node for r in records) or len(clocks) > 1:
        return "node-conflict"
    own = [r for r in local if r.timed()]
    request, reply = chosen(own, 0, NIC_TX, last), chosen(own, 1, NIC_RX, first)
    if request is None:
        return "no-request-stamp"
    if reply is None:
        return "no-reply-stamp"
    if clocks != {MONOTONIC} or any(outside(r, sent, received) for r in own):
        return "clock-mismatch"
    rtt, between = difference(received, sent), difference(reply.time, request.time)
    tx_stack, rx_stack = difference(request.time, sent), difference(received, reply.time)
    if rtt is None or between is None or tx_stack is None or rx_stack is None:
        return "clock-mismatch"

    remote, spanned = remote_of(records, node)
    net = difference(between, remote or 0)
    if net is None:
        remote, spanned, net = None, [], between
    card, card_bound = nic_net(local, rtt, remote or 0, spanned)
    return Outcome(
        rtt=rtt,
        net=net,
        remote=remote,
        tx_stack=tx_stack,
        rx_stack=rx_stack,
        bound=bound_of([request, reply] + spanned),
        source_request=request.hook,
        source_request_point=request.point,
        source_reply=reply.hook,
        source_reply_point=reply.point,
        nic_net=card,
        nic_net_bound=card_bound,
        nic_left_out=any(r.card() and r.clock == PHC for r in local),
        negative=min(net, remote or 0, tx_stack, rx_stack, card or 0) < 0,
    )


def answer(line: str) -> str:
    nonce, sent, received, payload = line.rstrip("\n").split("\t")
    trailer = strip(bytes.fromhex(payload), int(nonce, 16))
    if isinstance(trailer, str):
        return trailer
    records = ",".join(
        f"{r.phase}:{r.point}:{r.hook}:{r.node}:{r.clock}:{r.bound}:{r.time}" for r in trailer.records
    )
    outcome = correct(trailer.records, int(sent), int(received))
    if not isinstance(outcome, str):
        outcome = " ".join("-" if field is None else str(int(field)) for field in outcome)
    return f"{trailer.start} {int(trailer.full)} {records or '-'} {outcome}"


if __name__ == "__main__":
    for reply in sys.stdin:
        print(answer(reply))
