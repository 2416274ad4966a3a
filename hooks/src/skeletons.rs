//! The programs in C, as libbpf loads them.
//!
//! libbpf writes what goes wrong to standard error unless it is told not to: here errors are returned.

#![expect(unsafe_code, reason = "what libbpf-cargo generates has it")]

macro_rules! skeleton {
    ($name:ident, $file:literal) => {
        #[allow(
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::multiple_unsafe_ops_per_block,
            clippy::semicolon_if_nothing_returned,
            clippy::undocumented_unsafe_blocks,
            clippy::uninlined_format_args,
            clippy::unwrap_used,
            missing_docs,
            unreachable_pub,
            reason = "generated"
        )]
        mod $name {
            include!(concat!(env!("OUT_DIR"), $file));
        }
    };
}

skeleton!(driver_tx, "/driver_tx.rs");
skeleton!(nic_tx, "/nic_tx.rs");
skeleton!(nic_rx, "/nic_rx.rs");
skeleton!(watch, "/watch.rs");

pub(crate) use driver_tx::DriverTxSkelBuilder;
pub(crate) use nic_rx::NicRxSkelBuilder;
pub(crate) use nic_tx::NicTxSkelBuilder;
pub(crate) use watch::WatchSkelBuilder;

/// Says nothing by itself.
pub(crate) fn quiet() {
    libbpf_rs::set_print(None);
}
