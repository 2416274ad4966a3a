//! Stamps that cards make of the packets which they send and receive.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hwtstamp::{
    Access, ConfigGuard, Interface, PhcDevice, RxFilter, Set, Setting, StampFlag, TxMode,
    socket::{self, Received, Stage},
};
use nix::{
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{LinkAddr, bind},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::settings::PTP_EVENTS;

/// Two cards on one wire.
const NEAR: &str = "eth0";
const FAR: &str = "eth1";
/// Each stamp is of the right packet, and lies between two readings of the clock of the card that made it.
pub(crate) fn check() {
    for command in [
        &format!("address add 192.0.2.1/24 dev {NEAR}"),
        &format!("link set {NEAR} up"),
        &format!("link set {FAR} promisc on up"),
    ] {
        let status = Command::new("ip").args(command.split(' ')).status().expect("start ip");
        assert!(status.success(), "ip {command}: {status}");
    }
    for card in [NEAR, FAR] {
        await_link(card);
    }
    datagrams();
    frame();
}

/// How long a link, or a stamp, may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

fn await_link(card: &str) {
    let start = Instant::now();
    while fs::read_to_string(format!("/sys/class/net/{card}/carrier")).expect("it is up").trim_end() != "1" {
        assert!(start.elapsed() < PATIENCE, "{card} has no link");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The card that sends a datagram stamps it.
fn datagrams() {
    let phc = clock(NEAR);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.bind_device(Some(NEAR.as_bytes())).expect("bind");
    let flags = StampFlag::TX_HARDWARE | StampFlag::RAW_HARDWARE | StampFlag::OPT_ID | StampFlag::OPT_TSONLY;
    socket::enable(&socket, flags).expect("every kernel can");
    // A group that nobody joins, so that nobody need be asked for an address.
    let group = SocketAddr::from((Ipv4Addr::new(224, 0, 0, 107), 9));
    let send = || assert_eq!(socket.send_to(b"stamp me", &group.into()).expect("send"), 8);
    // As long as the card is not set, nothing comes: the first stamp will be that of the packet with the number 1.
    send();
    let card = open(NEAR);
    let guard = ConfigGuard::set(&card, Setting { tx: TxMode::ON, rx: RxFilter::NONE }).expect("it can");
    for number in 1..=5 {
        let before = phc.read().expect("readable");
        send();
        let sent = sent(&socket);
        let transmission = sent.transmission.expect("nothing but stamps comes here");
        assert_eq!((transmission.stage, transmission.id), (Stage::Sent, number));
        let stamp = sent.stamps.hardware.unwrap_or_else(|| panic!("no stamp of the card: {sent:?}"));
        let after = phc.read().expect("readable");
        assert!(before < stamp && stamp < after, "{before:?}, {stamp:?}, {after:?}");
    }
    guard.restore().expect("put back");
    println!("guest: datagrams were stamped by the card that sent them");
}

/// The card that receives a frame of PTP stamps it too, in the time of its own clock. Under emulation this is so for the first
/// Sync alone.
fn frame() {
    /// PTP right above Ethernet.
    const PTP: u16 = 0x88f7;
    /// To the group address of PTP, from the near card: a Sync of version 2, of which nothing else matters.
    const HEADER: [u8; 18] = [0x01, 0x1b, 0x19, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xf7, 0, 2, 0, 44];
    let mut sync = [0; 60];
    sync[..HEADER.len()].copy_from_slice(&HEADER);

    let cards = [NEAR, FAR].map(open);
    let guards = cards.each_ref().map(|card| ConfigGuard::set(card, PTP_EVENTS).expect("it can"));
    let [near_phc, far_phc] = [NEAR, FAR].map(clock);
    let packets = |flags: Set<StampFlag>| {
        let protocol = Protocol::from(i32::from(PTP.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("a socket");
        socket::enable(&socket, flags).expect("every kernel can");
        socket
    };
    let receiver = packets(StampFlag::RX_HARDWARE | StampFlag::RAW_HARDWARE);
    receiver.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let sender = packets(StampFlag::TX_HARDWARE | StampFlag::RAW_HARDWARE);
    bind(sender.as_raw_fd(), &link(NEAR)).expect("bind");

    let before = [&near_phc, &far_phc].map(|phc| phc.read().expect("readable"));
    assert_eq!(sender.send(&sync).expect("send"), sync.len());
    let mut buffer = [0; 100];
    let received = socket::receive(&receiver, &mut buffer).expect("receive").expect("within the timeout");
    let sent = sent(&sender);
    let after = [&near_phc, &far_phc].map(|phc| phc.read().expect("readable"));
    assert_eq!(buffer[..received.length], sync);
    for (((packet, before), after), phc) in [sent, received].iter().zip(before).zip(after).zip([near_phc, far_phc]) {
        let stamp = packet.stamps.hardware.unwrap_or_else(|| panic!("no stamp of the card: {packet:?}"));
        assert!(before < stamp && stamp < after, "{}: {before:?}, {stamp:?}, {after:?}", phc.path().display());
    }
    for guard in guards {
        guard.restore().expect("put back");
    }
    println!("guest: a frame was stamped by the cards that sent and received it");
}

fn open(card: &str) -> Interface {
    Interface::open(card).expect("a card")
}

/// The clock of a card.
fn clock(card: &str) -> PhcDevice {
    let index = open(card).timestamping().expect("an answer").and_then(|timestamping| timestamping.phc);
    PhcDevice::open_index(index.expect("a clock"), Access::Read).expect("open")
}

/// The address of a card for packet sockets.
fn link(card: &str) -> LinkAddr {
    let all = getifaddrs().expect("the interfaces");
    let mut addresses = all.filter(|entry| entry.interface_name == card).filter_map(|entry| entry.address);
    addresses.find_map(|address| address.as_link_addr().copied()).expect("a card")
}

/// What the error queue tells of the packet that was sent.
fn sent(socket: impl AsFd) -> Received {
    let mut events = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let timeout = PollTimeout::try_from(PATIENCE).expect("not long");
    assert_eq!(poll(&mut events, timeout), Ok(1), "no stamp within {PATIENCE:?}");
    socket::receive_sent(&socket, &mut []).expect("readable").expect("there is one")
}
