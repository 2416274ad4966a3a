"""Whole captures. That each form of them is read is the business of the tests of `instamp decode`, which reads by the same code."""

import errno
import faulthandler
import os
import struct
import threading
from pathlib import Path
from typing import List

import numpy as np
import pandas  # type: ignore[import-untyped]
import polars
import probes
import pytest

from instamp import Phase, Reason
from instamp.arrays import Capture, CaptureError, read_capture

NEAR, FAR = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SECOND = 1_700_000_000
#: How long a reader that must not hold the interpreter may take before the tests end with what each thread does.
PATIENCE_SECONDS = 60


def ipv4(kind: int, sequence: int, payload: bytes, source: bytes, destination: bytes) -> bytes:
    message = struct.pack("!BBHHH", kind, 0, 0, 0x1234, sequence) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 1, 0, 64, 1, 0, source, destination) + message


def pcap(packets: List[bytes]) -> bytes:
    file = struct.pack("<IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, 65535, 101)
    for index, packet in enumerate(packets):
        file += struct.pack("<IIII", SECOND + index, 5, len(packet), len(packet)) + packet
    return file


def request(sequence: int, nonce: int = probes.NONCE) -> bytes:
    return ipv4(8, sequence, probes.payload(probes.RECORDS[:1], nonce), NEAR, FAR)


def reply(sequence: int, nonce: int = probes.NONCE) -> bytes:
    return ipv4(0, sequence, probes.payload(nonce=nonce), FAR, NEAR)


FILE = pcap([request(1), b"\x45noise", request(2), reply(2), reply(1), reply(1), reply(3), request(3)])


def check(capture: Capture) -> None:
    assert capture.packet.tolist() == [1, 3, 4, 5, 6, 7, 8]
    assert capture.time_ns.tolist() == [(SECOND + number - 1) * 10**9 + 5 for number in (1, 3, 4, 5, 6, 7, 8)]
    assert capture.time_known.all()
    assert capture.phase.tolist() == [0, 0, 1, 1, 1, 1, 0]
    assert capture.sequence.tolist() == [1, 2, 2, 1, 1, 3, 3]
    assert capture.request.tolist() == [-1, -1, 1, 0, 0, -1, -1]
    assert capture.source.tolist()[:3] == ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
    assert capture.destination.tolist()[:3] == ["10.0.0.2", "10.0.0.2", "10.0.0.1"]
    assert (capture.nonce == probes.NONCE).all() and (capture.identifier == 0x1234).all()
    assert capture.used.tolist() == [1, 1, 2, 2, 2, 2, 1] and (capture.cap == 4).all()
    assert not capture.checksum_valid.any() and (capture.complement == 0xBEEF).all()
    assert (capture.reason == np.where(capture.phase == Phase.REPLY, Reason.NONE, Reason.NO_REPLY_STAMP)).all()
    assert capture.net_ns[capture.corrected].tolist() == [70] * 4
    assert len(capture.records) == capture.used.sum()
    assert not hasattr(capture, "rtt_ns")


def test_the_probes_of_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "probes.pcap"
    path.write_bytes(FILE)
    for source in (path, str(path), FILE, bytearray(FILE), memoryview(FILE)):
        check(read_capture(source))


def test_stamps_join_their_probes() -> None:
    capture = read_capture(FILE)
    probe_frame, record_frame = pandas.DataFrame(capture.columns()), pandas.DataFrame(capture.records.columns())
    joined = record_frame.merge(probe_frame, left_on="probe", right_index=True, suffixes=("", "_of_probe"))
    assert joined.groupby("probe").size().tolist() == capture.used.tolist()
    assert (joined[joined.sequence == 2].time_ns == [1020, 1020, 1090]).all()
    assert list(probe_frame)[:4] == ["packet", "time_ns", "time_known", "source"]
    assert polars.DataFrame(capture.columns())["source"].to_list() == capture.source.tolist()


def test_what_precedes_an_error_is_there() -> None:
    with pytest.raises(CaptureError, match="ends within the packet") as caught:
        read_capture(FILE[:-1])
    assert caught.value.capture.packet.tolist() == [1, 3, 4, 5, 6, 7]
    for file, message in ((b"", "empty"), (b"hello", "neither pcap nor pcapng")):
        with pytest.raises(CaptureError, match=message) as caught:
            read_capture(file)
        assert len(caught.value.capture) == 0


def test_a_file_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        read_capture("/no/such/file")


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:  # it can be opened
        read_capture(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, str(tmp_path))


def test_damage_anywhere_is_survived() -> None:
    noise = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        damaged = bytearray(FILE)
        for index in noise.integers(0, len(damaged), 3):
            damaged[index] = noise.integers(0, 256)
        try:
            seen.add(len(read_capture(damaged)))
        except CaptureError as error:
            seen.add(len(error.capture))
    assert len(seen) > 3


def test_other_threads_run_while_a_capture_comes(tmp_path: Path) -> None:
    """Through a pipe that this thread fills: it could not, if the reader held the interpreter."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    captures: List[Capture] = []
    # A daemon, which the process does not wait for at its end: a reader that holds the interpreter is one that never ends.
    reader = threading.Thread(target=lambda: captures.append(read_capture(pipe)), daemon=True)
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
    try:
        reader.start()
        with pipe.open("wb", buffering=0) as writer:
            for start in range(0, len(FILE), 7):
                writer.write(FILE[start : start + 7])
        reader.join()
    finally:
        faulthandler.cancel_dump_traceback_later()
    check(captures[0])
