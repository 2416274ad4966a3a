"""Prints what strip and correct say of each line of a corpus: nonce, sent_ns, received_ns and payload, separated by tabs."""

import sys
from typing import Iterable, Iterator, List, Optional, Tuple

import instamp

Line = Tuple[int, int, int, bytes]
Reason = instamp.Reason
NOT_STRIPPED = {Reason.NO_TRAILER, Reason.VERSION, Reason.ODD_LENGTH, Reason.COUNTS, Reason.FOREIGN_NONCE}


def read(lines: Iterable[str]) -> Iterator[Line]:
    for line in lines:
        nonce, sent_ns, received_ns, payload = line.rstrip("\n").split("\t")
        yield int(nonce, 16), int(sent_ns), int(received_ns), bytes.fromhex(payload)


def text(*fields: Optional[int]) -> str:
    return " ".join("-" if field is None else str(int(field)) for field in fields)


def record(phase: int, point: int, hook: int, node: int, clock: int, bound_ns: Optional[int], time_ns: int) -> str:
    exponent = 31 if bound_ns is None else bound_ns.bit_length() - 1
    return ":".join(str(int(number)) for number in (phase, point, hook, node, clock, exponent, time_ns))


def one_by_one(lines: Iterable[Line]) -> Iterator[str]:
    for nonce, sent_ns, received_ns, payload in lines:
        try:
            stripped = instamp.strip(payload, nonce)
        except instamp.StripError as error:
            yield str(error.reason)
            continue
        try:
            c = instamp.correct(stripped.records, sent_ns, received_ns)
            split = text(c.rtt_ns, c.net_ns, c.remote_ns, c.tx_stack_ns, c.rx_stack_ns, c.bound_ns)
            source = c.net_source
            places = text(source.request, source.request_point, source.reply, source.reply_point)
            outcome = f"{split} {places} {text(c.nic_net_ns, c.nic_net_bound_ns, c.nic_left_out, c.negative)}"
        except instamp.Uncorrected as error:
            outcome = str(error.reason)
        records = ",".join(
            record(r.phase, r.point, r.hook, r.node, r.clock, r.bound_ns, r.time_ns) for r in stripped.records
        )
        yield f"{text(len(stripped.application), stripped.full)} {records or '-'} {outcome}"


def all_at_once(lines: Iterable[Line]) -> Iterator[str]:
    from instamp.arrays import strip_correct

    nonces, sent_ns, received_ns, payloads = zip(*lines)
    results = strip_correct(payloads, nonces, sent_ns, received_ns, records=True)
    assert results.records is not None
    records: List[List[str]] = [[] for _ in payloads]
    # From numbers of NumPy to those of Python.
    columns = {name: column.tolist() for name, column in results.records.columns().items()}
    for probe, phase, point, hook, node, clock, bound_ns, bound_known, time_ns in zip(*columns.values()):
        records[probe].append(record(phase, point, hook, node, clock, bound_ns if bound_known else None, time_ns))
    rows = {name: column.tolist() for name, column in results.columns().items()}
    for index, stamps in enumerate(records):
        row = {name: column[index] for name, column in rows.items()}
        reason = Reason(row["reason"])
        if reason in NOT_STRIPPED:
            yield str(reason)
            continue

        def known(name: str) -> Optional[int]:
            return row[f"{name}_ns"] if row[f"{name}_known"] else None

        if reason == Reason.NONE:
            stack = row["tx_stack_ns"], row["rx_stack_ns"]
            split = text(row["rtt_ns"], row["net_ns"], known("remote"), *stack, known("bound"))
            places = text(row["request_hook"], row["request_point"], row["reply_hook"], row["reply_point"])
            nic = text(known("nic_net"), known("nic_net_bound"), row["nic_left_out"], row["negative"])
            outcome = f"{split} {places} {nic}"
        else:
            outcome = str(reason)
        yield f"{text(row['application_bytes'], row['full'])} {','.join(stamps) or '-'} {outcome}"


if __name__ == "__main__":
    form = {"--scalar": one_by_one, "--vectorized": all_at_once}.get(" ".join(sys.argv[1:]))
    if form is None:
        sys.exit("usage: driver.py --scalar|--vectorized < replies.tsv")
    for line in form(read(sys.stdin)):
        print(line)
