//! Packet captures: the witness that knows nothing of trailers.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
    net::IpAddr,
    process::{Child, ChildStderr, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pcap_parser::pcap::PcapCapture;
use pnet_packet::{
    Packet as _,
    ethernet::{EtherTypes, EthernetPacket},
    icmp::{self, IcmpPacket},
    icmpv6::{self, Icmpv6Packet},
    ip::IpNextHeaderProtocols,
    ipv4::{self, Ipv4Packet},
    ipv6::Ipv6Packet,
};

use crate::lab::Lab;

/// The filter for the echo messages of both versions of IP.
pub const ECHOES: &str = "icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))";

/// Whole jumbo frames.
const SNAPSHOT_LENGTH: &str = "10000";
/// What the kernel may hold until it is read, in KiB: some 6,000 packets.
const BUFFER: &str = "65536";

/// A capture that is running. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    messages: BufReader<ChildStderr>,
    file: File,
    /// Packets that the kernel counts as received, from before the filter was there.
    unwanted: usize,
}

struct Counts {
    captured: usize,
    received: usize,
}

impl Capture {
    /// Captures from now on what passes `device` in the namespace of `role` and matches the `filter` of tcpdump. Little
    /// passes, and nothing that matches, while this starts: the filter comes after the socket.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(lab: &Lab, role: &str, device: &str, filter: &str) -> Self {
        let file = tempfile::tempfile().expect("a file for the capture");
        // With the namespace's own /sys: when asked for its counts, which is in a signal handler, tcpdump looks for the
        // device's there. Where it finds none its system call fails with the error of that.
        let mut tcpdump = Command::new("ip")
            .args(["netns", "exec", &lab.namespace(role), "tcpdump"])
            .stdin(Stdio::null())
            // Immediately, so that nothing waits for its block of the buffer to fill.
            .args(["--immediate-mode", "--time-stamp-precision=nano", "-n", "-s", SNAPSHOT_LENGTH, "-B", BUFFER])
            .args(["-w", "-", "-i", device, filter])
            .stdout(file.try_clone().expect("a second descriptor"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump");
        let messages = BufReader::new(tcpdump.stderr.take().expect("a pipe"));
        let mut capture = Self { tcpdump, messages, file, unwanted: 0 };
        while !capture.message().contains("listening on") {}
        let Counts { captured, received } = capture.counts();
        capture.unwanted = received - captured;
        capture
    }

    /// Ends it, and returns what passed before.
    ///
    /// # Panics
    ///
    /// Packets are missing: the kernel had no room for them.
    pub fn stop(self) -> Vec<Frame> {
        read(&self.stop_with_file())
    }

    /// Ends it, and returns the capture file with what passed before.
    ///
    /// # Panics
    ///
    /// As [`stop`](Self::stop).
    pub fn stop_with_file(mut self) -> Vec<u8> {
        // When told to end it would leave unread what the kernel still holds for it.
        let captured = loop {
            let Counts { captured, received } = self.counts();
            if received - captured == self.unwanted {
                break captured;
            }
        };
        self.signal(Signal::SIGINT);
        let status = self.tcpdump.wait().expect("the end of tcpdump");
        assert!(status.success(), "tcpdump: {status}");

        let mut bytes = Vec::new();
        self.file.rewind().expect("a file");
        self.file.read_to_end(&mut bytes).expect("a file");
        let count = read(&bytes).len();
        assert!(count >= captured, "{count} of {captured} packets are in the file");
        bytes
    }

    /// What tcpdump has written, and what the kernel had for it.
    fn counts(&mut self) -> Counts {
        self.signal(Signal::SIGUSR1);
        let counts = self.message();
        let [captured, received, dropped] = numbers(&counts).try_into().unwrap_or_else(|_| panic!("{counts}"));
        assert_eq!(dropped, 0, "the capture has gaps: {counts}");
        Counts { captured, received }
    }

    /// The next line that tcpdump says.
    fn message(&mut self) -> String {
        let mut line = String::new();
        let length = self.messages.read_line(&mut line).expect("what tcpdump says");
        assert!(length > 0, "tcpdump ended");
        line
    }

    fn signal(&self, signal: Signal) {
        let process = self.tcpdump.id().try_into().expect("a process");
        kill(Pid::from_raw(process), signal).expect("tcpdump");
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// The numbers in "3 packets captured, 3 packets received by filter, 0 packets dropped by kernel".
fn numbers(text: &str) -> Vec<usize> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn read(file: &[u8]) -> Vec<Frame> {
    let capture = PcapCapture::from_file(file).expect("a capture");
    assert!(capture.header.is_nanosecond_precision());
    let frames = capture.blocks.iter().map(|block| {
        assert_eq!(block.caplen, block.origlen, "a frame longer than {SNAPSHOT_LENGTH}");
        let time_ns = u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec);
        Frame { time_ns, bytes: block.data.to_vec() }
    });
    frames.collect()
}

/// A captured Ethernet frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Nanoseconds since 1970-01-01 00:00:00 UTC, by the kernel's clock.
    pub time_ns: u64,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// An echo message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Echo {
    /// As [`Frame::time_ns`].
    pub time_ns: u64,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// A reply; else a request.
    pub is_reply: bool,
    /// The identifier of the run.
    pub identifier: u16,
    /// The lower 16 bits of its number in the run.
    pub sequence: u16,
    /// The checksum that it says.
    pub checksum: u16,
    /// Whether that one is right, and IPv4's own too.
    pub is_valid: bool,
    /// What follows the header of 8 bytes.
    pub payload: Vec<u8>,
}

/// The echo messages of a capture.
pub fn echoes(frames: &[Frame]) -> Vec<Echo> {
    frames.iter().filter_map(Frame::echo).collect()
}

impl Frame {
    /// The echo message that it holds: all of it, for it is no fragment.
    pub fn echo(&self) -> Option<Echo> {
        let ethernet = EthernetPacket::new(&self.bytes)?;
        match ethernet.get_ethertype() {
            EtherTypes::Ipv4 => self.echo4(&Ipv4Packet::new(ethernet.payload())?),
            EtherTypes::Ipv6 => self.echo6(&Ipv6Packet::new(ethernet.payload())?),
            _ => None,
        }
    }

