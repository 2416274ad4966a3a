//! After receiving: the stamps of a reply.

use std::ffi::{CStr, c_char, c_void};

use instamp::{Phase, strip, trailer};

use crate::{
    Error,
    boundary::{guarded, place, read_all},
};

/// The most records of a trailer.
pub const INSTAMP_MAX_RECORDS: usize = 15;
const _: () = assert!(INSTAMP_MAX_RECORDS == trailer::wire::MAX_CAP as usize);

/// `phase`: the probe was an echo request when it was stamped.
pub const INSTAMP_PHASE_REQUEST: u8 = 0;
/// `phase`: the probe was an echo reply when it was stamped.
pub const INSTAMP_PHASE_REPLY: u8 = 1;

/// `hook`: TC on the way out, after routing and address translation, before the queueing discipline.
pub const INSTAMP_HOOK_TC_EGRESS: u8 = 1;
/// `hook`: TC on the way in, after the softirq's queue and the packet taps.
pub const INSTAMP_HOOK_TC_INGRESS: u8 = 2;
/// `hook`: XDP on the way in, the earliest software point of a network card.
pub const INSTAMP_HOOK_XDP_INGRESS: u8 = 3;
/// `hook`: where the kernel hands the packet to the driver.
pub const INSTAMP_HOOK_DRIVER_TX: u8 = 4;
/// `hook`: the card's own transmit time.
pub const INSTAMP_HOOK_NIC_TX: u8 = 5;
/// `hook`: the card's own receive time.
pub const INSTAMP_HOOK_NIC_RX: u8 = 6;
/// `hook`: XDP on the way out.
pub const INSTAMP_HOOK_XDP_TX: u8 = 7;
/// `hook`: the application, on transports that pass no hook on the way out.
pub const INSTAMP_HOOK_APP_TX: u8 = 8;

/// `clock`: not told.
pub const INSTAMP_CLOCK_UNKNOWN: u8 = 0;
/// `clock`: `CLOCK_MONOTONIC` of the stamping host, in its initial time namespace.
pub const INSTAMP_CLOCK_MONOTONIC: u8 = 1;
/// `clock`: `CLOCK_TAI` of the stamping host.
pub const INSTAMP_CLOCK_TAI: u8 = 2;
/// `clock`: that of the network card, as it reads.
pub const INSTAMP_CLOCK_PHC: u8 = 3;

/// `bound_exponent`: the stamp's error is not known.
pub const INSTAMP_BOUND_UNKNOWN: u8 = 31;

/// One stamp. Numbers that have no meaning in this version stay numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// In nanoseconds of `clock`.
    pub time_ns: u64,
    /// The number of the stamping host.
    pub node: u16,
    /// Of which message the probe was: `INSTAMP_PHASE_*`.
    pub phase: u8,
    /// Which attachment on the stamping host, 0 to 7: 0 is the uplink.
    pub point: u8,
    /// The kind of place, 0 to 15: `INSTAMP_HOOK_*`, see `instamp_hook_name`.
    pub hook: u8,
    /// In which `time_ns` is, 0 to 7: `INSTAMP_CLOCK_*`.
    pub clock: u8,
    /// The error of `time_ns` is at most 2 to the power of this, in nanoseconds; `INSTAMP_BOUND_UNKNOWN`.
    pub bound_exponent: u8,
    /// Zero.
    pub reserved: u8,
}

impl From<&instamp::Record> for Record {
    #[inline]
    fn from(record: &instamp::Record) -> Self {
        Self {
            time_ns: record.time_ns(),
            node: record.node(),
            phase: match record.phase() {
                Phase::Request => INSTAMP_PHASE_REQUEST,
                Phase::Reply => INSTAMP_PHASE_REPLY,
            },
            point: record.point(),
            hook: record.hook().number(),
            clock: record.clock().number(),
            bound_exponent: record.bound().exponent(),
            reserved: 0,
        }
    }
}

impl TryFrom<&Record> for instamp::Record {
    type Error = Error;

    #[inline]
    fn try_from(record: &Record) -> Result<Self, Error> {
        let Record { time_ns, node, phase, point, hook, clock, bound_exponent, reserved: _ } = *record;
        let hook = instamp::Hook::from_number(hook);
        let clock = instamp::Clock::from_number(clock);
        let bound = instamp::Bound::from_exponent(bound_exponent);
        let phase = if phase == INSTAMP_PHASE_REQUEST { Phase::Request } else { Phase::Reply };
        let made = Self::new(phase, point, hook, node, clock, bound, time_ns);
        // What does not fit into a record on the wire has become another number.
        if Record::from(&made) == (Record { reserved: 0, ..*record }) { Ok(made) } else { Err(Error::Record) }
    }
}

