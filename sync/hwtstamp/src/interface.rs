//! Network interfaces: what they can stamp, by which clock, and what they are set to.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use nix::{
    errno::Errno,
    net::if_::{if_nameindex, if_nametoindex},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use crate::{
    Cause, Error, Holders, Operation, RxFilter, Set, Setting, StampFlag, TxMode, error::Context as _, inventory,
    numbered::Numbered as _, sys,
};

/// A network interface of the network namespace in which it was opened.
///
/// It stays the same one when it gets another name, though the kernel's calls go by names: each looks up the name first.
///
/// ```
/// use hwtstamp::{Interface, StampFlag};
///
/// # fn main() -> Result<(), hwtstamp::Error> {
/// let loopback = Interface::open("lo")?;
/// let timestamping = loopback.timestamping()?.expect("software stamps need no hardware");
/// assert!(timestamping.flags.contains(StampFlag::RX_SOFTWARE));
/// assert_eq!(timestamping.phc, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Interface {
    name: String,
    index: u32,
    /// Any socket does: it stands for its network namespace.
    socket: Arc<OwnedFd>,
}

/// What an interface can stamp, and by which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timestamping {
    /// The N of `/dev/ptpN`, the clock of its hardware stamps; `None` where it makes none.
    pub phc: Option<u32>,
    /// The timestamps that it makes and reports, in hardware and in software.
    pub flags: Set<StampFlag>,
    /// The transmit modes to choose from: empty where it has no hardware stamps.
    pub tx_modes: Set<TxMode>,
    /// The receive filters to choose from: empty where it has no hardware stamps.
    pub rx_filters: Set<RxFilter>,
}

/// All that can be found out about an interface's timestamps.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovery {
    /// The name of the interface.
    pub interface: String,
    /// Its driver; `None` where it has none.
    pub driver: Option<String>,
    /// What it can stamp; `None` where the kernel does not say.
    pub timestamping: Option<Timestamping>,
    /// What the driver calls its clock; `None` without a clock, or without sysfs.
    pub phc_name: Option<String>,
    /// The setting in force; `None` without hardware stamps, or where the driver never tells. Some drivers tell while the
    /// interface is up, and fail else.
    pub setting: Result<Option<Setting>, Error>,
    /// The processes that have its clock open.
    pub holders: Holders,
}

impl Discovery {
    /// Whether somebody is known to have set the card to stamp: to be asked before one's own change.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.setting.as_ref().is_ok_and(|setting| setting.is_some_and(|setting| setting != Setting::OFF))
    }
}

const HERE: &str = "of this network namespace";

fn namespace() -> Result<Arc<OwnedFd>, Error> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    socket.map(Arc::new).context(Operation::Find, HERE)
}

impl Interface {
    /// The interface with this name.
    ///
    /// # Errors
    ///
    /// Where this network namespace has none.
    pub fn open(name: &str) -> Result<Self, Error> {
        let index = if_nametoindex(name).context(Operation::Find, name)?;
        Ok(Self { name: name.to_owned(), index, socket: namespace()? })
    }

    /// The interface with this number.
    ///
    /// # Errors
    ///
    /// Where this network namespace has none.
    pub fn open_index(index: u32) -> Result<Self, Error> {
        let all = Self::all()?;
        all.into_iter()
            .find(|interface| interface.index == index)
            .ok_or_else(|| Error::new(Operation::Find, index, Errno::ENODEV))
    }

    /// All of this network namespace.
    ///
    /// # Errors
    ///
    /// Where the kernel does not answer.
    pub fn all() -> Result<Vec<Self>, Error> {
        let names = if_nameindex().context(Operation::Find, HERE)?;
        let socket = namespace()?;
        let interface = |entry: &nix::net::if_::Interface| Self {
            name: entry.name().to_string_lossy().into_owned(),
            index: entry.index(),
            socket: Arc::clone(&socket),
        };
        Ok(names.iter().map(interface).collect())
    }

