//! Which packets a card stamps: one setting for the whole card, whoever uses it.

use std::fmt;

use crate::{Cause, Error, Holders, Interface, Operation, inventory, numbered::numbered};

numbered! {
    /// Which packets get a transmit timestamp: the kernel's `enum hwtstamp_tx_types`.
    TxMode {
        /// None.
        OFF = libc::HWTSTAMP_TX_OFF, "off";
        /// Those whose sender asks for it.
        ON = libc::HWTSTAMP_TX_ON, "on";
        /// Likewise, and the card writes the time into PTP's Sync messages.
        ONESTEP_SYNC = libc::HWTSTAMP_TX_ONESTEP_SYNC, "onestep-sync";
        /// Likewise, and into its peer delay responses.
        ONESTEP_P2P = libc::HWTSTAMP_TX_ONESTEP_P2P, "onestep-p2p";
    }
}

numbered! {
    /// Which packets get a receive timestamp: the kernel's `enum hwtstamp_rx_filters`.
    RxFilter {
        /// None.
        NONE = libc::HWTSTAMP_FILTER_NONE, "none";
        /// All: what measurement needs, and what cards made for PTP alone refuse.
        ALL = libc::HWTSTAMP_FILTER_ALL, "all";
        /// More than was asked for.
        SOME = libc::HWTSTAMP_FILTER_SOME, "some";
        /// PTP version 1 over UDP, all event messages.
        PTP_V1_L4_EVENT = libc::HWTSTAMP_FILTER_PTP_V1_L4_EVENT, "ptpv1-l4-event";
        /// PTP version 1 over UDP, Sync.
        PTP_V1_L4_SYNC = libc::HWTSTAMP_FILTER_PTP_V1_L4_SYNC, "ptpv1-l4-sync";
        /// PTP version 1 over UDP, delay requests.
        PTP_V1_L4_DELAY_REQ = libc::HWTSTAMP_FILTER_PTP_V1_L4_DELAY_REQ, "ptpv1-l4-delay-req";
        /// PTP version 2 over UDP, all event messages.
        PTP_V2_L4_EVENT = libc::HWTSTAMP_FILTER_PTP_V2_L4_EVENT, "ptpv2-l4-event";
        /// PTP version 2 over UDP, Sync.
        PTP_V2_L4_SYNC = libc::HWTSTAMP_FILTER_PTP_V2_L4_SYNC, "ptpv2-l4-sync";
        /// PTP version 2 over UDP, delay requests.
        PTP_V2_L4_DELAY_REQ = libc::HWTSTAMP_FILTER_PTP_V2_L4_DELAY_REQ, "ptpv2-l4-delay-req";
        /// PTP version 2 over Ethernet, all event messages.
        PTP_V2_L2_EVENT = libc::HWTSTAMP_FILTER_PTP_V2_L2_EVENT, "ptpv2-l2-event";
        /// PTP version 2 over Ethernet, Sync.
        PTP_V2_L2_SYNC = libc::HWTSTAMP_FILTER_PTP_V2_L2_SYNC, "ptpv2-l2-sync";
        /// PTP version 2 over Ethernet, delay requests.
        PTP_V2_L2_DELAY_REQ = libc::HWTSTAMP_FILTER_PTP_V2_L2_DELAY_REQ, "ptpv2-l2-delay-req";
        /// PTP version 2 over any transport, all event messages.
        PTP_V2_EVENT = libc::HWTSTAMP_FILTER_PTP_V2_EVENT, "ptpv2-event";
        /// PTP version 2 over any transport, Sync.
        PTP_V2_SYNC = libc::HWTSTAMP_FILTER_PTP_V2_SYNC, "ptpv2-sync";
        /// PTP version 2 over any transport, delay requests.
        PTP_V2_DELAY_REQ = libc::HWTSTAMP_FILTER_PTP_V2_DELAY_REQ, "ptpv2-delay-req";
        /// NTP packets.
        NTP_ALL = libc::HWTSTAMP_FILTER_NTP_ALL, "ntp-all";
    }
}

/// Which packets a card stamps: the kernel's `struct hwtstamp_config`.
///
/// Without its flags, which are set to none. The only one, `HWTSTAMP_FLAG_BONDED_PHC_INDEX`, lets a bond pass the setting on to
/// its active port: set the ports themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Of those that are sent.
    pub tx: TxMode,
    /// Of those that are received.
    pub rx: RxFilter,
}

impl Setting {
    /// Nothing is stamped: how cards start.
    pub const OFF: Self = Self { tx: TxMode::OFF, rx: RxFilter::NONE };

    /// Whether all packets that `wanted` stamps are surely stamped with this setting too: of filters, [`RxFilter::ALL`] alone
    /// is known to include others.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        (wanted.tx == TxMode::OFF || wanted.tx == self.tx)
            && (wanted.rx == RxFilter::NONE || wanted.rx == self.rx || self.rx == RxFilter::ALL)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "transmit {}, receive {}", self.tx, self.rx)
    }
}

