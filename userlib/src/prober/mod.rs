//! An asynchronous prober over ICMP sockets.

pub(crate) mod card;
#[cfg(test)]
#[path = "../../tests/common/mod.rs"]
mod common;
mod endpoint;
mod error;
mod error_kind;
mod error_queue;
mod event;
pub(crate) mod looped;
mod message;
pub(crate) mod nic_tx;
mod pace;
mod session;
mod socket;
mod timer;

use std::{fmt, io, net::IpAddr, os::fd::AsRawFd, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::io::{Interest, unix::AsyncFd};

pub use error::ProberError;
pub use error_kind::ErrorKind;
pub use event::{Event, Reply, Stamps};
pub use nic_tx::NicTxCounts;

use self::{
    card::Card,
    endpoint::Endpoint,
    message::Version,
    session::Session,
    socket::{Buffer, EchoSocket, SocketEndpoint},
    timer::Timer,
};
#[cfg(feature = "afxdp")]
use crate::afxdp::{AfXdpEndpoint, TransportOptions, run_key};
use crate::{DEFAULT_PAYLOAD_LENGTH, host_clock::HostClock, time_namespace::MonotonicOffset};

/// The kind of ICMP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SocketKind {
    /// A datagram socket where the host allows it, else a raw one.
    #[default]
    Auto,
    /// A raw socket: needs `CAP_NET_RAW`.
    Raw,
    /// A datagram ("ping") socket: needs a group inside `net.ipv4.ping_group_range`.
    Datagram,
}

impl SocketKind {
    /// `auto`, `raw` or `dgram`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
            Self::Datagram => "dgram",
        }
    }
}

/// What a prober does. [`Config::new`] has ping's defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Whom to probe.
    pub target: IpAddr,
    /// The interface through which, by its name.
    pub interface: Option<String>,
    /// The address from which.
    pub source: Option<IpAddr>,
    /// Through which kind of socket.
    pub socket: SocketKind,
    /// Past the kernel's stack by this device instead: then neither `interface` nor `socket` counts. Errors from the way do not come
    /// back here, nor do truncated replies.
    #[cfg(feature = "afxdp")]
    pub afxdp: Option<TransportOptions>,
    /// The length of the payload, its trailer included, in bytes.
    pub payload_bytes: usize,
    /// The number of records in the trailer; by default 4, or as many as fit into a shorter payload.
    pub cap: Option<u8>,
    /// How many requests to send; without end by default.
    pub count: Option<u64>,
    /// From one request to the next. Zero is a flood: the next request follows a reply, or 10 ms without one.
    pub interval: Duration,
    /// How long a probe waits for its reply.
    pub timeout: Duration,
    /// When to end, counted from the first [`Prober::next`]: what is outstanding is then reported as timed out. Never by
    /// default.
    pub deadline: Option<Duration>,
    /// The time to live or hop limit of the requests; the system's by default.
    pub ttl: Option<u8>,
    /// Ask the network card for the time at which each request leaves it; not by default. It takes a card that was set to
    /// stamp, and a trailer.
    ///
    /// The time comes with the reply where the host's hooks write it there. Where they do not, and this process is in the
    /// network namespace of the card, it comes from the socket: in the host's time if a model of the card's clock is
    /// published, else in the card's. No reply is held up for it: [`Prober::nic_tx`] counts what has come in time.
    pub nic_tx: bool,
    /// Tell [one-way delays](Reply::one_way) where the far end stamps in `CLOCK_TAI`, which is then known to agree with this
    /// host's; not by default.
    pub one_way: bool,
}

impl Config {
    /// Once a second, 64 bytes of payload, each reply awaited for one second, without end.
    pub fn new(target: IpAddr) -> Self {
        Self {
            target,
            interface: None,
            source: None,
            socket: SocketKind::Auto,
            #[cfg(feature = "afxdp")]
            afxdp: None,
            payload_bytes: DEFAULT_PAYLOAD_LENGTH,
            cap: None,
            count: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            deadline: None,
            ttl: None,
            nic_tx: false,
            one_way: false,
        }
    }
}

