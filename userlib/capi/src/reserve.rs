//! Before sending.

use std::ffi::c_void;

use instamp::trailer::wire::trailer_length;

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
/// not change any more before the probe is sent. Only they have to be initialized: what is written is not read before. Where the
/// run's payloads are too short for a trailer nothing is read or written.
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
        if length > 0 {
            place(payload)?;
        }
        if length != run.length() {
            return Err(Error::BufferLength);
        }
        let Some(cap) = run.cap() else { return Ok(()) };
        // SAFETY: as the header says. The application's bytes are there, those of the trailer need not be.
        let payload = unsafe { change_bytes(payload, length, trailer_length(cap))? };
        Ok(run.reserve(payload, sequence, nonce)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        INSTAMP_OK,
        tests::{NONCE, reserve, run},
    };

    #[test]
    fn runs_say_what_they_refuse() {
        let mut run = run(64).expect("even");
        assert_eq!((run.payload_length, run.cap), (64, 4));
        assert_eq!(crate::tests::run(65), Err(Error::OddLength.code()));
        assert_eq!(crate::tests::run(38).map(|run| run.cap), Ok(0));
        let before = run;
        // SAFETY: a run of this function.
        let set_cap = |run: &mut Run, cap| unsafe { instamp_run_set_cap(run, cap) };
        for (cap, error) in [(0, Error::Cap), (1, Error::Cap), (5, Error::Room), (16, Error::Cap)] {
            assert_eq!(set_cap(&mut run, cap), error.code());
        }
        for checksum in [0, 0xffff] {
            // SAFETY: a run of this function.
            let code = unsafe { instamp_run_set_checksum(&raw mut run, 8, 0, 1, checksum) };
            assert_eq!(code, Error::Checksum.code());
        }
        assert_eq!(run, before);
        for length in [0, 62, 66] {
            assert_eq!(reserve(&run, &mut vec![0; length]), Error::BufferLength.code());
        }
        assert_eq!(set_cap(&mut run, 2), INSTAMP_OK);
        assert_eq!(run.cap, 2);
    }

    #[test]
    fn a_payload_is_what_the_crate_makes_of_it() {
        for (length, cap) in [(64, None), (40, None), (500, Some(15))] {
            let mut theirs = instamp::Run::new(length).expect("even");
            let mut ours = run(length).expect("even");
            let mut checksum = 0;
            for identifier in [0, 1, 0x1234, 0xffff] {
                if let Some(cap) = cap {
                    theirs = theirs.with_cap(cap).expect("room");
                    // SAFETY: a run of this function.
                    assert_eq!(unsafe { instamp_run_set_cap(&raw mut ours, cap) }, INSTAMP_OK);
                }
                // The default sum first.
                if identifier != 0 {
                    theirs = theirs.with_checksum(8, 0, identifier, 0xbeef).expect("possible");
                    // SAFETY: a run of this function.
                    let code = unsafe { instamp_run_set_checksum(&raw mut ours, 8, 0, identifier, 0xbeef) };
                    assert_eq!(code, INSTAMP_OK);
                }
                let mut payloads = [vec![0xa5; length], vec![0xa5; length]];
                theirs.reserve(&mut payloads[0], 1, NONCE).expect("the right length");
                assert_eq!(reserve(&ours, &mut payloads[1]), INSTAMP_OK);
                assert_eq!(payloads[0], payloads[1]);
                // SAFETY: a run and a number of this function.
                let code = unsafe { instamp_run_checksum(&raw const ours, 8, 0, identifier, &raw mut checksum) };
                assert_eq!((code, Some(checksum)), (INSTAMP_OK, theirs.checksum(8, 0, identifier)));
            }
        }
        let (short, mut checksum) = (run(38).expect("even"), 7);
        // SAFETY: a run and a number of this function.
        let code = unsafe { instamp_run_checksum(&raw const short, 8, 0, 1, &raw mut checksum) };
        assert_eq!((code, checksum), (Error::Room.code(), 7));
    }

    #[test]
    fn only_the_bytes_of_the_application_have_to_be_initialized() {
        for (length, application) in [(64, 0), (68, 4)] {
            let mut payload = Vec::with_capacity(length);
            payload.resize(application, 0xa5);
            let run = run(length).expect("even");
            // SAFETY: a run and memory of this function.
            let code = unsafe { instamp_reserve(&raw const run, payload.as_mut_ptr().cast(), length, 1, NONCE) };
            assert_eq!(code, INSTAMP_OK);
            // SAFETY: the application's bytes and the trailer, which is written.
            unsafe { payload.set_len(length) };
            let mut zeroed = vec![0xa5; application];
            zeroed.resize(length, 0);
            assert_eq!(reserve(&run, &mut zeroed), INSTAMP_OK);
            assert_eq!(payload, zeroed);
        }
    }

    #[test]
    fn whatever_is_in_a_run_a_payload_is_refused_or_written() {
        for payload_length in [0, 1, 40, 62, 64, 65_536, u64::MAX, u64::MAX - 1] {
            for cap in 0..=u8::MAX {
                for checksum in [0, 1, 0xffff] {
                    let garbage = Run { payload_length, cap, checksum, reserved: [u64::MAX; 2], ..Run::default() };
                    let mut payload = [0; 64];
                    let code = reserve(&garbage, &mut payload);
                    let is_written = payload.ends_with(b"IST\x01");
                    assert_eq!(is_written, code == INSTAMP_OK, "{garbage:?}");
                }
            }
        }
    }
}
