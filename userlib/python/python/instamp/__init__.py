"""How much of a ping's RTT was the network, and how much was the own host?

A probe carries a *trailer* at the end of its echo payload. The hooks of ``instamp attach`` write the time into it when the probe
leaves the host and when its reply arrives. Three functions fit into any prober; they need no socket and read no clock:

===================  ================================  =======================================================
before sending       :meth:`Run.reserve` (or payload)  an empty trailer, and one checksum for the whole run
after receiving      :func:`strip`                     takes the payload apart: the application's part, the stamps
then                 :func:`correct`                   splits the RTT by the stamps
===================  ================================  =======================================================

>>> import instamp
>>> run = instamp.Run()
>>> payload = run.payload(sequence=1, nonce=0x0123456789ABCDEF)  # the nonce at random: who knows it can forge the reply
>>> # sent_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC), right before the send call, and the same right after the receive call
>>> stripped = instamp.strip(payload, 0x0123456789ABCDEF)
>>> instamp.correct(stripped.records, sent_ns=1_000, received_ns=1_100)
Traceback (most recent call last):
    ...
instamp.Uncorrected: no stamps; is `instamp attach` active on the egress device?

Times are integers in nanoseconds. Payloads are any contiguous bytes-like objects, of which :func:`strip` copies no more than the end, 197
bytes at most. For millions of replies, or a whole capture, there is :mod:`instamp.arrays`, which needs NumPy.

Bytes from the network are hostile: a reply is corrected only with its probe's nonce, and only if all stamps of this host lie between
send and receive. The stamps are not authenticated, though: a far end that wants to can misstate every figure but the RTT.
"""

from ._instamp import DEFAULT_PAYLOAD_LENGTH, MIN_PAYLOAD_LENGTH, Run, monotonic_offset_ns
from ._scalar import correct, strip
from ._types import Clock, Correction, Hook, NetSource, Phase, Reason, Record, StripError, Stripped, Uncorrected

__all__ = [
    "DEFAULT_PAYLOAD_LENGTH",
    "MIN_PAYLOAD_LENGTH",
    "Clock",
    "Correction",
    "Hook",
    "NetSource",
    "Phase",
    "Reason",
    "Record",
    "Run",
    "StripError",
    "Stripped",
    "Uncorrected",
    "correct",
    "monotonic_offset_ns",
    "strip",
]
