"""Many replies at once."""

import itertools
import sys
import threading
import time
import tracemalloc
from typing import Any, Iterator, List

import driver
import numpy as np
import pandas  # type: ignore[import-untyped]
import polars
import probes
import pytest

import instamp
from instamp import Reason
from instamp.arrays import strip_correct


def one(**options: Any) -> bytes:
    return probes.payload(**options)


def test_rows_ranges_and_sequences_tell_the_same() -> None:
    payloads = [one(), one(nonce=1), one(records=probes.RECORDS[:1])]
    numbers = (np.full(3, probes.NONCE, np.uint64), [1000] * 3, (1100,) * 3)
    joined = bytearray(b"".join(payloads))
    rows = np.frombuffer(joined, np.uint8).reshape(3, 64)
    offsets, lengths = np.arange(3) * 64, np.full(3, 64)
    forms = [
        strip_correct(rows, *numbers),
        strip_correct(np.asfortranarray(rows), *numbers),
        strip_correct(memoryview(rows.data), *numbers),
        strip_correct(payloads, *numbers),
        strip_correct([memoryview(payload).cast("I") for payload in payloads], *numbers),
        strip_correct(joined, *numbers, offsets=offsets, lengths=lengths),
        strip_correct(memoryview(joined), *numbers, offsets=list(offsets), lengths=[64, 64, 64]),
    ]
    for results in forms:
        assert results.reason.tolist() == [Reason.NONE, Reason.FOREIGN_NONCE, Reason.NO_REPLY_STAMP]
        assert results.corrected.tolist() == [True, False, False]
        assert results.net_ns[results.corrected].tolist() == [70]
        assert results.used.tolist() == [2, 0, 1]
        assert results.records is None
        for name, column in results.columns().items():
            assert np.array_equal(column, forms[0].columns()[name]), name


@pytest.mark.parametrize("seed", range(4))
def test_hostile_replies_are_judged_as_one_by_one(seed: int) -> None:
    rows = probes.hostile(seed, 5000)
    expected = list(driver.one_by_one(rows))
    assert list(driver.all_at_once(rows)) == expected
    answers = {line.split()[-1] for line in expected}
    never = {str(Reason.NONE), str(Reason.TRUNCATED)}
    assert {str(reason) for reason in Reason} - never <= answers, "they reach every reason"
    assert {"0", "1"} <= answers, "and some are corrected, with negative times and without"


def test_the_stamps_are_told_where_asked_for() -> None:
    results = strip_correct([one(), one(nonce=1), one()], [probes.NONCE] * 3, [1000] * 3, [1100] * 3, records=True)
    records = results.records
    assert records is not None and len(records) == 4
    assert records.probe.tolist() == [0, 0, 2, 2]
    assert records.time_ns.tolist() == [1020, 1090] * 2
    assert records.hook.tolist() == [instamp.Hook.TC_EGRESS, instamp.Hook.XDP_INGRESS] * 2


def test_a_frame_is_one_line() -> None:
    results = strip_correct([one(), b""], [probes.NONCE] * 2, [1000] * 2, [1100] * 2)
    by_pandas = pandas.DataFrame(results.columns())
    assert by_pandas[by_pandas.reason == 0].net_ns.tolist() == [70]
    by_polars = polars.DataFrame(results.columns())
    assert by_polars.filter(polars.col("reason") == 0)["net_ns"].to_list() == [70]
    assert by_pandas.dtypes["net_ns"] == np.int64 and by_polars.schema["net_ns"] == polars.Int64


def test_none_at_all() -> None:
    for results in (strip_correct([], [], [], []), strip_correct(np.zeros((0, 64), np.uint8), [], [], [])):
        assert len(results) == 0 and all(len(column) == 0 for column in results.columns().values())
    assert strip_correct(np.zeros((3, 0), np.uint8), [1] * 3, [0] * 3, [0] * 3).reason.tolist() == [1, 1, 1]