    /// Those whose hardware stamps are in the time of `/dev/ptpN`: several for the ports and functions of one card.
    ///
    /// # Errors
    ///
    /// Where the kernel does not answer.
    pub fn of_phc(phc: u32) -> Result<Vec<Self>, Error> {
        let mut interfaces = Vec::new();
        for interface in Self::all()? {
            match interface.timestamping() {
                Ok(Some(timestamping)) if timestamping.phc == Some(phc) => interfaces.push(interface),
                Ok(_) => {}
                // Gone since they were listed.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(interfaces)
    }

    /// Its name, at the time it was opened.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    fn name_now(&self) -> Result<String, Errno> {
        sys::interface::name(self.socket.as_fd(), self.index)
    }

    /// What it can stamp; `None` where the kernel does not say. No privilege is needed.
    ///
    /// # Errors
    ///
    /// Where the interface is gone, or down with its card asleep.
    pub fn timestamping(&self) -> Result<Option<Timestamping>, Error> {
        match self.name_now().and_then(|name| sys::interface::timestamping(self.socket.as_fd(), &name)) {
            Ok(found) => Ok(Some(Timestamping {
                phc: u32::try_from(found.phc_index).ok(),
                flags: Set::from_bits(found.so_timestamping),
                tx_modes: Set::from_bits(found.tx_types),
                rx_filters: Set::from_bits(found.rx_filters),
            })),
            Err(Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => Err(Error::new(Operation::Discover, &self.name, errno)),
        }
    }

    /// Its driver, or the kind of a software device; `None` where it has neither. No privilege is needed.
    ///
    /// # Errors
    ///
    /// Where the interface is gone, or down with its card asleep.
    pub fn driver(&self) -> Result<Option<String>, Error> {
        match self.name_now().and_then(|name| sys::interface::driver(self.socket.as_fd(), &name)) {
            Ok(driver) => Ok((!driver.is_empty()).then_some(driver)),
            Err(Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => Err(Error::new(Operation::Discover, &self.name, errno)),
        }
    }

    /// The setting in force. No privilege is needed.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] where the driver has no hardware stamps, or does not tell; where the interface is gone, or down with its card
    /// asleep.
    pub fn setting(&self) -> Result<Setting, Error> {
        let found = self.name_now().and_then(|name| sys::interface::setting(self.socket.as_fd(), &name));
        let found = found.context(Operation::GetSetting, &self.name)?;
        self.typed(Operation::GetSetting, found)
    }

    /// Asks for a setting, and returns what the driver made of it.
    pub(crate) fn set(&self, operation: Operation, setting: Setting) -> Result<Setting, Error> {
        let number = |number: u32| {
            i32::try_from(number).map_err(|_| Error::new(operation, &self.name, Cause::Unsupported("no such mode")))
        };
        let (tx, rx) = (number(setting.tx.number())?, number(setting.rx.number())?);
        let made = self.name_now().and_then(|name| sys::interface::set(self.socket.as_fd(), &name, tx, rx));
        let made = made.context(operation, &self.name)?;
        self.typed(operation, made)
    }

    fn typed(&self, operation: Operation, config: libc::hwtstamp_config) -> Result<Setting, Error> {
        let number = |number: i32| {
            u32::try_from(number)
                .map_err(|_| Error::new(operation, &self.name, Cause::Malformed("a mode with a negative number")))
        };
        Ok(Setting {
            tx: TxMode::from_number(number(config.tx_type)?),
            rx: RxFilter::from_number(number(config.rx_filter)?),
        })
    }

    /// All that can be found out about its timestamps.
    ///
    /// # Errors
    ///
    /// Where the interface is gone, or down with its card asleep.
    pub fn discover(&self) -> Result<Discovery, Error> {
        let timestamping = self.timestamping()?;
        let phc = timestamping.and_then(|timestamping| timestamping.phc);
        let setting = match self.setting() {
            Ok(setting) => Ok(Some(setting)),
            Err(error) if error.is_unsupported() => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Discovery {
            interface: self.name.clone(),
            driver: self.driver()?,
            timestamping,
            phc_name: phc.and_then(inventory::phc_name),
            setting,
            holders: phc.map(inventory::holders).unwrap_or_default(),
        })
    }
}