/// Sends echo requests and reports what becomes of them.
///
/// One kernel timer paces sending and giving up, so intervals of 100 us hold as well as those of a second. Requests follow
/// the schedule and not each other: one that is sent late does not delay the next, and after a pause those that are more
/// than 10 ms late are left out.
///
/// ```no_run
/// use instamp::prober::{Config, Event, Prober};
/// # async fn ping() -> Result<(), instamp::prober::ProberError> {
/// let target = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
/// let mut prober = Prober::new(Config { count: Some(3), ..Config::new(target) })?;
/// while let Some(event) = prober.next().await {
///     match event {
///         Event::Reply(reply) => match reply.correction {
///             Ok(correction) => println!("{}: {} ns, of which network {} ns", reply.seq, reply.rtt_ns, correction.net_ns),
///             Err(reason) => println!("{}: {} ns, uncorrected: {reason}", reply.seq, reply.rtt_ns),
///         },
///         Event::Timeout { seq } => println!("{seq}: no reply"),
///         Event::Error { from, error, .. } => println!("{error}, says {from:?}"),
///         Event::Sent { .. } => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Prober {
    endpoint: AsyncFd<Endpoint>,
    timer: AsyncFd<Timer>,
    /// When the timer fires.
    armed_ns: Option<u64>,
    session: Session,
}

impl Prober {
    /// Opens the socket. The first request is sent by the first [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// [`ProberError`] names the cause and the remedy.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new(config: Config) -> Result<Self, ProberError> {
        check(&config)?;
        let clock = HostClock::new(MonotonicOffset::of_this_process()?);
        let random = StdRng::from_os_rng();
        #[cfg(feature = "afxdp")]
        let (endpoint, session) = match &config.afxdp {
            Some(options) => open_afxdp(&config, options, clock, random)?,
            None => open_socket(&config, clock, random)?,
        };
        #[cfg(not(feature = "afxdp"))]
        let (endpoint, session) = open_socket(&config, clock, random)?;
        let watched = watch(endpoint, Interest::READABLE | Interest::ERROR);
        let timer = Timer::new().and_then(|timer| watch(timer, Interest::READABLE));
        Ok(Self {
            endpoint: watched.map_err(|source| ProberError::Socket { action: "watch", source })?,
            timer: timer.map_err(ProberError::Timer)?,
            armed_ns: None,
            session,
        })
    }

    /// The kind of the socket that was opened: never [`SocketKind::Auto`]. `None` where requests go past the kernel's stack.
    pub fn socket_kind(&self) -> Option<SocketKind> {
        match self.endpoint.get_ref() {
            Endpoint::Socket(endpoint) => Some(endpoint.socket.kind()),
            #[cfg(feature = "afxdp")]
            Endpoint::AfXdp(_) => None,
        }
    }

    /// The identifier of the requests, as this host sends them: NAT may change it on the way.
    pub fn identifier(&self) -> u16 {
        self.endpoint.get_ref().identifier()
    }

    /// What became of the network card's transmit times so far, or `None` where they are not asked for: by
    /// [`Config::nic_tx`], or for want of a trailer.
    pub fn nic_tx(&self) -> Option<NicTxCounts> {
        self.session.nic_tx()
    }

    /// Sends no more. What is outstanding is still waited for, at most for the timeout.
    pub const fn stop(&mut self) {
        self.session.stop();
    }

    /// What happens next, or `None` when all has been sent and every request was answered, timed out or failed.
    ///
    /// Requests are sent while this is awaited, so it wants to be awaited all the time. Cancel safe: nothing is lost if
    /// the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            // Where there is always something to report, other tasks get their turn too.
            tokio::task::coop::consume_budget().await;
            if let Some(event) = self.session.events.pop_front() {
                return Some(event);
            }
            self.session.act(self.endpoint.get_mut());
            if self.session.events.is_empty() {
                let Some(wake_ns) = self.session.wake_ns() else {
                    // A transmit time that came behind the last reply is late, but not missing.
                    if self.session.nic_tx().is_some() {
                        self.session.receive_errors(self.endpoint.get_mut());
                    }
                    return self.session.events.pop_front();
                };
                self.wait(wake_ns).await;
            }
        }
    }

    /// Until something was received, or the host's clock reads `wake_ns`.
    async fn wait(&mut self, wake_ns: u64) {
        if self.armed_ns != Some(wake_ns) {
            let delay_ns = wake_ns.saturating_sub(self.session.clock.now_ns());
            self.armed_ns = self.timer.get_ref().set(delay_ns).is_ok().then_some(wake_ns);
        }
        tokio::select! {
            biased;
            Ok(mut guard) = self.endpoint.ready_mut(Interest::READABLE | Interest::ERROR) => {
                let failed = guard.ready().is_error() || self.session.errors_left;
                let endpoint = guard.get_inner_mut();
                if failed {
                    self.session.receive_errors(endpoint);
                }
                if self.session.receive(endpoint) && !self.session.errors_left {
                    guard.clear_ready();
                } else {
                    guard.retain_ready();
                }
            }
            Ok(mut guard) = self.timer.readable() => {
                self.armed_ns = None;
                guard.clear_ready();
            }
            // The runtime is shutting down and polls nothing any more.
            else => {}
        }
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("socket_kind", &self.socket_kind())
            .field("identifier", &self.identifier())
            .finish_non_exhaustive()
    }
}

