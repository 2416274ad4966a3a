//! What the kernel counts.

/// What the kernel has counted since the channel was opened (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Received frames that were dropped: there was no free frame, or they were longer than one.
    pub receive_dropped: u64,
    /// Received frames that were dropped because those before had not been taken: the ring was full.
    pub receive_ring_full: u64,
    /// How often the kernel looked for a free frame and found none.
    pub fill_ring_empty: u64,
    /// How often it looked for a frame to send and found none.
    pub transmit_ring_empty: u64,
    /// Received frames that were dropped because their descriptor was invalid.
    pub receive_invalid: u64,
    /// Frames to be sent that made no sense to the kernel, and were dropped.
    pub transmit_invalid: u64,
}

impl From<libc::xdp_statistics> for Statistics {
    fn from(counted: libc::xdp_statistics) -> Self {
        Self {
            receive_dropped: counted.rx_dropped,
            receive_ring_full: counted.rx_ring_full,
            fill_ring_empty: counted.rx_fill_ring_empty_descs,
            transmit_ring_empty: counted.tx_ring_empty_descs,
            receive_invalid: counted.rx_invalid_descs,
            transmit_invalid: counted.tx_invalid_descs,
        }
    }
}
