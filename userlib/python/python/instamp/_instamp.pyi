"""What is not Python."""

import os
from typing import Dict, List, Optional, Tuple, Union, final

from ._types import BytesLike, Record

__all__ = [
    "DEFAULT_PAYLOAD_LENGTH",
    "MIN_PAYLOAD_LENGTH",
    "REASONS",
    "Run",
    "correct",
    "monotonic_offset_ns",
    "read_bytes",
    "read_file",
    "strip",
    "strip_correct",
]

DEFAULT_PAYLOAD_LENGTH: int
MIN_PAYLOAD_LENGTH: int
REASONS: Tuple[Tuple[str, str], ...]

_Column = Tuple[str, bytearray]
_Table = Dict[str, _Column]
_Record = Tuple[int, int, int, int, int, Optional[int], int]
_Correction = Tuple[
    int,
    int,
    Optional[int],
    int,
    int,
    Optional[int],
    Tuple[int, int, int, int],
    Optional[int],
    Optional[int],
    bool,
    bool,
]

@final
class Run:
    """Probes whose payloads have one length and, with the sequence number, one sum: all of a run's requests have the same ICMP
    checksum, whoever computes it, and load balancers that hash it keep them on one path.
    """

    def __new__(cls, length: int = ..., *, cap: Optional[int] = None) -> Run:
        """Probes with payloads of ``length`` bytes, an even number, with room for ``cap`` stamps, 2 to 15. By default there is room
        for 4, or for fewer where the payload is short. Raises ValueError where they do not fit.
        """

    def with_checksum(self, checksum: int, *, identifier: int, type_: int = 8, code: int = 0) -> Run:
        """The same with this checksum for ICMP messages of this type, code and identifier. Raises ValueError for 0 and 0xffff."""

    @property
    def length(self) -> int:
        """The length of the payloads in bytes."""

    @property
    def cap(self) -> Optional[int]:
        """How many stamps there is room for, or None where the payloads are too short for any."""

    def checksum(self, *, identifier: int, type_: int = 8, code: int = 0) -> Optional[int]:
        """The checksum of the run's ICMP messages of this type, code and identifier, or None where nothing keeps it constant."""

    def reserve(self, buffer: BytesLike, sequence: int, nonce: int) -> None:
        """Writes an empty trailer to the end of ``buffer``, a writable bytes-like object of the run's length, in place. What is before
        it stays as it is, and must not change afterwards. Raises ValueError where the length is another.
        """

    def payload(self, sequence: int, nonce: int, application: Optional[BytesLike] = None) -> bytes:
        """A payload with an empty trailer at its end, behind ``application`` and zeros. Raises ValueError where it does not fit."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

def strip(payload: BytesLike, nonce: int) -> Union[int, Tuple[int, bool, List[_Record]]]: ...
def correct(records: List[Record], sent_ns: int, received_ns: int) -> Union[int, _Correction]: ...
def monotonic_offset_ns() -> int:
    """How far ``CLOCK_MONOTONIC`` of this process is ahead of the host's, in nanoseconds: 0 outside of time namespaces. It is to be
    subtracted from this process's readings before they are compared with stamps. Raises OSError where /proc does not tell.
    """

def strip_correct(
    payloads: BytesLike,
    nonces: BytesLike,
    sent_ns: BytesLike,
    received_ns: BytesLike,
    places: Union[int, Tuple[BytesLike, BytesLike]],
    with_records: bool,
) -> Tuple[_Table, _Table, Optional[_Table]]: ...
def read_file(path: Union[str, os.PathLike[str]]) -> Tuple[_Table, _Table, _Table, List[str], Optional[str]]: ...
def read_bytes(bytes: BytesLike) -> Tuple[_Table, _Table, _Table, List[str], Optional[str]]: ...