fn open_socket(config: &Config, clock: HostClock, mut random: StdRng) -> Result<(Endpoint, Session), ProberError> {
    let socket = EchoSocket::open(config, random.random())?;
    let mut session = Session::new(config, socket.identifier(), clock, random)?;
    if config.nic_tx {
        let address = socket.local_address().ok().flatten();
        if session.expect_nic_tx(Card::of(config.interface.as_deref(), address)) {
            socket.ask_for_nic_tx()?;
        }
    }
    let [replies, errors] = [(); 2].map(|()| Buffer::new(config.payload_bytes));
    Ok((Endpoint::Socket(SocketEndpoint { socket, replies, errors }), session))
}

#[cfg(feature = "afxdp")]
fn open_afxdp(
    config: &Config,
    options: &TransportOptions,
    clock: HostClock,
    mut random: StdRng,
) -> Result<(Endpoint, Session), ProberError> {
    let options = TransportOptions { nic_tx: config.nic_tx, ..options.clone() };
    let (identifier, run) = (random.random(), run_key(&mut random));
    let probes = session::run_with(config, identifier)?;
    let endpoint = AfXdpEndpoint::open(&options, config.target, config.source, config.ttl, probes, identifier, run)?;
    let mut session = Session::new(config, identifier, clock, random)?;
    if endpoint.has_nic_tx() {
        session.expect_nic_tx(Card::of(Some(&options.device), None));
    }
    Ok((Endpoint::AfXdp(Box::new(endpoint)), session))
}

/// Registers a socket or timer, which keeps its descriptor until it is dropped, with the runtime.
#[expect(deprecated, reason = "its successor is an unsafe function, for types that change their descriptor")]
fn watch<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}

/// Refuses what no socket is needed to refuse.
fn check(config: &Config) -> Result<(), ProberError> {
    let Config { target, source, payload_bytes: size, .. } = *config;
    if target.is_multicast() {
        return Err(ProberError::Multicast(target));
    }
    if let Some(from) = source.filter(|from| from.is_ipv4() != target.is_ipv4()) {
        return Err(ProberError::Family { from, target });
    }
    session::run(config)?;
    let most = Version::of(target).max_payload();
    if size > most { Err(ProberError::PayloadTooBig { size, most }) } else { Ok(()) }
}
