//! The flags of `SO_TIMESTAMPING`.

use crate::numbered::numbered;

numbered! {
    /// A flag of `SO_TIMESTAMPING`, and, where an interface lists it, a capability.
    StampFlag {
        /// Makes hardware stamps of sent packets.
        TX_HARDWARE = libc::SOF_TIMESTAMPING_TX_HARDWARE.trailing_zeros(), "hardware-transmit";
        /// Makes software stamps of sent packets, in the driver.
        TX_SOFTWARE = libc::SOF_TIMESTAMPING_TX_SOFTWARE.trailing_zeros(), "software-transmit";
        /// Makes hardware stamps of received packets.
        RX_HARDWARE = libc::SOF_TIMESTAMPING_RX_HARDWARE.trailing_zeros(), "hardware-receive";
        /// Makes software stamps of received packets, when they enter the network stack.
        RX_SOFTWARE = libc::SOF_TIMESTAMPING_RX_SOFTWARE.trailing_zeros(), "software-receive";
        /// Reports software stamps.
        SOFTWARE = libc::SOF_TIMESTAMPING_SOFTWARE.trailing_zeros(), "software-system-clock";
        /// Does nothing any more.
        SYS_HARDWARE = libc::SOF_TIMESTAMPING_SYS_HARDWARE.trailing_zeros(), "hardware-legacy-clock";
        /// Reports hardware stamps.
        RAW_HARDWARE = libc::SOF_TIMESTAMPING_RAW_HARDWARE.trailing_zeros(), "hardware-raw-clock";
        /// Numbers the sent packets from 0, for their stamps to refer to.
        OPT_ID = libc::SOF_TIMESTAMPING_OPT_ID.trailing_zeros(), "option-id";
        /// Makes software stamps of sent packets before they enter the queueing discipline.
        TX_SCHED = libc::SOF_TIMESTAMPING_TX_SCHED.trailing_zeros(), "sched-transmit";
        /// Makes software stamps when the receiver has acknowledged the data: TCP alone.
        TX_ACK = libc::SOF_TIMESTAMPING_TX_ACK.trailing_zeros(), "ack-transmit";
        /// Puts other control messages beside the transmit stamps, too.
        OPT_CMSG = libc::SOF_TIMESTAMPING_OPT_CMSG.trailing_zeros(), "option-cmsg";
        /// Reports transmit stamps without the packet.
        OPT_TSONLY = libc::SOF_TIMESTAMPING_OPT_TSONLY.trailing_zeros(), "option-tsonly";
        /// Puts statistics of TCP beside the transmit stamps.
        OPT_STATS = libc::SOF_TIMESTAMPING_OPT_STATS.trailing_zeros(), "option-stats";
        /// Tells on which interface a hardware stamp was made.
        OPT_PKTINFO = libc::SOF_TIMESTAMPING_OPT_PKTINFO.trailing_zeros(), "option-pktinfo";
        /// Reports software and hardware stamps of the same sent packet.
        OPT_TX_SWHW = libc::SOF_TIMESTAMPING_OPT_TX_SWHW.trailing_zeros(), "option-tx-swhw";
        /// Converts hardware stamps to a virtual PHC. Interfaces list it; [`enable`](super::enable) cannot name the clock.
        BIND_PHC = libc::SOF_TIMESTAMPING_BIND_PHC.trailing_zeros(), "bind-phc";
        /// Begins TCP's numbers of packets where the flag was set.
        OPT_ID_TCP = libc::SOF_TIMESTAMPING_OPT_ID_TCP.trailing_zeros(), "option-id-tcp";
        /// Reports only those receive stamps that this socket asked for (Linux 6.12).
        OPT_RX_FILTER = libc::SOF_TIMESTAMPING_OPT_RX_FILTER.trailing_zeros(), "option-rx-filter";
        /// Makes stamps when the card reports the packet as sent (Linux 6.15).
        TX_COMPLETION = 18, "tx-completion";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Set;

    #[test]
    fn the_flags_are_the_kernels() {
        let all: Set<StampFlag> = Set::from_bits((1 << 19) - 1);
        assert!(all.iter().all(|flag| crate::Numbered::name(flag).is_some()));
        assert_eq!(Set::from(StampFlag::OPT_TX_SWHW).bits(), libc::SOF_TIMESTAMPING_OPT_TX_SWHW);
    }
}