/// `flags`: a hook found no free record, for there are more on the way than the probe had records.
pub const INSTAMP_STRIPPED_FULL: u32 = 1;

/// The parts of a reply's payload. It holds copies: the payload need not stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Stripped {
    /// How many bytes before the trailer are the application's.
    pub application_length: u64,
    /// `INSTAMP_STRIPPED_*`
    pub flags: u32,
    /// How many of `records` there are. The others are zeros.
    pub record_count: u32,
    /// The stamps in the order in which they were written, which need not be the order of their times.
    pub records: [Record; INSTAMP_MAX_RECORDS],
    /// Zeros.
    pub reserved: [u64; 2],
}

/// Takes the payload of an echo reply apart, if it has the trailer that was sent with `nonce`.
///
/// The payload is what follows the sequence number of the reply, to the end of the IP packet. It should be as long as it was when
/// it was sent: a shorter one has lost its trailer. It may be at any address.
///
/// Fails with `INSTAMP_ERROR_NO_TRAILER`, `INSTAMP_ERROR_VERSION`, `INSTAMP_ERROR_ODD_LENGTH`, `INSTAMP_ERROR_COUNTS` or
/// `INSTAMP_ERROR_FOREIGN_NONCE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_strip(
    payload: *const c_void,
    length: usize,
    nonce: u64,
    stripped: *mut Stripped,
) -> i32 {
    guarded(|| {
        let place = place(stripped)?;
        // SAFETY: as the header says.
        let payload = unsafe { read_all(payload.cast::<u8>(), length)? };
        let parts = strip(payload, nonce)?;
        let mut stripped = Stripped { application_length: parts.application.len() as u64, ..Stripped::default() };
        if parts.full {
            stripped.flags |= INSTAMP_STRIPPED_FULL;
        }
        for (to, from) in stripped.records.iter_mut().zip(parts.records) {
            *to = from.into();
            stripped.record_count += 1;
        }
        // SAFETY: what is not null is memory for it, as the header says.
        unsafe { place.write(stripped) };
        Ok(())
    })
}

/// The name of a kind of place: `tc-egress`, or `hook-9` for a number without a meaning. Valid for ever, and never null.
#[unsafe(no_mangle)]
pub extern "C" fn instamp_hook_name(hook: u8) -> *const c_char {
    const NAMES: [&CStr; 16] = [
        c"empty",
        c"tc-egress",
        c"tc-ingress",
        c"xdp-ingress",
        c"driver-tx",
        c"nic-tx",
        c"nic-rx",
        c"xdp-tx",
        c"app-tx",
        c"hook-9",
        c"hook-10",
        c"hook-11",
        c"hook-12",
        c"hook-13",
        c"hook-14",
        c"hook-15",
    ];
    NAMES.get(usize::from(hook)).copied().unwrap_or(c"no hook").as_ptr()
}

#[cfg(test)]
mod tests {
    use instamp::{Clock, Hook};

    use super::*;

    #[test]
    fn hooks_and_clocks_have_the_numbers_and_names_of_the_format() {
        for number in 0..16 {
            // SAFETY: it is static text.
            let name = unsafe { CStr::from_ptr(instamp_hook_name(number)) };
            assert_eq!(name.to_str(), Ok(&*Hook::from_number(number).to_string()));
        }
        let hooks = [
            (INSTAMP_HOOK_TC_EGRESS, Hook::TC_EGRESS),
            (INSTAMP_HOOK_TC_INGRESS, Hook::TC_INGRESS),
            (INSTAMP_HOOK_XDP_INGRESS, Hook::XDP_INGRESS),
            (INSTAMP_HOOK_DRIVER_TX, Hook::DRIVER_TX),
            (INSTAMP_HOOK_NIC_TX, Hook::NIC_TX),
            (INSTAMP_HOOK_NIC_RX, Hook::NIC_RX),
            (INSTAMP_HOOK_XDP_TX, Hook::XDP_TX),
            (INSTAMP_HOOK_APP_TX, Hook::APP_TX),
        ];
        assert!(hooks.iter().all(|(number, hook)| *number == hook.number()));
        let clocks = [
            (INSTAMP_CLOCK_UNKNOWN, Clock::UNKNOWN),
            (INSTAMP_CLOCK_MONOTONIC, Clock::MONOTONIC),
            (INSTAMP_CLOCK_TAI, Clock::TAI),
            (INSTAMP_CLOCK_PHC, Clock::PHC),
        ];
        assert!(clocks.iter().all(|(number, clock)| *number == clock.number()));
        assert_eq!(INSTAMP_BOUND_UNKNOWN, instamp::Bound::UNKNOWN.exponent());
    }
}
