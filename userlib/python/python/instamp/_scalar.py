"""One reply."""

from typing import TYPE_CHECKING, Iterable

from . import _instamp
from ._types import Clock, Correction, Hook, NetSource, Phase, Reason, Record, StripError, Stripped, Uncorrected

if TYPE_CHECKING:
    from ._types import BytesLike


def strip(payload: "BytesLike", nonce: int) -> Stripped:
    """Takes the payload of an echo reply apart, if it has the trailer that was sent with ``nonce``, a number of 64 bits.

    ``payload`` is any contiguous bytes-like object: what follows the sequence number in the message. It must be as long as it was when
    it was sent: a shorter one has lost its trailer.

    Raises :class:`StripError` where there are no stamps of this probe.
    """
    parts = _instamp.strip(payload, nonce)
    if isinstance(parts, int):
        raise StripError(Reason(parts))
    length, full, records = parts
    return Stripped(
        memoryview(payload).cast("B")[:length],  # type: ignore[arg-type]
        tuple(
            Record(Phase(phase), point, Hook(hook), node, Clock(clock), bound_ns, time_ns)
            for phase, point, hook, node, clock, bound_ns, time_ns in records
        ),
        full,
    )


def correct(records: Iterable[Record], sent_ns: int, received_ns: int) -> Correction:
    """Splits an RTT by the stamps in ``records``, which are in the order in which they were written.

    ``sent_ns`` and ``received_ns`` are the application's ``time.clock_gettime_ns(time.CLOCK_MONOTONIC)`` beside its send and receive
    calls; in a time namespace, less :func:`monotonic_offset_ns`.

    Raises ValueError where there are more than 15 records, OverflowError where one is such as no trailer can hold, and
    :class:`Uncorrected` where the stamps do not tell. Of several reasons it is the first of: no stamps, no request stamp at all,
    node conflict, no comparable stamp of this host on the request, none on the reply, clock mismatch.
    """
    parts = _instamp.correct(list(records), sent_ns, received_ns)
    if isinstance(parts, int):
        raise Uncorrected(Reason(parts))
    rtt, net, remote, tx_stack, rx_stack, bound, source, nic_net, nic_net_bound, nic_left_out, negative = parts
    request, request_point, reply, reply_point = source
    return Correction(
        rtt_ns=rtt,
        net_ns=net,
        remote_ns=remote,
        tx_stack_ns=tx_stack,
        rx_stack_ns=rx_stack,
        bound_ns=bound,
        net_source=NetSource(Hook(request), request_point, Hook(reply), reply_point),
        nic_net_ns=nic_net,
        nic_net_bound_ns=nic_net_bound,
        nic_left_out=nic_left_out,
        negative=negative,
    )
