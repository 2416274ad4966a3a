//! Before sending.

use std::ffi::c_void;

use crate::{
    Error,
    boundary::{change, change_bytes, guarded, place, read},
};

/// The length in bytes of an echo payload that holds a trailer of 4 records and nothing else. Large public services return
/// only the first 68 bytes of a payload: this one comes back whole.
pub const INSTAMP_DEFAULT_PAYLOAD_LENGTH: usize = 64;
const _: () = assert!(INSTAMP_DEFAULT_PAYLOAD_LENGTH == instamp::DEFAULT_PAYLOAD_LENGTH);

/// The length in bytes of the shortest echo payload that holds a trailer. Shorter ones are sent without.
pub const INSTAMP_MIN_PAYLOAD_LENGTH: usize = 40;
const _: () = assert!(INSTAMP_MIN_PAYLOAD_LENGTH == instamp::MIN_PAYLOAD_LENGTH);

/// A run of probes, whose payloads have one length and, together with the sequence number, one sum: so all of its requests
/// have the same ICMP checksum, and load balancers that hash it keep them on one path.
///
/// `instamp_run_init` fills it in, and `instamp_run_set_cap` and `instamp_run_set_checksum` change it. Its members are there to
/// be read. It can be copied and needs no end, and nothing changes it any more once it is set up: threads may share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Run {
    /// Of each probe, in bytes.
    pub payload_length: u64,
    /// The records of a trailer; 0 where the payloads are too short for one.
    pub cap: u8,
    /// With `checksum`: the messages whose checksum that is.
    pub message_type: u8,
    /// With `checksum`: the messages whose checksum that is.
    pub message_code: u8,
    /// Zero.
    pub reserved_byte: u8,
    /// With `checksum`: the messages whose checksum that is, in the machine's byte order.
    pub identifier: u16,
    /// The checksum that was chosen, in the machine's byte order; 0 where none was.
    pub checksum: u16,
    /// Zeros.
    pub reserved: [u64; 2],
}

impl Run {
    fn of(run: &instamp::Run) -> Self {
        Self { payload_length: run.length() as u64, cap: run.cap().unwrap_or(0), ..Self::default() }
    }

    /// What it stands for. Whatever the memory held, only what `instamp::Run` allows comes of it.
    #[inline]
    fn run(&self) -> Result<instamp::Run, Error> {
        let length = usize::try_from(self.payload_length).map_err(|_| Error::BufferLength)?;
        let mut run = instamp::Run::new(length)?;
        if self.cap != 0 {
            run = run.with_cap(self.cap)?;
        }
        if self.checksum != 0 {
            run = run.with_checksum(self.message_type, self.message_code, self.identifier, self.checksum)?;
        }
        Ok(run)
    }
}

/// Begins a run of probes with payloads of this many bytes: what follows the sequence number in an echo request. From 64 bytes on
/// the trailer has 4 records; below it has fewer, and below `INSTAMP_MIN_PAYLOAD_LENGTH` there is none.
///
/// Fails with `INSTAMP_ERROR_ODD_LENGTH`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_run_init(run: *mut Run, payload_length: usize) -> i32 {
    guarded(|| {
        let run = place(run)?;
        let made = Run::of(&instamp::Run::new(payload_length)?);
        // SAFETY: what is not null is a run's memory, as the header says.
        unsafe { run.write(made) };
        Ok(())
    })
}

/// Gives the trailers of a run room for this many records, 2 to 15, of 12 bytes each.
///
/// Fails with `INSTAMP_ERROR_CAP`, or `INSTAMP_ERROR_ROOM` where the payloads are too short.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_run_set_cap(run: *mut Run, cap: u8) -> i32 {
    guarded(|| {
        // SAFETY: as the header says.
        let run = unsafe { change(run)? };
        run.run()?.with_cap(cap)?;
        run.cap = cap;
        Ok(())
    })
}

/// Chooses the checksum of a run's echo messages of this type, code and identifier: for ICMP, on sockets to which whole
/// messages are written. Where the kernel computes it (ping sockets, ICMPv6) it is constant as well, but not chosen.
///
/// All numbers are in the machine's byte order. Fails with `INSTAMP_ERROR_CHECKSUM` for 0 and 0xffff.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_run_set_checksum(
    run: *mut Run,
    message_type: u8,
    message_code: u8,
    identifier: u16,
    checksum: u16,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header says.
        let run = unsafe { change(run)? };
        run.run()?.with_checksum(message_type, message_code, identifier, checksum)?;
        *run = Run { message_type, message_code, identifier, checksum, ..*run };
        Ok(())
    })
}

/// Tells the checksum of a run's ICMP messages of this type, code and identifier, in the machine's byte order.
///
/// Fails with `INSTAMP_ERROR_ROOM` where the payloads are too short for a trailer that would keep it constant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_run_checksum(
    run: *const Run,
    message_type: u8,
    message_code: u8,
    identifier: u16,
    checksum: *mut u16,
) -> i32 {
    guarded(|| {
        let checksum = place(checksum)?;
        // SAFETY: as the header says.
        let run = unsafe { read(run)? }.run()?;
        let of_run = run.checksum(message_type, message_code, identifier).ok_or(Error::Room)?;
        // SAFETY: what is not null is a number's memory, as the header says.
        unsafe { checksum.write(of_run) };
        Ok(())
    })
}

/// Writes an empty trailer to the end of a payload. The bytes before it are the application's; they stay as they are, and must
/// not change any more before the probe is sent. Where the run's payloads are too short for a trailer nothing is written.
///
/// `length` is that of the run's payloads. `sequence` is the message's sequence number, in the machine's byte order. `nonce`
/// identifies the probe: choose it at random, anew for each, for who can guess it can forge the reply.
///
/// Fails with `INSTAMP_ERROR_BUFFER_LENGTH`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_reserve(
    run: *const Run,
    payload: *mut c_void,
    length: usize,
    sequence: u16,
    nonce: u64,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header says.
        let run = unsafe { read(run)? }.run()?;
        // SAFETY: as the header says.
        let payload = unsafe { change_bytes(payload, length)? };
        Ok(run.reserve(payload, sequence, nonce)?)
    })
}
