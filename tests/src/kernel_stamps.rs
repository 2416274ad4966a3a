//! The kernel's own software stamps of a socket's messages: a witness that is not ours.
//!
//! A driver takes that of a request on behalf of the socket; a veth does so right behind the place where the kernel hands it over. That of
//! a reply is taken where the driver hands it to the kernel, but for drivers that do so by NAPI, as a veth with XDP: there it comes later.
//! <https://github.com/torvalds/linux/blob/v6.12/Documentation/networking/timestamping.rst>

use std::{
    io::IoSliceMut,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd as _},
    time::{Duration, Instant},
};

use hwtstamp::{Realtime, SystemClock as _};
use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt::Timestamping,
    },
};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{ping::number, prober::now_ns};

/// Much longer than any reply takes: the end for tests that fail.
const LIMIT: Duration = Duration::from_secs(20);

/// Has the kernel stamp what a socket sends and receives.
///
/// # Panics
///
/// It does not.
pub fn enable(socket: &impl AsFd) {
    let wanted = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(socket, Timestamping, &wanted).expect("stamps of a socket");
}

/// How much `CLOCK_REALTIME`, which these stamps are in, is ahead of `CLOCK_MONOTONIC`, and how far that may be off: half the time that
/// the best of some readings took.
///
/// # Panics
///
/// Never: there are some.
pub fn realtime_ahead_ns() -> (i64, i64) {
    let reading = || {
        let before = now_ns().cast_signed();
        let realtime = Realtime::now().as_ns();
        let behind = now_ns().cast_signed();
        (behind - before, realtime - (before + behind) / 2)
    };
    let (took, ahead) = (0..20).map(|_| reading()).min().expect("some");
    (ahead, took / 2 + 1)
}

/// The stamp of a request, in `CLOCK_REALTIME`, if there is one: it comes before the reply does.
///
/// # Panics
///
/// The socket fails, or has a message without a stamp.
pub fn transmitted_ns(socket: &impl AsFd) -> Option<i64> {
    match message(socket, &mut [0; 256], MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => None,
        stamp => Some(stamp.expect("the error queue").expect("a transmit stamp")),
    }
}

/// Receives the next message, and returns its stamp, in `CLOCK_REALTIME`, if it has one.
///
/// # Panics
///
/// None comes.
pub fn received_ns(socket: &impl AsFd, bytes: &mut [u8]) -> Option<i64> {
    message(socket, bytes, MsgFlags::empty()).expect("a message")
}

fn message(socket: &impl AsFd, bytes: &mut [u8], flags: MsgFlags) -> nix::Result<Option<i64>> {
    let mut control = [0; 256];
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let stamp = message.cmsgs()?.find_map(|message| {
        if let ControlMessageOwned::ScmTimestampsns(times) = message { Some(times.system) } else { None }
    });
    Ok(stamp.map(|stamp| stamp.tv_sec() * 1_000_000_000 + stamp.tv_nsec()))
}

/// When the kernel says that a request and its reply passed, in `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The driver had the request.
    pub transmitted_ns: i64,
    /// The driver handed over the reply.
    pub received_ns: i64,
    /// How far both may be off, together: what lies between them is exact.
    pub error_ns: i64,
}

impl Exchange {
    /// That of a reply that a watcher has told, unless it was before the first one.
    ///
    /// # Panics
    ///
    /// It has no sequence number.
    pub fn of(exchanges: &[Self], reply: &Value) -> Option<Self> {
        exchanges.get(usize::try_from(number(reply, "seq")).ok()?).copied()
    }

    /// What is between the two.
    pub fn net_ns(&self) -> i64 {
        self.received_ns - self.transmitted_ns
    }
}

/// Pings, from the namespace of the calling thread, so many times one after the other: what waits longer finds cold caches, and the kernel
/// clones a request before it takes its time. The place of each is its sequence number.
///
/// # Panics
///
/// A request is not answered, or not stamped.
pub fn exchanges(target: &str, count: u16) -> Vec<Exchange> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).expect("an ICMP socket");
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(LIMIT)).expect("a time");
    enable(&socket);
    let target = SocketAddr::new(target.parse::<IpAddr>().expect("an address"), 0);
    let exchange = |sequence: u16| {
        let mut request = [0; 64];
        request[0] = 8;
        request[6..8].copy_from_slice(&sequence.to_be_bytes());
        let mut reply = [0; 128];
        socket.send_to(&request, target).expect("send a request");
        let received_ns = received_ns(&socket, &mut reply);
        assert_eq!(reply[6..8], sequence.to_be_bytes(), "the reply to this one");
        let (ahead_ns, error_ns) = realtime_ahead_ns();
        let transmitted_ns = transmitted_ns(&socket).expect("before the reply");
        let received_ns = received_ns? - ahead_ns;
        Some(Exchange { transmitted_ns: transmitted_ns - ahead_ns, received_ns, error_ns })
    };
    // Where nobody else wants them, the kernel begins with stamps of replies some time after the socket wants them: `net_enable_timestamp`.
    let begin = Instant::now();
    while exchange(u16::MAX).is_none() {
        assert!(begin.elapsed() < LIMIT, "the kernel stamps no replies");
    }
    (0..count).map(|sequence| exchange(sequence).expect("stamps")).collect()
}
