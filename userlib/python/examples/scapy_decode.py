#!/usr/bin/env python3
"""Shows the stamps in the probes of a capture: python3 scapy_decode.py CAPTURE"""

import sys
from typing import Optional, Tuple

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.packet import Packet
from scapy.utils import rdpcap

import instamp


def echo(packet: Packet) -> Optional[Tuple[Packet, instamp.Phase, bytes]]:
    """Network header, phase and payload of an echo message, or None."""
    if ICMP in packet and packet[ICMP].type in (0, 8):
        return packet[IP], instamp.Phase(packet[ICMP].type == 0), bytes(packet[ICMP].payload)
    for phase, message in enumerate((ICMPv6EchoRequest, ICMPv6EchoReply)):
        if message in packet:
            return packet[IPv6], instamp.Phase(phase), packet[message].data
    return None


for number, packet in enumerate(rdpcap(sys.argv[1]), start=1):
    found = echo(packet)
    if found is None:
        continue
    header, phase, payload = found
    nonce = int.from_bytes(payload[-16:-8], "big")  # whoever sent the probe knows it, and compares
    try:
        stripped = instamp.strip(payload, nonce)
    except instamp.StripError:
        continue
    print(f"{number} {header.src} > {header.dst} {phase} nonce={nonce:016x}")
    for r in stripped.records:
        bound = "?" if r.bound_ns is None else r.bound_ns
        print(f"    {r.phase} point={r.point} {r.hook} node={r.node} {r.clock} {r.time_ns} +-{bound}ns")
