//! For packets that leave by one device past the kernel's stack: their source address, next hop and MAC addresses, as the
//! kernel's tables say, and as they change.
//!
//! Routes are those of the tables local, main and default, asked in this order by longest prefix, then metric. Not looked at
//! are rules of policy routing that the user added, other tables (those of VRFs among them), routes for one source or type
//! of service, and whether a link has a carrier. Of several next hops of a route, the first by the device is taken; routes
//! that encapsulate are not.

mod addresses;
mod decision;
mod message;
mod neighbours;
mod netlink;
mod routes;
mod tables;

use std::{
    fmt, io,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

use thiserror::Error;

pub use self::decision::{Device, Hop, NoHop};
use self::{
    decision::Decider,
    netlink::{News, Tables},
};

/// How often questions are looked through: those to be asked again, and those without an answer.
const REFRESH: Duration = Duration::from_secs(1);

/// Why the network of a device cannot be known.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// There is no such device.
    #[error("there is no device {0} in this network namespace: `ip link` lists them")]
    NoDevice(String),
    /// The device has no MAC addresses.
    #[error("{0} is not an Ethernet device")]
    NotEthernet(String),
    /// The kernel's tables cannot be read.
    #[error("cannot read the {what} of this network namespace: {source}")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl From<NetworkError> for io::Error {
    fn from(error: NetworkError) -> Self {
        let kind = match &error {
            NetworkError::NoDevice(_) => io::ErrorKind::NotFound,
            NetworkError::NotEthernet(_) => io::ErrorKind::Unsupported,
            NetworkError::Read { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// The network as one device sees it.
///
/// It belongs to the network namespace of the thread that opened it, and follows changes as far as [`poll`](Self::poll) has
/// read them. Finding out MAC addresses needs `CAP_NET_ADMIN`.
pub struct Network {
    decider: Decider,
    tables: Tables,
    news: News,
    /// All must be read again.
    unclear: bool,
    opened: Instant,
    /// Since `opened`, as of the last poll.
    now: Duration,
    refresh_at: Duration,
}

impl Network {
    /// Reads the kernel's tables as they concern packets that leave by `device`.
    ///
    /// # Errors
    ///
    /// There is no such device, it is not an Ethernet one, or the tables cannot be read.
    pub fn open(device: &str) -> Result<Self, NetworkError> {
        // First, so that no change is missed.
        let news = News::subscribe().map_err(|source| NetworkError::Read { what: "changes", source })?;
        let mut tables = Tables::open().map_err(|source| NetworkError::Read { what: "tables", source })?;
        let mut decider = Decider::new(tables::find(&mut tables, device)?);
        tables::read(&mut tables, &mut decider)?;
        let (opened, now) = (Instant::now(), Duration::ZERO);
        Ok(Self { decider, tables, news, unclear: false, opened, now, refresh_at: REFRESH })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.decider.device()
    }

    /// The source of all packets of this address's family, whatever routes and addresses say. That it is one of this host's,
    /// so that replies come back, is the caller's care.
    pub fn set_source(&mut self, source: IpAddr) {
        self.decider.fix_source(source);
    }

    /// Where a packet to `target` goes, by what is known.
    ///
    /// # Errors
    ///
    /// The device cannot send it there, or not yet: [`NoHop::Unresolved`] is worth another attempt after a poll.
    pub fn resolve(&mut self, target: IpAddr) -> Result<Hop, NoHop> {
        let decision = self.decider.resolve(target, self.now);
        if self.decider.neighbours.has_questions() {
            self.ask();
        }
        decision
    }

    /// Reads what has changed, without waiting, and has next hops in use confirmed. Whether anything changed that may matter
    /// to this device. Call it every few milliseconds, or when the descriptor is readable and once a second.
    ///
    /// It takes as long as opening where changes were missed.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked, which the next poll makes up for if it can; or it resolves no neighbours for this process.
    pub fn poll(&mut self) -> io::Result<bool> {
        self.now = self.opened.elapsed();
        let mut changed = false;
        while let Some(changes) = self.news.next()? {
            for change in changes {
                match self.decider.apply(change) {
                    Some(matters) => changed |= matters,
                    None => self.unclear = true,
                }
            }
        }
        if self.unclear {
            tables::read(&mut self.tables, &mut self.decider)?;
            self.unclear = false;
            changed = true;
        }
        if self.now >= self.refresh_at {
            self.refresh_at = self.now + REFRESH;
            self.decider.refresh(self.now);
            self.ask();
        }
        if let Some(refusal) = self.news.take_refusal() {
            return Err(refusal);
        }
        Ok(changed)
    }

    fn ask(&mut self) {
        let device = self.decider.device().index;
        while let Some(question) = self.decider.neighbours.next_question() {
            // One that is not put gets no answer, and is asked again when that counts as lost.
            let _ = self.news.ask(device, question);
        }
    }
}

/// Readable when there is something to [`poll`](Network::poll).
impl AsRawFd for Network {
    fn as_raw_fd(&self) -> RawFd {
        self.news.as_raw_fd()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("device", self.device()).finish_non_exhaustive()
    }
}