/// A change of a card's setting, with what is needed to undo it later, even in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of the network interface: it stays when the name changes.
    pub index: u32,
    /// The name that it had.
    pub interface: String,
    /// What was in force before.
    pub found: Setting,
    /// What the driver has made of the setting asked for: drivers may stamp more.
    pub made: Setting,
}

impl Change {
    /// Asks for `wanted`, unless what is in force covers that already.
    ///
    /// A card that somebody else has set is not touched: a setting other than [`Setting::OFF`] is not ours.
    ///
    /// # Errors
    ///
    /// [`Cause::Owned`] where somebody else has set the card otherwise; where the driver has no timestamps, cannot stamp
    /// these packets, or does not tell what is in force; without privilege.
    pub fn make(interface: &Interface, wanted: Setting) -> Result<Self, Error> {
        Self::make_on(interface, wanted)
    }

    fn make_on(card: &impl Card, wanted: Setting) -> Result<Self, Error> {
        let found = card.setting()?;
        let made = if found.covers(wanted) {
            found
        } else if found == Setting::OFF {
            card.set(Operation::Configure, wanted)?
        } else {
            let cause = Cause::Owned(format!(
                "somebody else has set it ({found}; its clock is open in {}): stop that first, or run `hwstamp_ctl -i {} -t 0 -r 0` if it is a leftover",
                card.holders(),
                card.name()
            ));
            return Err(Error::new(Operation::Configure, card.name(), cause));
        };
        Ok(Self { index: card.index(), interface: card.name().to_owned(), found, made })
    }

    /// Whether there is anything to undo.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.found != self.made
    }

    /// Puts back what was found, on the interface with the number in this network namespace, whatever its name is now.
    ///
    /// # Errors
    ///
    /// [`Cause::Owned`] where somebody else has changed the setting since, which is then left as it is; where the interface is
    /// gone; without privilege.
    pub fn undo(&self) -> Result<(), Error> {
        self.undo_on(&Interface::open_index(self.index)?)
    }

    fn undo_on(&self, card: &impl Card) -> Result<(), Error> {
        let failed = |cause| Err(Error::new(Operation::Restore, card.name(), cause));
        if !self.is_change() {
            return Ok(());
        }
        let now = card.setting()?;
        if now == self.found {
            return Ok(());
        }
        if now != self.made {
            return failed(Cause::Owned(format!("somebody has changed it to {now} since: left as it is")));
        }
        if card.set(Operation::Restore, self.found)? != self.found {
            return failed(Cause::Malformed("the driver made something else of the setting that it had before"));
        }
        Ok(())
    }
}

/// What changes need of an interface.
trait Card {
    fn name(&self) -> &str;
    fn index(&self) -> u32;
    fn setting(&self) -> Result<Setting, Error>;
    /// What the driver made of `setting`.
    fn set(&self, operation: Operation, setting: Setting) -> Result<Setting, Error>;
    /// Who has its clock open.
    fn holders(&self) -> Holders;
}

impl Card for Interface {
    fn name(&self) -> &str {
        self.name()
    }

    fn index(&self) -> u32 {
        self.index()
    }

    fn setting(&self) -> Result<Setting, Error> {
        self.setting()
    }

    fn set(&self, operation: Operation, setting: Setting) -> Result<Setting, Error> {
        self.set(operation, setting)
    }

    fn holders(&self) -> Holders {
        let phc = self.timestamping().ok().flatten().and_then(|timestamping| timestamping.phc);
        phc.map(inventory::holders).unwrap_or_default()
    }
}

/// A change of a card's setting that is undone when this is dropped.
///
/// ```no_run
/// use hwtstamp::{ConfigGuard, Interface, RxFilter, Setting, TxMode};
///
/// # fn main() -> Result<(), hwtstamp::Error> {
/// let card = Interface::open("eth1")?;
/// let guard = ConfigGuard::set(&card, Setting { tx: TxMode::ON, rx: RxFilter::NONE })?;
/// // ... send packets and receive their timestamps ...
/// guard.restore()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it undoes the change"]
pub struct ConfigGuard<'card> {
    card: &'card Interface,
    change: Option<Change>,
}

impl<'card> ConfigGuard<'card> {
    /// Makes the [`Change`], until it is dropped.
    ///
    /// # Errors
    ///
    /// As [`Change::make`].
    pub fn set(card: &'card Interface, wanted: Setting) -> Result<Self, Error> {
        Change::make(card, wanted).map(|change| Self { card, change: Some(change) })
    }

    /// Puts back what was found, and says whether that worked, which dropping cannot.
    ///
    /// # Errors
    ///
    /// As [`Change::undo`].
    pub fn restore(mut self) -> Result<(), Error> {
        self.change.take().map_or(Ok(()), |change| change.undo_on(self.card))
    }

