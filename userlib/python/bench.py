#!/usr/bin/env python3
"""Measures what a reply costs: python3 bench.py REPLIES.tsv

Repeats the corpus to a million replies and more, and prints one line of JSON: nanoseconds per reply, everything included, the best of five
runs. `vectorized` is of payloads in one buffer, `of_sequence` of a list of bytes objects, `with_records` with the stamps told besides;
`scalar` is of the functions for one reply, on the corpus as it is.
"""

import json
import sys
import time
from pathlib import Path
from typing import Callable, List

import numpy as np

import instamp
from instamp.arrays import strip_correct

REPLIES = 1_000_000
RUNS = 5

sys.path.insert(0, str(Path(__file__).parent / "tests"))
from driver import read  # noqa: E402


def best_ns(task: Callable[[], object], replies: int) -> float:
    times: List[int] = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        task()
        times.append(time.perf_counter_ns() - start)
    return round(min(times) / replies, 1)


with open(sys.argv[1], encoding="ascii") as file:
    lines = list(read(file))
repeats = -(-REPLIES // len(lines))
payloads = [payload for _, _, _, payload in lines] * repeats
numbers = [np.tile(np.array(column, np.uint64), repeats) for column in list(zip(*lines))[:3]]
lengths = np.fromiter(map(len, payloads), np.uint64, len(payloads))
offsets = np.cumsum(lengths) - lengths
data = b"".join(payloads)


def one_by_one() -> int:
    corrected = 0
    for nonce, sent_ns, received_ns, payload in lines:
        try:
            instamp.correct(instamp.strip(payload, nonce).records, sent_ns, received_ns)
            corrected += 1
        except (instamp.StripError, instamp.Uncorrected):
            pass
    return corrected


results = strip_correct(data, *numbers, offsets=offsets, lengths=lengths)
assert results.corrected.sum() == one_by_one() * repeats
many = len(payloads)
print(
    json.dumps(
        {
            "bench": "python",
            "replies": many,
            "corrected": int(results.corrected.sum()),
            "vectorized_ns": best_ns(lambda: strip_correct(data, *numbers, offsets=offsets, lengths=lengths), many),
            "of_sequence_ns": best_ns(lambda: strip_correct(payloads, *numbers), many),
            "with_records_ns": best_ns(
                lambda: strip_correct(data, *numbers, offsets=offsets, lengths=lengths, records=True), many
            ),
            "scalar_ns": best_ns(one_by_one, len(lines)),
        }
    )
)
