#!/usr/bin/env python3
"""A ping that tells how much of each round trip was network: python3 ping.py [-c COUNT] [-i SECONDS] ADDRESS

Takes no more privilege than ping: a datagram socket of ICMP where net.ipv4.ping_group_range allows it, else a raw one.
"""

import argparse
import os
import secrets
import select
import socket
import struct
import sys
import time
from typing import Dict, Optional, Tuple

import instamp

ECHO_REPLY, ECHO_REQUEST = 0, 8


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) - OFFSET_NS


def checksum(message: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def open_socket() -> Tuple[socket.socket, int]:
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP), 0
    except PermissionError:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), os.getpid() & 0xFFFF


def receive(sock: socket.socket, identifier: int) -> Tuple[Optional[Tuple[int, bytes]], int]:
    """The sequence number and the payload of a reply that came for this process, or None, and when it came."""
    try:
        packet = sock.recv(65535)
    except OSError as error:  # what a router, or this host, has answered instead
        print(error.strerror)
        return None, now_ns()
    received_ns = now_ns()  # before anything else is done
    message = packet[(packet[0] & 15) * 4 :] if sock.type == socket.SOCK_RAW else packet
    if len(message) < 8:
        return None, received_ns
    kind, _code, _checksum, its_identifier, sequence = struct.unpack("!BBHHH", message[:8])
    # The kernel chooses a datagram socket's identifier, and gives it no one else's replies.
    if kind != ECHO_REPLY or (sock.type == socket.SOCK_RAW and its_identifier != identifier):
        return None, received_ns
    return (sequence, message[8:]), received_ns


def report(sequence: int, reply: bytes, nonce: int, sent_ns: int, received_ns: int) -> None:
    line = f"{len(reply) + 8} bytes: icmp_seq={sequence} time={(received_ns - sent_ns) / 1e6:.3f} ms"
    try:
        c = instamp.correct(instamp.strip(reply, nonce).records, sent_ns, received_ns)
    except (instamp.StripError, instamp.Uncorrected) as error:
        print(f"{line} uncorrected: {error}")
    else:
        print(f"{line} net={c.net_ns / 1e3:.3f}us tx={c.tx_stack_ns / 1e3:.3f}us rx={c.rx_stack_ns / 1e3:.3f}us")


parser = argparse.ArgumentParser(description="A ping that tells how much of each round trip was network.")
parser.add_argument("-c", dest="count", type=int, default=5, help="how many probes")
parser.add_argument("-i", dest="interval", type=float, default=1.0, help="seconds between them")
parser.add_argument("-W", dest="timeout", type=float, default=1.0, help="seconds to wait for the last replies")
parser.add_argument("address")
options = parser.parse_args()

OFFSET_NS = instamp.monotonic_offset_ns()  # 0, but in a time namespace
run = instamp.Run()
sock, identifier = open_socket()
sock.connect((options.address, 0))
under_way: Dict[int, Tuple[int, int]] = {}  # by sequence number: the nonce, and when it was sent
sent = answered = 0
due = time.monotonic()
while sent < options.count or under_way:
    if sent < options.count and time.monotonic() >= due:
        sent += 1
        sequence, nonce = sent & 0xFFFF, secrets.randbits(64)  # a nonce of its own for each, which nobody can guess
        payload = run.payload(sequence, nonce)
        header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence)
        message = struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(header + payload), identifier, sequence) + payload
        due += options.interval if sent < options.count else options.timeout
        sent_ns = now_ns()  # nothing between the clock and the call
        try:
            sock.send(message)
            under_way[sequence] = (nonce, sent_ns)
        except OSError as error:  # as of a network that cannot be reached, or what was answered to an earlier one
            print(f"send: {error.strerror}")
    readable, _, _ = select.select([sock], [], [], max(0.0, due - time.monotonic()))
    if not readable:
        if sent == options.count:
            break
        continue
    reply, received_ns = receive(sock, identifier)
    if reply is not None and reply[0] in under_way:
        answered += 1
        report(*reply, *under_way.pop(reply[0]), received_ns)

print(f"{sent} sent, {answered} received")
sys.exit(0 if answered else 1)
