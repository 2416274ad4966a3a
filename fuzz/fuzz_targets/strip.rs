//! Any bytes may come back as a payload: reading them must not fail, and a correction must add up.
#![no_main]

use instamp::{correct, strip, trailer::Trailer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u64, bool, Vec<u8>)| {
    let (sent_ns, received_ns, with_magic, mut payload) = input;
    if with_magic {
        payload.extend_from_slice(b"IST\x01");
    }
    let Ok(trailer) = Trailer::parse(&payload) else {
        assert!(strip(&payload, 0).is_err());
        return;
    };
    let nonce = trailer.footer.nonce();
    let stripped = strip(&payload, nonce).expect("what parses strips");
    assert!(stripped.application.len() < payload.len());
    assert!(strip(&payload, !nonce).is_err(), "another's nonce");
    if let Ok(correction) = correct(stripped.records, sent_ns, received_ns) {
        let remote = correction.remote_ns.unwrap_or(0);
        let sum = [correction.tx_stack_ns, correction.net_ns, remote, correction.rx_stack_ns]
            .iter()
            .map(|part| i128::from(*part))
            .sum::<i128>();
        assert_eq!(sum, i128::from(correction.rtt_ns));
    }
});