    /// Leaves the change in force: to be [undone](Change::undo) later, perhaps by another process.
    #[must_use = "it alone can undo the change"]
    pub fn keep(mut self) -> Change {
        self.change.take().expect("the change leaves only with the guard")
    }

    /// What was found, and what is in force.
    #[must_use]
    pub fn change(&self) -> &Change {
        self.change.as_ref().expect("the change leaves only with the guard")
    }
}

impl Drop for ConfigGuard<'_> {
    fn drop(&mut self) {
        if let Some(change) = self.change.take() {
            // Whoever wants to know calls `restore`.
            let _ = change.undo_on(self.card);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::Cell;

    use nix::errno::Errno;

    use super::*;
    use crate::Holder;

    /// A card for PTP alone: it stamps all event messages or none.
    struct Fake {
        setting: Cell<Setting>,
    }

    impl Fake {
        fn new(setting: Setting) -> Self {
            Self { setting: Cell::new(setting) }
        }
    }

    impl Card for Fake {
        fn name(&self) -> &'static str {
            "card"
        }

        fn index(&self) -> u32 {
            7
        }

        fn setting(&self) -> Result<Setting, Error> {
            Ok(self.setting.get())
        }

        fn set(&self, operation: Operation, setting: Setting) -> Result<Setting, Error> {
            let rx = match setting.rx {
                RxFilter::NONE => RxFilter::NONE,
                RxFilter::ALL => return Err(Error::new(operation, "card", Errno::ERANGE)),
                _ => RxFilter::PTP_V2_EVENT,
            };
            self.setting.set(Setting { tx: setting.tx, rx });
            Ok(self.setting.get())
        }

        fn holders(&self) -> Holders {
            let daemon = Holder { pid: 7, command: "ptp4l".to_owned(), may_steer: true };
            Holders { seen: vec![daemon], hidden: 0 }
        }
    }

    const SYNC: Setting = Setting { tx: TxMode::ON, rx: RxFilter::PTP_V2_SYNC };
    const EVENT: Setting = Setting { tx: TxMode::ON, rx: RxFilter::PTP_V2_EVENT };

    #[test]
    fn what_is_stamped_already_needs_no_change() {
        let setting = |tx, rx| Setting { tx, rx };
        let on_all = setting(TxMode::ON, RxFilter::ALL);
        assert!(on_all.covers(on_all) && on_all.covers(Setting::OFF));
        assert!(on_all.covers(setting(TxMode::ON, RxFilter::PTP_V2_EVENT)));
        assert!(on_all.covers(setting(TxMode::OFF, RxFilter::NTP_ALL)));
        assert!(!on_all.covers(setting(TxMode::ONESTEP_SYNC, RxFilter::NONE)));
        assert!(!Setting::OFF.covers(setting(TxMode::ON, RxFilter::NONE)));
        assert!(!setting(TxMode::ON, RxFilter::PTP_V2_EVENT).covers(on_all));
        assert_eq!(on_all.to_string(), "transmit on, receive all");

        let card = Fake::new(EVENT);
        let change = Change::make_on(&card, Setting { tx: TxMode::ON, rx: RxFilter::NONE }).unwrap();
        assert!(!change.is_change());
        // Its owner may even switch it off meanwhile.
        card.setting.set(Setting::OFF);
        change.undo_on(&card).unwrap();
        assert_eq!(card.setting.get(), Setting::OFF);
    }

    #[test]
    fn a_change_is_undone_though_the_driver_made_more_of_it() {
        let card = Fake::new(Setting::OFF);
        let change = Change::make_on(&card, SYNC).unwrap();
        assert_eq!((change.found, change.made), (Setting::OFF, EVENT));
        change.undo_on(&card).unwrap();
        assert_eq!(card.setting.get(), Setting::OFF);
        change.undo_on(&card).unwrap();
    }

    #[test]
    fn the_setting_of_another_is_left_alone() {
        let card = Fake::new(EVENT);
        let error = Change::make_on(&card, Setting { tx: TxMode::ON, rx: RxFilter::ALL }).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("transmit on, receive ptpv2-event") && message.contains("ptp4l (pid 7)"), "{message}");
        assert_eq!(card.setting.get(), EVENT);

        let card = Fake::new(Setting::OFF);
        let change = Change::make_on(&card, EVENT).unwrap();
        let another = Setting { tx: TxMode::ONESTEP_SYNC, rx: RxFilter::PTP_V2_EVENT };
        card.setting.set(another);
        let error = change.undo_on(&card).unwrap_err();
        assert!(matches!(error.cause(), Cause::Owned(_)) && error.operation() == Operation::Restore, "{error}");
        assert_eq!(card.setting.get(), another);
    }

    #[test]
    fn what_the_card_cannot_stamp_is_refused() {
        let card = Fake::new(Setting::OFF);
        let error = Change::make_on(&card, Setting { tx: TxMode::OFF, rx: RxFilter::ALL }).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ERANGE));
        assert_eq!(card.setting.get(), Setting::OFF);
    }
}
