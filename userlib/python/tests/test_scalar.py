"""One probe, one reply."""

import array
import mmap
import struct
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from pickle import dumps, loads
from typing import List

import probes
import pytest

import instamp
from instamp import Clock, Correction, Hook, NetSource, Phase, Reason, Record


def checksum(message: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_a_reply_is_taken_apart_and_split() -> None:
    stripped = instamp.strip(probes.payload(application=b"mine"), probes.NONCE)
    assert (bytes(stripped.application), stripped.records, stripped.full) == (b"mine", probes.RECORDS, False)
    assert instamp.correct(stripped.records, 1000, 1100) == Correction(
        rtt_ns=100,
        net_ns=70,
        remote_ns=0,
        tx_stack_ns=20,
        rx_stack_ns=10,
        bound_ns=128,
        net_source=NetSource(Hook.TC_EGRESS, 0, Hook.XDP_INGRESS, 0),
        nic_net_ns=None,
        nic_net_bound_ns=None,
        nic_left_out=False,
        negative=False,
    )


def test_the_sum_is_exact_and_what_is_unknown_is_none() -> None:
    request, reply = probes.RECORDS
    remote = [replace(request, node=9, clock=Clock.TAI, time_ns=5), replace(reply, node=9, clock=Clock.TAI, time_ns=12)]
    c = instamp.correct([request, *remote, reply], 1000, 1100)
    assert (c.remote_ns, c.net_ns) == (7, 63)
    assert c.rtt_ns == c.tx_stack_ns + c.net_ns + 7 + c.rx_stack_ns
    c = instamp.correct([replace(request, bound_ns=None), remote[0], reply], 1000, 1100)
    assert (c.remote_ns, c.bound_ns, c.net_ns) == (None, None, 70)


def test_a_full_trailer_is_told() -> None:
    assert instamp.strip(probes.payload(flags=1), probes.NONCE).full


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no-trailer"),
        (b"x" * 64, "no-trailer"),
        (probes.payload(magic=b"IST\x02"), "version"),
        (b"x" + probes.payload(), "odd-length"),
        (probes.payload(used=5), "counts"),
        (probes.payload()[-30:], "counts"),
        (probes.payload(nonce=1), "foreign-nonce"),
    ],
)
def test_why_a_payload_has_no_stamps(payload: bytes, reason: str) -> None:
    with pytest.raises(instamp.StripError) as caught:
        instamp.strip(payload, probes.NONCE)
    assert str(caught.value.reason) == reason
    assert str(caught.value) == caught.value.reason.text


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], Reason.NO_STAMPS),
        (probes.RECORDS[1:], Reason.NO_REQUEST_STAMP),
        (probes.RECORDS[:1], Reason.NO_REPLY_STAMP),
        ([replace(record, time_ns=record.time_ns + 500) for record in probes.RECORDS], Reason.CLOCK_MISMATCH),
        (probes.RECORDS[::-1], Reason.NODE_CONFLICT),
    ],
)
def test_why_an_rtt_is_not_split(records: List[Record], reason: Reason) -> None:
    with pytest.raises(instamp.Uncorrected) as caught:
        instamp.correct(records, 1000, 1100)
    assert caught.value.reason is reason
    # Exceptions cross processes.
    assert loads(dumps(caught.value)).reason is reason


def test_the_reasons_are_those_of_the_library() -> None:
    assert [str(reason) for reason in Reason] == [name for name, _ in instamp._instamp.REASONS]
    assert [int(reason) for reason in Reason] == list(range(len(Reason)))
    assert all(reason.text for reason in Reason)


def test_all_payloads_of_a_run_have_one_checksum() -> None:
    run = instamp.Run(128, cap=8)
    assert (run.length, run.cap, repr(run)) == (128, 8, "Run(128, cap=8)")
    assert run == instamp.Run(128, cap=8) != instamp.Run(128)
    for sequence in range(100):
        payload = run.payload(sequence, sequence << 55, b"application")
        assert checksum(struct.pack("!BBHHH", 8, 0, 0, 99, sequence) + payload) == run.checksum(identifier=99)
        stripped = instamp.strip(payload, sequence << 55)
        assert (bytes(stripped.application[:12]), stripped.records) == (b"application\0", ())
    assert run.with_checksum(0xBEEF, identifier=99).checksum(identifier=99) == 0xBEEF
    assert (instamp.Run(20).cap, instamp.Run(20).checksum(identifier=99)) == (None, None)


def test_what_cannot_be_reserved_is_refused() -> None:
    for refused in (
        lambda: instamp.Run(63),
        lambda: instamp.Run(64, cap=5),
        lambda: instamp.Run(64, cap=1),
        lambda: instamp.Run().with_checksum(0xFFFF, identifier=1),
        lambda: instamp.Run().reserve(bytearray(62), 1, 2),
        lambda: instamp.Run().payload(1, 2, b"x"),
        lambda: instamp.Run(66).payload(1, 2, b"xxx"),
    ):
        with pytest.raises(ValueError):
            refused()
    for sequence, nonce in ((-1, 0), (65536, 0), (0, -1), (0, 1 << 64)):
        with pytest.raises(OverflowError):
            instamp.Run().payload(sequence, nonce)
    with pytest.raises(BufferError):
        instamp.Run().reserve(bytes(64), 1, 2)


