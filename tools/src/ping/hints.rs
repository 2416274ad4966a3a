//! What to do about stamps that are missing. Each hint is given once.

use instamp::{
    MIN_PAYLOAD_LENGTH, Uncorrected,
    prober::Reply,
    trailer::wire::{MAX_CAP, trailer_length},
};

/// What to do where hooks are attached.
const NOT_STAMPED: &str = "If it is, `instamp status` there counts why probes were not stamped; `policy`: their source \
                           address is neither one of the host's own nor in a `--source`";

/// What a hint is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Uncorrected(Uncorrected),
    /// A hook found no free record.
    Full,
}

pub(super) struct Hints {
    payload_bytes: usize,
    given: Vec<Subject>,
}

impl Hints {
    /// For probes with a payload of this length.
    pub(super) fn new(payload_bytes: usize) -> Self {
        Self { payload_bytes, given: Vec::new() }
    }

    /// The hint that this reply calls for, unless it was given.
    pub(super) fn after(&mut self, reply: &Reply) -> Option<String> {
        let subject = match reply.correction {
            Err(reason) => Subject::Uncorrected(reason),
            Ok(_) if reply.full => Subject::Full,
            Ok(_) => return None,
        };
        if self.given.contains(&subject) {
            return None;
        }
        self.given.push(subject);
        Some(match subject {
            Subject::Uncorrected(Uncorrected::NoStamps) if self.payload_bytes < MIN_PAYLOAD_LENGTH => format!(
                "uncorrected: a payload of {} bytes has no room for stamps; use -s {MIN_PAYLOAD_LENGTH} or more",
                self.payload_bytes
            ),
            Subject::Uncorrected(reason @ Uncorrected::NoStamps) => format!("uncorrected: {reason} {NOT_STAMPED}"),
            Subject::Uncorrected(reason) => format!("uncorrected: {reason}"),
            Subject::Full => {
                let cap = u8::try_from(reply.stamps.len() + 4).unwrap_or(MAX_CAP).min(MAX_CAP);
                let size = trailer_length(cap);
                format!("a hook had no room for its stamp: the stages are not complete; use --cap {cap} -s {size}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ping::samples;

    #[test]
    fn each_is_given_once() {
        let mut hints = Hints::new(64);
        assert_eq!(hints.after(&samples::reply(1)), None);
        let unstamped = samples::uncorrected(2, Uncorrected::NoStamps);
        let hint = "uncorrected: no stamps; is `instamp attach` active on the egress device? If it is, `instamp status` \
                    there counts why probes were not stamped; `policy`: their source address is neither one of the \
                    host's own nor in a `--source`";
        assert_eq!(hints.after(&unstamped).as_deref(), Some(hint));
        assert_eq!(hints.after(&unstamped), None);
        let truncated = samples::uncorrected(3, Uncorrected::Truncated);
        assert!(hints.after(&truncated).is_some_and(|hint| hint.starts_with("uncorrected: ")));
    }

    #[test]
    fn a_payload_without_room_is_told_apart_from_hooks_that_are_missing() {
        let hint = "uncorrected: a payload of 30 bytes has no room for stamps; use -s 40 or more";
        let unstamped = samples::uncorrected(1, Uncorrected::NoStamps);
        assert_eq!(Hints::new(30).after(&unstamped).as_deref(), Some(hint));
    }

    #[test]
    fn a_full_trailer_calls_for_a_larger_one() {
        let full = Reply { full: true, ..samples::reply(1) };
        let hint = "a hook had no room for its stamp: the stages are not complete; use --cap 6 -s 88";
        assert_eq!(Hints::new(64).after(&full).as_deref(), Some(hint));
    }
}
