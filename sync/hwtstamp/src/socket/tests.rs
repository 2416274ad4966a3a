//! Stamps of real packets, on the loopback device.

#[path = "../../tests/skip/mod.rs"]
mod skip;

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::skip::skip;
use super::*;
use crate::{Monotonic, Realtime, Span, SystemClock as _, Time};

const SENT_AND_SCHEDULED: u32 =
    libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_TX_SCHED | libc::SOF_TIMESTAMPING_OPT_ID;

fn all_software() -> Set<StampFlag> {
    Set::from_bits(SENT_AND_SCHEDULED) | StampFlag::SOFTWARE | StampFlag::RX_SOFTWARE | StampFlag::OPT_TSONLY
}

/// Returns when the kernel has switched receive stamps on, which it does in the background.
fn await_receive_stamps() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    enable(&socket, StampFlag::SOFTWARE | StampFlag::RX_SOFTWARE).unwrap();
    let begin = Monotonic::now();
    let mut stamped = false;
    while !stamped {
        assert!(Monotonic::now() - begin < Span::from_s(10), "no receive stamps after ten seconds");
        socket.send_to(&[], socket.local_addr().unwrap()).unwrap();
        stamped = receive(&socket, &mut []).unwrap().unwrap().stamps.software.is_some();
    }
}

/// Everything in the error queue: the loopback device has put it there before the packet is received.
fn sent(socket: impl AsFd) -> Vec<(Transmission, Time<Realtime>)> {
    let mut buffer = [0; 1500];
    std::iter::from_fn(|| receive_sent(&socket, &mut buffer).unwrap())
        .map(|message| {
            assert_eq!((message.length, message.error, message.control_truncated), (0, None, false));
            (message.transmission.unwrap(), message.stamps.software.unwrap())
        })
        .collect()
}

#[test]
fn udp_is_stamped_on_both_ways() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = UdpSocket::bind(address) else {
            skip(&format!("no {address} on this machine"));
            continue;
        };
        enable(&socket, all_software()).unwrap();
        await_receive_stamps();
        let here = socket.local_addr().unwrap();
        let mut buffer = [0; 4];
        for id in 0..3_u32 {
            let before = Realtime::now();
            socket.send_to(b"abcdef", here).unwrap();
            let received = receive(&socket, &mut buffer).unwrap().unwrap();
            let after = Realtime::now();

            assert_eq!((received.length, received.truncated, &buffer), (4, true, b"abcd"));
            assert_eq!((received.source, received.transmission), (Some(here), None));
            let arrival = received.stamps.software.unwrap();

            let stamps = sent(&socket);
            let stages: Vec<_> = stages_of(&stamps, id);
            assert_eq!(stages, [Stage::Scheduled, Stage::Sent]);
            let times = [before, stamps[0].1, stamps[1].1, arrival, after];
            assert!(times.is_sorted(), "{times:?}");
        }
    }
}

fn stages_of(stamps: &[(Transmission, Time<Realtime>)], id: u32) -> Vec<Stage> {
    stamps.iter().map(|(transmission, _)| (transmission.id == id).then_some(transmission.stage).unwrap()).collect()
}

#[test]
fn so_is_icmp() {
    let open = || Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4));
    let Ok(socket) = open().or_else(|_| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))) else {
        return skip("no ICMP sockets for this user");
    };
    enable(&socket, all_software()).unwrap();
    await_receive_stamps();
    let here = SockAddr::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
    let echo_request = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
    socket.send_to(&echo_request, &here).unwrap();
    let received = receive(&socket, &mut [0; 100]).unwrap().unwrap();
    assert!(received.stamps.software.is_some());
    let stamps = sent(&socket);
    assert_eq!(stages_of(&stamps, 0), [Stage::Scheduled, Stage::Sent]);
}

#[test]
fn tcp_tells_when_data_was_acknowledged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    enable(&client, all_software() | StampFlag::TX_ACK).unwrap();
    std::io::Write::write_all(&mut &client, b"abc").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    let acknowledged = || sent(&client).into_iter().any(|(transmission, _)| transmission.stage == Stage::Acknowledged);
    // The acknowledgement may be delayed: the error queue says when it is there.
    let mut wait = [nix::poll::PollFd::new(client.as_fd(), nix::poll::PollFlags::empty())];
    while !acknowledged() {
        assert_ne!(nix::poll::poll(&mut wait, 5_000_u16).unwrap(), 0, "no acknowledgement within five seconds");
    }
}

#[test]
fn a_socket_that_does_not_block_has_nothing_to_tell() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    assert_eq!(receive(&socket, &mut []).unwrap(), None);
    assert_eq!(receive_sent(&socket, &mut []).unwrap(), None);
}

#[test]
fn an_error_of_the_network_names_whom_the_packet_was_sent_to() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4RecvErr, &true).unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    socket.send_to(b"abc", closed).unwrap();
    let message = receive_sent(&socket, &mut [0; 100]).unwrap().expect("the loopback device answers at once");
    assert_eq!((message.source, message.error.unwrap().errno), (Some(closed), libc::ECONNREFUSED));
}

#[test]
fn errors_name_the_socket() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = enable(&file, StampFlag::SOFTWARE).unwrap_err();
    assert!(error.to_string().starts_with("enable timestamps on socket "), "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unknown = Set::from_bits(1 << 31);
    assert_eq!(enable(&socket, unknown).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn addresses_that_are_cut_off_are_none() {
    let family = |number: libc::c_int| u16::try_from(number).unwrap().to_ne_bytes();
    let v4 = [&family(libc::AF_INET)[..], &[0x12, 0x34, 10, 0, 0, 1]].concat();
    assert_eq!(address(&v4), Some("10.0.0.1:4660".parse().unwrap()));
    for length in 0..v4.len() {
        assert_eq!(address(&v4[..length]), None);
    }
    assert_eq!(address(&family(libc::AF_UNIX)), None);
}