def test_buffers_of_any_kind_are_written_in_place() -> None:
    run = instamp.Run()
    expected = run.payload(1, probes.NONCE, b"")
    whole = bytearray(96)
    run.reserve(memoryview(whole)[16:80], 1, probes.NONCE)
    assert bytes(whole) == bytes(16) + expected + bytes(16)
    longer = bytearray(b"kept" + bytes(64))
    instamp.Run(68).reserve(longer, 1, probes.NONCE)
    assert bytes(instamp.strip(longer, probes.NONCE).application) == b"kept"
    empty = bytearray(20)  # too short for a trailer
    instamp.Run(20).reserve(empty, 1, probes.NONCE)
    assert empty == bytes(20)
    for buffer in (bytearray(64), array.array("B", bytes(64)), array.array("Q", bytes(64)), mmap.mmap(-1, 64)):
        run.reserve(buffer, 1, probes.NONCE)
        assert bytes(buffer) == expected


def test_payloads_of_any_kind_are_read_where_they_are() -> None:
    data = probes.payload(application=b"application.")
    for payload in (data, bytearray(data), memoryview(data), array.array("I", data)):
        stripped = instamp.strip(payload, probes.NONCE)
        assert stripped.records == probes.RECORDS
        assert stripped.application.obj is (data if isinstance(payload, memoryview) else payload)
        assert bytes(stripped.application) == b"application."
    with pytest.raises(BufferError):
        instamp.strip(memoryview(data)[::2], probes.NONCE)
    with pytest.raises(TypeError):
        instamp.strip("text", probes.NONCE)  # type: ignore[arg-type]


def test_buffers_are_given_back() -> None:
    payload = bytearray(probes.payload())
    count = sys.getrefcount(payload)
    for _ in range(100):
        instamp.strip(payload, probes.NONCE)
        instamp.Run().reserve(payload, 1, 2)
        with pytest.raises(ValueError):
            instamp.Run(62).reserve(payload, 1, 2)
        payload[:] = probes.payload()
    assert sys.getrefcount(payload) == count
    payload.append(0)  # which a buffer that is in use refuses


def test_numbers_without_a_name_are_members() -> None:
    assert (str(Hook.TC_EGRESS), f"{Clock.PHC:>5}", str(Phase.REPLY)) == ("tc-egress", "  phc", "reply")
    hook = Hook(12)
    assert (hook, str(hook), hook.name) == (12, "hook-12", "HOOK_12")
    assert hook is Hook(12) and loads(dumps(hook)) is hook
    assert str(Clock(6)) == "clock-6"
    for number in (16, -1):
        with pytest.raises(ValueError):
            Hook(number)
    with pytest.raises(ValueError):
        Phase(2)
    assert len(Hook) == 9
    unknown = replace(probes.RECORDS[0], hook=hook)
    assert instamp.strip(probes.payload([unknown]), probes.NONCE).records == (unknown,)
    with pytest.raises(instamp.Uncorrected) as caught:
        instamp.correct([unknown], 1000, 1100)
    assert caught.value.reason is Reason.NO_STAMPS


def test_values_are_values() -> None:
    record = probes.RECORDS[0]
    with pytest.raises(FrozenInstanceError):
        record.time_ns = 0  # type: ignore[misc]
    assert hash(record) == hash(replace(record)) and loads(dumps(record)) == record
    assert str(NetSource(Hook.TC_EGRESS, 0, Hook.XDP_INGRESS, 0)) == "tc-egress/xdp-ingress"
    if sys.version_info >= (3, 10):
        assert not hasattr(record, "__dict__")


@pytest.mark.parametrize(
    "record",
    [
        replace(probes.RECORDS[0], point=8),
        replace(probes.RECORDS[0], node=1 << 16),
        replace(probes.RECORDS[0], time_ns=-1),
        replace(probes.RECORDS[0], time_ns=1 << 64),
        replace(probes.RECORDS[0], hook=16),  # type: ignore[arg-type]
        replace(probes.RECORDS[0], clock=8),  # type: ignore[arg-type]
        replace(probes.RECORDS[0], phase=2),  # type: ignore[arg-type]
    ],
)
def test_records_that_no_trailer_can_hold_are_refused(record: Record) -> None:
    with pytest.raises(OverflowError):
        instamp.correct([record], 1000, 1100)


def test_more_records_than_a_trailer_holds_are_refused() -> None:
    request, reply = probes.RECORDS
    assert instamp.correct([request] * 14 + [reply], 1000, 1100).net_ns == 70
    with pytest.raises(ValueError, match="16 records, and a trailer holds 15") as caught:
        instamp.correct([request] * 15 + [reply], 1000, 1100)
    assert not isinstance(caught.value, instamp.Uncorrected)


def test_a_bound_is_taken_for_the_power_of_two_that_holds_it() -> None:
    request, reply = probes.RECORDS
    assert instamp.correct([replace(request, bound_ns=33), reply], 1000, 1100).bound_ns == 128
    assert instamp.correct([replace(request, bound_ns=1 << 31), reply], 1000, 1100).bound_ns is None


def test_the_clock_s_offset_is_that_of_the_time_namespace() -> None:
    offsets, path = {"monotonic": 0}, Path("/proc/self/timens_offsets")
    if path.exists():  # a kernel without time namespaces has none
        for line in path.read_text(encoding="ascii").splitlines():
            clock, seconds, nanoseconds = line.split()
            offsets[clock] = int(seconds) * 10**9 + int(nanoseconds)
    assert instamp.monotonic_offset_ns() == offsets["monotonic"]
