"""What the functions take and return: plain values."""

import functools
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Optional, Tuple, TypeVar

from . import _instamp

if TYPE_CHECKING:
    from typing import Dict, Protocol, Union

    from typing_extensions import Buffer

    class Array(Protocol):
        """An array of NumPy, which is a buffer too, but only says so from Python 3.12 on."""

        @property
        def __array_interface__(self) -> Dict[str, Any]: ...

    BytesLike = Union[Buffer, Array]

if TYPE_CHECKING or sys.version_info < (3, 10):
    from dataclasses import dataclass
else:
    import dataclasses

    dataclass = functools.partial(dataclasses.dataclass, slots=True)


class _Named(IntEnum):
    """A number with the name that other outputs of instamp give it: ``str(Hook.TC_EGRESS) == "tc-egress"``."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce_ex__(self, protocol: object) -> Any:
        # By number: not every number has a name.
        return type(self), (int(self),)


_N = TypeVar("_N", bound=_Named)


def _unnamed(enum: "type[_N]", value: object, most: int) -> Optional[_N]:
    """The member for a number that this version gives no name: a newer hook may have written it."""
    if not isinstance(value, int) or not 0 <= value <= most:
        return None
    member = int.__new__(enum, value)
    member._name_ = f"{enum.__name__.upper()}_{int(value)}"
    member._value_ = int(value)
    return enum._value2member_map_.setdefault(int(value), member)  # type: ignore[return-value]


class Phase(_Named):
    """Of which message the probe was when it was stamped."""

    REQUEST = 0
    REPLY = 1


class Hook(_Named):
    """The kind of place in which a stamp was taken. Numbers up to 15 that have no name here are members, too."""

    EMPTY = 0
    #: TC on the way out: after routing and NAT, before the queueing discipline.
    TC_EGRESS = 1
    #: TC on the way in: after the queue of the network softirq and the packet taps.
    TC_INGRESS = 2
    #: XDP on the way in: the earliest software point of a network card.
    XDP_INGRESS = 3
    #: Where the kernel hands the packet to the driver.
    DRIVER_TX = 4
    #: The card's own transmit time.
    NIC_TX = 5
    #: The card's own receive time.
    NIC_RX = 6
    #: XDP on the way out.
    XDP_TX = 7
    #: The application, on transports that pass no hook on the way out.
    APP_TX = 8

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return _unnamed(cls, value, 15)


class Clock(_Named):
    """The clock in which a stamp was read. Numbers up to 7 that have no name here are members, too."""

    UNKNOWN = 0
    #: ``CLOCK_MONOTONIC`` of the stamping host, in its initial time namespace.
    MONOTONIC = 1
    #: ``CLOCK_TAI`` of the stamping host.
    TAI = 2
    #: The clock of the network card, as it reads.
    PHC = 3

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return _unnamed(cls, value, 7)


class Reason(_Named):
    """Why a reply has an RTT only. ``str(Reason.NO_STAMPS) == "no-stamps"``; :attr:`text` is for people."""

    #: It is corrected. Arrays alone have this one.
    NONE = 0
    #: The payload does not end in a trailer.
    NO_TRAILER = 1
    #: The trailer is of a version that this library does not know.
    VERSION = 2
    #: The payload's length is odd.
    ODD_LENGTH = 3
    #: The trailer counts more records than there are, or than fit.
    COUNTS = 4
    #: The trailer belongs to another probe.
    FOREIGN_NONCE = 5
    #: No hook has stamped the probe.
    NO_STAMPS = 6
    #: No stamp of this host on the way out that could be compared with the application's clock.
    NO_REQUEST_STAMP = 7
    #: The same on the way back.
    NO_REPLY_STAMP = 8
    #: The reply is shorter than the request. For probers, which know both lengths: no function here returns it.
    TRUNCATED = 9
    #: A stamp of this host lies outside of send and receive, or is in a clock that the application cannot read.
    CLOCK_MISMATCH = 10
    #: Two hosts use one node number, or one host is both ends.
    NODE_CONFLICT = 11

    @property
    def text(self) -> str:
        """What it means, and what to do about it."""
        return _instamp.REASONS[self.value][1]


class _ReasonError(ValueError):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        #: Which one.
        self.reason: Reason = reason

    def __str__(self) -> str:
        return self.reason.text


class StripError(_ReasonError):
    """A payload has no stamps that could be trusted: see :attr:`reason`."""

    __module__ = "instamp"


class Uncorrected(_ReasonError):
    """The stamps do not tell how much of an RTT was network: see :attr:`reason`."""

    __module__ = "instamp"


@dataclass(frozen=True)
class Record:
    """One stamp."""

    #: Of which message the probe was.
    phase: Phase
    #: Which attachment on the stamping host, 0 to 7: 0 is the uplink.
    point: int
    #: The kind of place.
    hook: Hook
    #: The number of the stamping host, 16 bits.
    node: int
    #: The clock of :attr:`time_ns`.
    clock: Clock
    #: The largest error of :attr:`time_ns`, or None where that is not known. On the wire it is a power of two.
    bound_ns: Optional[int]
    #: When.
    time_ns: int


@dataclass(frozen=True)
class Stripped:
    """The parts of a reply's payload."""

    #: What the application sent before the trailer: a view into the payload, ``bytes(...)`` of it is a copy.
    application: memoryview
    #: The stamps in the order in which they were written, which need not be the order of their times.
    records: Tuple[Record, ...]
    #: A hook found no free record: there are more hooks on the way than the probe had records.
    full: bool


@dataclass(frozen=True)
class NetSource:
    """The places between which the network was measured."""

    #: Of the last stamp of this host on the request.
    request: Hook
    #: The point of that stamp.
    request_point: int
    #: Of the first stamp of this host on the reply.
    reply: Hook
    #: The point of that stamp.
    reply_point: int

    def __str__(self) -> str:
        return f"{self.request}/{self.reply}"


@dataclass(frozen=True)
class Correction:
    """Where the time of one probe went. ``rtt_ns == tx_stack_ns + net_ns + (remote_ns or 0) + rx_stack_ns``, exactly.

    Nothing is clamped: a far end that lies about its times can make :attr:`net_ns` or :attr:`remote_ns` negative.
    """

    #: Application receive minus application send.
    rtt_ns: int
    #: First stamp of this host on the reply minus its last on the request, minus :attr:`remote_ns`.
    net_ns: int
    #: The residence on the remote host: 0 where it stamped nothing, None where its stamps do not tell. It is then part of
    #: :attr:`net_ns`.
    remote_ns: Optional[int]
    #: Last stamp of this host on the request minus application send.
    tx_stack_ns: int
    #: Application receive minus first stamp of this host on the reply.
    rx_stack_ns: int
    #: The largest error of :attr:`net_ns`: the sum of the bounds of the stamps used, or None where one is unknown.
    bound_ns: Optional[int]
    #: The places that the network was measured between.
    net_source: NetSource
    #: :attr:`net_ns` by the network card alone, no part of the sum. None without a pair of stamps of one card in one clock.
    nic_net_ns: Optional[int]
    #: The largest error of :attr:`nic_net_ns`. Stamps in the card's own clock have no known one.
    nic_net_bound_ns: Optional[int]
    #: A stamp of this host's network card is in the card's own clock, and so took no part in :attr:`net_ns`.
    nic_left_out: bool
    #: Whether one of these times is negative.
    negative: bool
