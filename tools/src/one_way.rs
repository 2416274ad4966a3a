//! The ways of a probe as the JSON outputs show them.

use instamp::OneWay;
use serde::Serialize;

/// What is known of the ways of a probe: `null` where the far end has not told.
#[derive(Serialize, Default)]
pub(crate) struct OneWayMembers {
    forward_ns: Option<i64>,
    backward_ns: Option<i64>,
    one_way_bound_ns: Option<u64>,
}

impl From<Option<OneWay>> for OneWayMembers {
    fn from(one_way: Option<OneWay>) -> Self {
        one_way.map_or_else(Self::default, |OneWay { forward_ns, backward_ns, bound_ns }| Self {
            forward_ns: Some(forward_ns),
            backward_ns: Some(backward_ns),
            one_way_bound_ns: bound_ns,
        })
    }
}