def test_numbers_keep_all_of_their_bits() -> None:
    nonces = [1, (1 << 64) - 1, 1 << 63]
    payloads = [one(nonce=nonce) for nonce in nonces]
    by_pandas, by_polars = pandas.Series(nonces, dtype="uint64"), polars.Series(nonces, dtype=polars.UInt64)
    for given in (nonces, np.array(nonces, np.uint64), by_pandas, by_polars):
        assert strip_correct(payloads, given, [1000] * 3, np.full(3, 1100, np.int64)).corrected.all()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"nonces": [1]}, ValueError),
        ({"nonces": [1, -1]}, ValueError),
        ({"nonces": np.array([1, -1])}, ValueError),
        ({"nonces": [1, 1 << 64]}, ValueError),
        ({"nonces": [1.0, 2.0]}, TypeError),
        ({"nonces": np.array([1.0, 2.0])}, TypeError),
        ({"sent_ns": [[1, 2]]}, ValueError),
        ({"received_ns": "ab"}, TypeError),
        ({"payloads": bytes(64)}, TypeError),
        ({"payloads": np.zeros((2, 64))}, TypeError),
        ({"payloads": ["a", "b"]}, TypeError),
        ({"payloads": bytes(64), "offsets": [0, 1]}, ValueError),
        ({"payloads": bytes(64), "offsets": [0, 1], "lengths": [64, 64]}, ValueError),
        ({"payloads": bytes(64), "offsets": [0, (1 << 64) - 1], "lengths": [64, 64]}, ValueError),
        ({"payloads": bytes(64), "offsets": [0, 0], "lengths": [64, (1 << 64) - 1]}, ValueError),
        ({"payloads": bytes(64), "offsets": [0, -1], "lengths": [64, 64]}, ValueError),
        ({"payloads": bytes(64), "offsets": [0], "lengths": [64]}, ValueError),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, error: "type[Exception]") -> None:
    arguments = {"payloads": [one(), one()], "nonces": [1, 2], "sent_ns": [1, 2], "received_ns": [3, 4], **change}
    with pytest.raises(error):
        strip_correct(**arguments)


def test_no_more_than_the_end_of_a_payload_is_copied() -> None:
    rows = np.zeros((1000, 60_000), np.uint8)
    numbers = [np.zeros(1000, np.uint64)] * 3
    data = bytearray(60_000_000)
    tracemalloc.start()
    try:
        strip_correct(rows, *numbers)
        strip_correct(data, *numbers, offsets=np.arange(1000) * 60_000, lengths=np.full(1000, 60_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    data.append(0)  # which a buffer that is in use refuses


@pytest.fixture
def no_forced_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("no_forced_switches")
def test_other_threads_run_meanwhile() -> None:
    """Threads hand on the interpreter only where they let go of it: here while the work is done, and while `sleep` does nothing."""
    count = 300_000
    rows = np.tile(np.frombuffer(one(), np.uint8), (count, 1))
    nonces, sent_ns, received_ns = (np.full(count, number, np.uint64) for number in (probes.NONCE, 1000, 1100))
    turns = itertools.count()
    meanwhile: List[int] = []

    def work() -> None:
        for _ in range(100):
            before = next(turns)
            instamp._instamp.strip_correct(rows, nonces, sent_ns, received_ns, 64, False)
            meanwhile.append(next(turns) - before - 1)
            if meanwhile[-1]:
                return

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        next(turns)
        time.sleep(0)
    assert meanwhile[-1] > 0


def test_threads_at_once_tell_the_same() -> None:
    rows = probes.hostile(7, 2000)
    expected = list(driver.one_by_one(rows))
    answers: List[List[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(list(driver.all_at_once(rows)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


def test_payloads_may_change_meanwhile() -> None:
    """Whatever another thread writes: each reply is judged by some bytes, and nothing else happens."""
    rows = np.tile(np.frombuffer(one(), np.uint8), (100_000, 1))
    numbers = [np.full(len(rows), number, np.uint64) for number in (probes.NONCE, 1000, 1100)]
    done = threading.Event()

    def scribble() -> None:
        noise = np.random.default_rng(1)
        while not done.is_set():
            rows[:, -6:] = noise.integers(0, 256, 6, np.uint8)

    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    try:
        for _ in range(20):
            results = strip_correct(rows, *numbers, records=True)
            assert len(results) == len(rows) and results.used.max() <= 15
    finally:
        done.set()
        scribbler.join()
