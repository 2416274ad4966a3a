//! Which replies go past the stack.

use instamp_trailer::{
    Footer, Hook, Phase, Probe, Record, RunKey, is_steered, locate,
    wire::{State, trailer_length},
};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

const MAC: u64 = 0x89_abcd_ef01;

/// An IPv4 echo message whose trailer has `cap` records, `used` of them used, the first of this hook.
#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    nonce: u64,
    hook: Hook,
    cap: u8,
    used: u8,
}

impl Frame {
    fn bytes(self) -> Vec<u8> {
        let length = u16::try_from(28 + trailer_length(self.cap)).expect("a length");
        let mut bytes = vec![0x02; 12];
        bytes.extend([0x08, 0x00, 0x45, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 1, 0, 0, 198, 51, 100, 2, 192, 0, 2, 1]);
        bytes.extend([self.kind, 0, 0, 0, 0, 1, 0, 2]);
        let clock = instamp_trailer::Clock::MONOTONIC;
        let bound = instamp_trailer::Bound::UNKNOWN;
        bytes.extend(Record::new(Phase::Request, 0, self.hook, 7, clock, bound, 1).as_bytes());
        bytes.resize(bytes.len() + usize::from(self.cap - 1) * 12, 0);
        bytes.extend(Footer::new(self.nonce, State::new(0, self.cap)).as_bytes());
        let counts = bytes.len() - 6;
        bytes[counts] |= self.used << 4;
        bytes
    }

    fn is_steered(self, run: RunKey) -> bool {
        let bytes = self.bytes();
        is_steered(bytes.as_slice(), &located(&bytes), run)
    }
}

fn located(bytes: &[u8]) -> Probe {
    locate(bytes).expect("a probe")
}

fn key(number: u32) -> RunKey {
    RunKey::new(number).expect("a key")
}

#[test]
fn a_reply_of_the_run_whose_request_is_of_the_application_is_steered() {
    let run = key(0x00ab_cdef);
    let reply = Frame { kind: 0, nonce: run.nonce(MAC), hook: Hook::APP_TX, cap: 4, used: 1 };
    assert!(reply.is_steered(run));
    let cases = [
        ("full", Frame { used: 4, ..reply }, true),
        ("of many records", Frame { cap: 15, used: 9, ..reply }, true),
        ("another MAC", Frame { nonce: run.nonce(!MAC), ..reply }, true),
        ("the request", Frame { kind: 8, ..reply }, false),
        ("another run's", Frame { nonce: key(0x00ab_cdee).nonce(MAC), ..reply }, false),
        ("of no run", Frame { nonce: MAC, ..reply }, false),
        ("from the stack", Frame { hook: Hook::TC_EGRESS, ..reply }, false),
        ("no record used", Frame { used: 0, ..reply }, false),
    ];
    for (name, frame, expected) in cases {
        assert_eq!(frame.is_steered(run), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn steering_looks_at_key_phase_and_first_hook_alone(
        number in 1_u32..1 << 24,
        nonce: u64,
        is_of_run: bool,
        is_reply: bool,
        is_of_application: bool,
        cap in 2_u8..=15,
        used in 0_u8..=15,
    ) {
        let run = key(number);
        let nonce = if is_of_run { run.nonce(nonce) } else { nonce };
        let hook = if is_of_application { Hook::APP_TX } else { Hook::TC_EGRESS };
        let used = used.min(cap);
        let frame = Frame { kind: if is_reply { 0 } else { 8 }, nonce, hook, cap, used };
        let expected = is_reply && RunKey::of(nonce) == number && is_of_application && used > 0;
        prop_assert_eq!(frame.is_steered(run), expected);
    }
}
