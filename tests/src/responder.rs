//! A far end that answers echo requests as a test wants it to, in place of the kernel.

use std::{
    fs,
    io::{self, ErrorKind},
    mem,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use instamp_trailer::checksum::sum_bytes;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Lab;

/// How one request is answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How many times.
    pub copies: usize,
    /// At most so much of the payload, in bytes.
    pub payload: usize,
    /// How long after the request.
    pub delay: Duration,
    /// Behind the answer to the next request, whenever that is.
    pub behind_next: bool,
    /// By the other of the responder's addresses.
    pub by_other: bool,
    /// What is done to the payload before.
    pub alter: fn(&mut [u8]),
}

impl Answer {
    /// As the kernel answers.
    pub const PLAIN: Self = Self {
        copies: 1,
        payload: usize::MAX,
        delay: Duration::ZERO,
        behind_next: false,
        by_other: false,
        alter: |_| {},
    };
}

/// Answers in the namespace of the remote until it is dropped.
#[derive(Debug)]
pub struct Responder {
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How long it takes at most to notice that it is to end.
const PATIENCE: Duration = Duration::from_millis(20);

impl Responder {
    /// Answers requests to `address`, one of the remote's, from now on as `behaviour` says, which is given their sequence
    /// numbers. The kernel answers no more.
    ///
    /// # Panics
    ///
    /// The remote has no such address.
    pub fn start(lab: &Lab, address: &str, behaviour: impl Fn(u16) -> Answer + Send + 'static) -> Self {
        Self::start_with_other(lab, [address, address], behaviour)
    }

    /// Likewise, with another address that it can answer by.
    ///
    /// # Panics
    ///
    /// The remote does not have both.
    pub fn start_with_other(
        lab: &Lab,
        addresses: [&str; 2],
        behaviour: impl Fn(u16) -> Answer + Send + 'static,
    ) -> Self {
        let addresses = addresses.map(|address| address.parse::<IpAddr>().expect("an address"));
        let [socket, other] = lab.enter("remote", || {
            for version in ["ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"] {
                fs::write(format!("/proc/sys/net/{version}"), "1").expect("a setting");
            }
            addresses.map(|address| open(address).expect("a raw socket"))
        });
        let is_done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_done);
        let mut session = Session { socket, other, delayed: Vec::new(), held: Vec::new() };
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                session.turn(&behaviour);
            }
        });
        Self { is_done, thread: Some(thread) }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the responder panicked");
        }
    }
}

/// A raw socket. One for datagrams is what the standard library has for sending to, and receiving from, anybody.
fn open(address: IpAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    Ok(socket.into())
}

/// A reply that is not sent yet.
struct Reply {
    due: Instant,
    to: SocketAddr,
    by_other: bool,
    message: Vec<u8>,
}

struct Session {
    socket: UdpSocket,
    other: UdpSocket,
    delayed: Vec<Reply>,
    /// Those that are sent behind the next.
    held: Vec<Reply>,
}

impl Session {
    /// Sends a reply that is due, or receives a request.
    fn turn(&mut self, behaviour: &impl Fn(u16) -> Answer) {
        let now = Instant::now();
        if let Some(index) = self.delayed.iter().position(|reply| reply.due <= now) {
            let reply = self.delayed.swap_remove(index);
            return self.send(&reply);
        }
        let next = self.delayed.iter().map(|reply| reply.due - now).min();
        // A time of zero would be forever.
        let wait = next.unwrap_or(PATIENCE).clamp(Duration::from_micros(1), PATIENCE);
        self.socket.set_read_timeout(Some(wait)).expect("a time");
        let mut buffer = [0; 1 << 14];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, from)) => self.request(&buffer[..length], from, behaviour),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => panic!("receive: {error}"),
        }
    }

    fn request(&mut self, packet: &[u8], from: SocketAddr, behaviour: &impl Fn(u16) -> Answer) {
        // A raw IPv4 socket delivers the IP header too.
        let (message, kinds) =
            if from.is_ipv4() { (&packet[usize::from(packet[0] & 0xf) * 4..], [8, 0]) } else { (packet, [128, 129]) };
        let [request, reply] = kinds;
        let (header, payload) = message.split_at(8);
        if header[0] != request {
            return;
        }
        let answer = behaviour(u16::from_be_bytes([header[6], header[7]]));
        let mut message = [&[reply, 0, 0, 0], &header[4..], &payload[..payload.len().min(answer.payload)]].concat();
        (answer.alter)(&mut message[8..]);
        if from.is_ipv4() {
            // Of ICMPv6 the kernel computes it.
            let checksum = !sum_bytes(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
        }

        let released = mem::take(&mut self.held);
        for _ in 0..answer.copies {
            let reply = Reply {
                due: Instant::now() + answer.delay,
                to: from,
                by_other: answer.by_other,
                message: message.clone(),
            };
            if answer.behind_next {
                self.held.push(reply);
            } else if answer.delay.is_zero() {
                self.send(&reply);
            } else {
                self.delayed.push(reply);
            }
        }
        released.iter().for_each(|reply| self.send(reply));
    }

    fn send(&self, reply: &Reply) {
        let socket = if reply.by_other { &self.other } else { &self.socket };
        socket.send_to(&reply.message, reply.to).expect("send a reply");
    }
}
