"""Many replies at once, and whole captures, as arrays of NumPy, with which ``pip install './userlib/python[numpy]'`` installs the package.

>>> import numpy, instamp.arrays
>>> results = instamp.arrays.strip_correct(payloads, nonces, sent_ns, received_ns)      # doctest: +SKIP
>>> numpy.percentile(results.net_ns[results.corrected], [50, 90, 99])                   # doctest: +SKIP
>>> pandas.DataFrame(results.columns())                                                 # doctest: +SKIP

Times are ``int64`` in nanoseconds. What is not known has no number: the arrays whose names end in ``_known`` say where there is one, and
for the times of a reply that is not corrected, :attr:`~Split.corrected` does. Elsewhere they hold the smallest ``int64``, which nobody
takes for a time; do not compare with it, for a far end that lies can make it a genuine difference.
"""

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _instamp

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._types import BytesLike

    Bools = NDArray[np.bool_]
    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint16]
    Times = NDArray[np.int64]
    Numbers = NDArray[np.uint64]
    Texts = NDArray[np.object_]

__all__ = ["Capture", "CaptureError", "Probes", "Records", "Results", "Split", "read_capture", "strip_correct"]


class _Columns:
    def columns(self) -> "Dict[str, NDArray[Any]]":
        """The columns by name, in order, for ``pandas.DataFrame(...)`` or ``polars.DataFrame(...)``. They are not copied."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in values if isinstance(value, np.ndarray)}

    def __len__(self) -> int:
        return len(next(iter(self.columns().values())))


@dataclass(frozen=True, eq=False)
class Records(_Columns):
    """The stamps of many probes: a row for each, in the order in which they were written."""

    #: The row of the probe that carries it.
    probe: "Times"
    #: :class:`instamp.Phase`.
    phase: "Bytes"
    #: Which attachment on the stamping host: 0 is the uplink.
    point: "Bytes"
    #: :class:`instamp.Hook`.
    hook: "Bytes"
    #: The number of the stamping host.
    node: "Words"
    #: :class:`instamp.Clock`.
    clock: "Bytes"
    #: The largest error of the time.
    bound_ns: "Times"
    bound_known: "Bools"
    #: When.
    time_ns: "Numbers"


@dataclass(frozen=True, eq=False)
class Split(_Columns):
    """What the stamps tell. The columns are those of :class:`instamp.Correction`."""

    #: :class:`instamp.Reason`: 0 where the reply is corrected.
    reason: "Bytes"
    net_ns: "Times"
    remote_ns: "Times"
    remote_known: "Bools"
    bound_ns: "Times"
    bound_known: "Bools"
    #: :class:`instamp.Hook`.
    request_hook: "Bytes"
    request_point: "Bytes"
    #: :class:`instamp.Hook`.
    reply_hook: "Bytes"
    reply_point: "Bytes"
    nic_net_ns: "Times"
    nic_net_known: "Bools"
    nic_net_bound_ns: "Times"
    nic_net_bound_known: "Bools"
    nic_left_out: "Bools"
    negative: "Bools"

    @property
    def corrected(self) -> "Bools":
        """Where there is an answer."""
        return np.equal(self.reason, 0)


@dataclass(frozen=True, eq=False)
class Results(Split):
    """A row for each reply, in the order of the payloads."""

    rtt_ns: "Times"
    tx_stack_ns: "Times"
    rx_stack_ns: "Times"
    #: The length of what the application sent before the trailer, in bytes.
    application_bytes: "Times"
    #: How many stamps there are.
    used: "Bytes"
    #: A hook found no free record.
    full: "Bools"
    #: The stamps, where they were asked for.
    records: Optional[Records]


@dataclass(frozen=True, eq=False)
class Probes(_Columns):
    """What was captured. Requests and replies are rows alike, in the order of the capture."""

    #: The number of the packet in the capture, counted from 1.
    packet: "Numbers"
    #: The time of the capture since 1970-01-01 UTC.
    time_ns: "Times"
    time_known: "Bools"
    #: The address of the sender, as text.
    source: "Texts"
    #: The address of the receiver, as text.
    destination: "Texts"
    #: :class:`instamp.Phase`.
    phase: "Bytes"
    identifier: "Words"
    sequence: "Words"
    checksum: "Words"
    checksum_valid: "Bools"
    nonce: "Numbers"
    complement: "Words"
    #: How many stamps there are.
    used: "Bytes"
    #: How many there is room for.
    cap: "Bytes"
    #: A hook found no free record.
    full: "Bools"
    #: The length of what the application sent before the trailer, in bytes.
    application_bytes: "Times"
    #: Of a reply, the row of the latest request before it with its nonce and sequence number between its addresses; else -1.
    request: "Times"


@dataclass(frozen=True, eq=False)
class Capture(Split, Probes):
    """A row for each probe of a capture.

    A capture does not tell when the application sent and received. :attr:`net_ns` needs neither: it is told of replies that were captured
    behind the ingress hook of the probing host, as they are on a device with XDP, and behind any device that has TC: captures precede TC.
    Other rows have a reason, ``NO_REPLY_STAMP`` or ``NO_STAMPS`` mostly.
    """

    #: The stamps.
    records: Records


class CaptureError(ValueError):
    """A capture cannot be read, or not to its end."""

    def __init__(self, message: str, capture: Capture) -> None:
        super().__init__(message)
        #: What precedes the error.
        self.capture = capture


def strip_correct(
    payloads: "Union[BytesLike, Sequence[BytesLike]]",
    nonces: "ArrayLike",
    sent_ns: "ArrayLike",
    received_ns: "ArrayLike",
    *,
    offsets: "Optional[ArrayLike]" = None,
    lengths: "Optional[ArrayLike]" = None,
    records: bool = False,
) -> Results:
    """Does for many replies what :func:`instamp.strip` and :func:`instamp.correct` do for one, without holding the interpreter.

    ``payloads`` is a two-dimensional array of bytes with a payload in each row; or one bytes-like object, with the ``offsets`` and
    ``lengths`` of the payloads in it, in bytes; or a sequence of bytes-like objects, which is joined first. Of the first two, where they
    are contiguous, no more is copied than the end of one payload at a time, 197 bytes at most; ``nonces``, ``sent_ns`` and
    ``received_ns`` are read where they are if they are contiguous arrays of ``uint64``. With ``records`` the stamps are told, too.

    Raises ValueError where the numbers of payloads, nonces and times differ, a payload lies outside of its buffer, or a number is negative
    or too large; TypeError where one is no integer.
    """
    places: "Union[int, Tuple[Numbers, Numbers]]"
    if offsets is not None or lengths is not None:
        if offsets is None or lengths is None:
            raise ValueError("offsets and lengths belong together")
        data: Any = payloads
        places = _unsigned("offsets", offsets), _unsigned("lengths", lengths)
        count = len(places[0])
        _same_length("lengths", places[1], count)
    elif isinstance(payloads, Sequence) and not isinstance(payloads, (bytes, bytearray, memoryview)):
        data = b"".join(payloads)  # type: ignore[arg-type]
        count = len(payloads)
        sizes = np.fromiter((memoryview(one).nbytes for one in payloads), np.uint64, count)  # type: ignore[arg-type]
        places = np.cumsum(sizes) - sizes, sizes
    else:
        rows = np.asarray(payloads)
        if rows.ndim != 2 or rows.dtype.itemsize != 1:
            raise TypeError("payloads are rows of bytes, a sequence of bytes-like objects, or one with offsets and lengths")
        data = np.ascontiguousarray(rows)
        count, places = rows.shape
    numbers = _unsigned("nonces", nonces), _unsigned("sent_ns", sent_ns), _unsigned("received_ns", received_ns)
    for name, values in zip(("nonces", "sent_ns", "received_ns"), numbers):
        _same_length(name, values, count)
    stripped, split, stamps = _instamp.strip_correct(data, *numbers, places, records)
    table = None if stamps is None else Records(**_arrays(stamps))
    return Results(**_arrays(stripped), **_arrays(split), records=table)


def read_capture(source: "Union[str, os.PathLike[str], BytesLike]") -> Capture:
    """Reads the probes of a capture, pcap or pcapng: a path, or the bytes of the file.

    It may be of Ethernet devices, of Linux' "cooked" captures or of devices without link-layer header, and is read in bounded memory, but
    for the rows.

    Raises OSError where the file cannot be read, and :class:`CaptureError`, with what precedes the error, where it is no capture, is
    damaged or was cut off.
    """
    tables = _instamp.read_file(source) if isinstance(source, (str, os.PathLike)) else _instamp.read_bytes(source)
    probes, split, stamps, addresses, error = tables
    columns = {**_arrays(probes), **_arrays(split)}
    # What stands there for the application's times is none of them.
    for name in ("rtt_ns", "tx_stack_ns", "rx_stack_ns"):
        del columns[name]
    texts = np.array(addresses, dtype=object)
    for name in ("source", "destination"):
        columns[name] = texts[columns[name]]
    capture = Capture(**columns, records=Records(**_arrays(stamps)))
    if error is not None:
        raise CaptureError(error, capture)
    return capture


def _arrays(table: "Mapping[str, Tuple[str, bytearray]]") -> "Dict[str, NDArray[Any]]":
    return {name: np.frombuffer(data, dtype) for name, (dtype, data) in table.items()}


def _unsigned(name: str, values: "ArrayLike") -> "Numbers":
    if hasattr(values, "__array__"):
        values = np.asarray(values)
    if not isinstance(values, np.ndarray):
        # Of its own accord NumPy makes floating point of numbers on both sides of 2^63.
        values = np.array(values, dtype=object)
        if not all(isinstance(value, (int, np.integer)) for value in values.flat):
            raise TypeError(f"{name} are integers")
        if not all(0 <= value < 1 << 64 for value in values.flat):
            raise ValueError(f"{name} are numbers of 64 bits without sign")
    elif values.dtype.kind not in "iu":
        raise TypeError(f"{name} are integers, not {values.dtype}")
    elif values.dtype.kind == "i" and (values < 0).any():
        raise ValueError(f"{name} are numbers of 64 bits without sign")
    return np.ascontiguousarray(values, dtype=np.uint64)


def _same_length(name: str, values: "Numbers", count: int) -> None:
    if values.shape != (count,):
        raise ValueError(f"{name} has the shape {values.shape}, and there are {count} payloads")
