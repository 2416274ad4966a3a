//! A prober that does what it is told: which nonce, which number, when.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp::{Correction, DEFAULT_PAYLOAD_LENGTH, Hook, Record, Run, Uncorrected, correct, strip};
use socket2::{Domain, Protocol, Socket, Type};

/// A datagram socket for IPv4 echo messages, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Prober {
    /// The standard library's for datagrams sends to anybody.
    socket: UdpSocket,
    run: Run,
}

/// The header of an echo message.
const HEADER: usize = 8;
/// Much longer than any reply takes: the end for tests that fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time in `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    Monotonic::now().as_ns().cast_unsigned()
}

impl Prober {
    /// Opens a socket.
    ///
    /// # Panics
    ///
    /// The namespace does not allow it.
    pub fn open() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).expect("an ICMP socket");
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { socket, run: Run::new(DEFAULT_PAYLOAD_LENGTH).expect("room for a trailer") }
    }

    /// Sends a request, and returns when.
    ///
    /// # Panics
    ///
    /// It cannot be sent.
    pub fn send(&self, target: Ipv4Addr, sequence: u16, nonce: u64) -> u64 {
        let mut message = [0; HEADER + DEFAULT_PAYLOAD_LENGTH];
        message[0] = 8;
        message[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
        self.run.reserve(&mut message[HEADER..], sequence, nonce).expect("room for a trailer");
        let sent_ns = now_ns();
        self.socket.send_to(&message, SocketAddr::new(IpAddr::V4(target), 0)).expect("send a request");
        sent_ns
    }

    /// Waits for the next reply.
    ///
    /// # Panics
    ///
    /// None comes.
    pub fn receive(&self) -> Answer {
        self.try_receive().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// What has arrived by now.
    pub fn receive_now(&self) -> Option<Answer> {
        self.socket.set_nonblocking(true).expect("a setting");
        let answer = self.try_receive();
        self.socket.set_nonblocking(false).expect("a setting");
        match answer {
            Ok(answer) => Some(answer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("receive: {error}"),
        }
    }

    fn try_receive(&self) -> io::Result<Answer> {
        let mut message = [0; HEADER + DEFAULT_PAYLOAD_LENGTH];
        let length = self.socket.recv(&mut message)?;
        let received_ns = now_ns();
        assert_eq!(length, message.len(), "a whole reply");
        Ok(Answer { message, received_ns })
    }
}

impl AsFd for Prober {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A reply.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    message: [u8; HEADER + DEFAULT_PAYLOAD_LENGTH],
    /// When it was received.
    pub received_ns: u64,
}

impl Answer {
    /// The number of the request that it answers.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.message[6], self.message[7]])
    }

    /// Its stamps.
    ///
    /// # Panics
    ///
    /// It has no trailer with this nonce.
    #[track_caller]
    pub fn records(&self, nonce: u64) -> &[Record] {
        strip(&self.message[HEADER..], nonce).expect("the nonce of the request").records
    }

    /// When it, or its request, passed a hook.
    #[track_caller]
    pub fn time_ns(&self, nonce: u64, hook: Hook) -> Option<u64> {
        self.records(nonce).iter().find(|record| record.hook() == hook).map(Record::time_ns)
    }

    /// Where its time went.
    ///
    /// # Errors
    ///
    /// Why its stamps do not tell.
    pub fn correction(&self, nonce: u64, sent_ns: u64) -> Result<Correction, Uncorrected> {
        correct(self.records(nonce), sent_ns, self.received_ns)
    }
}