    fn echo4(&self, ip: &Ipv4Packet<'_>) -> Option<Echo> {
        const MORE_FRAGMENTS: u8 = 1;
        let is_fragment = ip.get_fragment_offset() != 0 || ip.get_flags() & MORE_FRAGMENTS != 0;
        if ip.get_next_level_protocol() != IpNextHeaderProtocols::Icmp || is_fragment {
            return None;
        }
        let echo = self.message(ip.payload(), [8, 0], ip.get_source().into(), ip.get_destination().into())?;
        let checksum = icmp::checksum(&IcmpPacket::new(ip.payload())?);
        Some(Echo { is_valid: echo.checksum == checksum && ip.get_checksum() == ipv4::checksum(ip), ..echo })
    }

    fn echo6(&self, ip: &Ipv6Packet<'_>) -> Option<Echo> {
        if ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
            return None;
        }
        let (source, destination) = (ip.get_source(), ip.get_destination());
        let echo = self.message(ip.payload(), [128, 129], source.into(), destination.into())?;
        let checksum = icmpv6::checksum(&Icmpv6Packet::new(ip.payload())?, &source, &destination);
        Some(Echo { is_valid: echo.checksum == checksum, ..echo })
    }

    /// The message as it says itself. Its checksum is not verified.
    fn message(&self, bytes: &[u8], [request, reply]: [u8; 2], source: IpAddr, destination: IpAddr) -> Option<Echo> {
        let (header, payload) = bytes.split_first_chunk()?;
        let [kind, _, sum_high, sum_low, id_high, id_low, sequence_high, sequence_low] = *header;
        (kind == request || kind == reply).then(|| Echo {
            time_ns: self.time_ns,
            source,
            destination,
            is_reply: kind == reply,
            identifier: u16::from_be_bytes([id_high, id_low]),
            sequence: u16::from_be_bytes([sequence_high, sequence_low]),
            checksum: u16::from_be_bytes([sum_high, sum_low]),
            is_valid: false,
            payload: payload.to_vec(),
        })
    }
}
