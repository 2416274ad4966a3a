//! From stamps to an answer.

use std::ffi::c_void;

use instamp::{correct, strip};

use crate::{
    Error, INSTAMP_MAX_RECORDS, Record,
    boundary::{guarded, place, read_all},
};

/// `flags`: `remote_ns` is known. Without it that is 0, and what the remote took is part of `net_ns`.
pub const INSTAMP_CORRECTION_REMOTE_KNOWN: u32 = 1;
/// `flags`: `bound_ns` is known.
pub const INSTAMP_CORRECTION_BOUND_KNOWN: u32 = 2;
/// `flags`: `nic_net_ns` is known.
pub const INSTAMP_CORRECTION_NIC_NET_KNOWN: u32 = 4;
/// `flags`: `nic_net_bound_ns` is known.
pub const INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN: u32 = 8;
/// `flags`: a stamp of this host's network card is in the card's own clock, and so took no part in `net_ns`.
pub const INSTAMP_CORRECTION_NIC_LEFT_OUT: u32 = 16;
/// `flags`: one of the times is negative. Nothing is clamped: a far end that lies can make it so, or the error
/// of a card's converted stamp.
pub const INSTAMP_CORRECTION_NEGATIVE: u32 = 32;

/// Where the time of one probe went, in nanoseconds: `rtt_ns = tx_stack_ns + net_ns + remote_ns + rx_stack_ns`, exactly.
///
/// What is not known is 0, and `flags` tells which is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Correction {
    /// Application receive minus application send.
    pub rtt_ns: i64,
    /// First local stamp on the reply minus last local stamp on the request, minus `remote_ns`.
    pub net_ns: i64,
    /// The residence on the remote node; 0 where no remote stamped. See `INSTAMP_CORRECTION_REMOTE_KNOWN`.
    pub remote_ns: i64,
    /// Last local stamp on the request minus application send.
    pub tx_stack_ns: i64,
    /// Application receive minus first local stamp on the reply.
    pub rx_stack_ns: i64,
    /// The largest error of the clock readings and conversions behind `net_ns`. See `INSTAMP_CORRECTION_BOUND_KNOWN`.
    pub bound_ns: u64,
    /// The same as `net_ns` by the network card's own transmit and receive time alone; no part of the sum. See
    /// `INSTAMP_CORRECTION_NIC_NET_KNOWN`.
    pub nic_net_ns: i64,
    /// The largest error of `nic_net_ns`. See `INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN`.
    pub nic_net_bound_ns: u64,
    /// `INSTAMP_CORRECTION_*`
    pub flags: u32,
    /// The hook of the last local stamp on the request, by which `net_ns` was made: `INSTAMP_HOOK_*`
    pub request_hook: u8,
    /// Its point.
    pub request_point: u8,
    /// The hook of the first local stamp on the reply, by which `net_ns` was made: `INSTAMP_HOOK_*`
    pub reply_hook: u8,
    /// Its point.
    pub reply_point: u8,
    /// Zeros.
    pub reserved: [u64; 7],
}

impl From<instamp::Correction> for Correction {
    #[inline]
    fn from(correction: instamp::Correction) -> Self {
        let instamp::Correction { rtt_ns, net_ns, tx_stack_ns, rx_stack_ns, net_source, .. } = correction;
        let flags = [
            (correction.remote_ns.is_some(), INSTAMP_CORRECTION_REMOTE_KNOWN),
            (correction.bound_ns.is_some(), INSTAMP_CORRECTION_BOUND_KNOWN),
            (correction.nic_net_ns.is_some(), INSTAMP_CORRECTION_NIC_NET_KNOWN),
            (correction.nic_net_bound_ns.is_some(), INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN),
            (correction.nic_left_out, INSTAMP_CORRECTION_NIC_LEFT_OUT),
            (correction.negative, INSTAMP_CORRECTION_NEGATIVE),
        ];
        Self {
            rtt_ns,
            net_ns,
            remote_ns: correction.remote_ns.unwrap_or(0),
            tx_stack_ns,
            rx_stack_ns,
            bound_ns: correction.bound_ns.unwrap_or(0),
            nic_net_ns: correction.nic_net_ns.unwrap_or(0),
            nic_net_bound_ns: correction.nic_net_bound_ns.unwrap_or(0),
            flags: flags.into_iter().filter(|(is_so, _)| *is_so).fold(0, |flags, (_, flag)| flags | flag),
            request_hook: net_source.request.number(),
            request_point: net_source.request_point,
            reply_hook: net_source.reply.number(),
            reply_point: net_source.reply_point,
            reserved: [0; 7],
        }
    }
}

/// Splits an RTT by the stamps of a probe, in the order in which they were written: `records` and `record_count` of what
/// `instamp_strip` has told.
///
/// `sent_ns` and `received_ns` are the application's readings of `CLOCK_MONOTONIC`, taken right before its send call and right
/// behind its receive call. In a time namespace take off `instamp_time_namespace_offset_ns`.
///
/// Fails with `INSTAMP_ERROR_NO_STAMPS`, `INSTAMP_ERROR_NO_REQUEST_STAMP`, `INSTAMP_ERROR_NO_REPLY_STAMP`,
/// `INSTAMP_ERROR_CLOCK_MISMATCH` or `INSTAMP_ERROR_NODE_CONFLICT`: the reply has an RTT only. With `INSTAMP_ERROR_RECORD` where
/// the records are none that were stripped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_correct(
    records: *const Record,
    record_count: u32,
    sent_ns: u64,
    received_ns: u64,
    correction: *mut Correction,
) -> i32 {
    guarded(|| {
        let place = place(correction)?;
        let count = record_count as usize;
        if count > INSTAMP_MAX_RECORDS {
            return Err(Error::Record);
        }
        // SAFETY: as the header says.
        let records = unsafe { read_all(records, count)? };
        let mut on_wire = [instamp::Record::EMPTY; INSTAMP_MAX_RECORDS];
        for (to, from) in on_wire.iter_mut().zip(records) {
            *to = from.try_into()?;
        }
        let (on_wire, _) = on_wire.split_at(count);
        let corrected = correct(on_wire, sent_ns, received_ns)?.into();
        // SAFETY: what is not null is memory for it, as the header says.
        unsafe { place.write(corrected) };
        Ok(())
    })
}

/// Does what `instamp_strip` and `instamp_correct` do, without copying the stamps: for probers that want the times alone.
///
/// Fails as they do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_strip_correct(
    payload: *const c_void,
    length: usize,
    nonce: u64,
    sent_ns: u64,
    received_ns: u64,
    correction: *mut Correction,
) -> i32 {
    guarded(|| {
        let place = place(correction)?;
        // SAFETY: as the header says.
        let payload = unsafe { read_all(payload.cast::<u8>(), length)? };
        let corrected = correct(strip(payload, nonce)?.records, sent_ns, received_ns)?.into();
        // SAFETY: what is not null is memory for it, as the header says.
        unsafe { place.write(corrected) };
        Ok(())
    })
}
