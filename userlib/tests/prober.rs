//! The prober on loopback, in network namespaces of its own.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    future::{Future, poll_fn},
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
    process::{Command, Stdio},
    task::Poll,
    time::Duration,
};

use common::skip;
use instamp::{
    ReserveError, Uncorrected,
    prober::{Config, ErrorKind, Event, NicTxCounts, Prober, ProberError, Reply, SocketKind},
};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const EVERY_WAY: [(IpAddr, SocketKind); 4] =
    [(V4, SocketKind::Raw), (V4, SocketKind::Datagram), (V6, SocketKind::Raw), (V6, SocketKind::Datagram)];

fn run(command: &[&str]) -> bool {
    let (program, arguments) = command.split_first().expect("a program");
    let status = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs `test` in a thread with a network namespace of its own, whose loopback is up and whose groups may all have ICMP
/// datagram sockets.
fn in_own_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return skip(&format!("cannot make a network namespace: {error}"));
        }
        assert!(run(&["ip", "link", "set", "lo", "up"]), "ip link set lo up");
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").expect("ping_group_range of the namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Many probes in little time, all of which are answered in the end.
fn fast(target: IpAddr) -> Config {
    Config { interval: Duration::from_micros(200), timeout: Duration::from_secs(60), ..Config::new(target) }
}

async fn events(config: Config) -> Vec<Event> {
    let mut prober = Prober::new(config).expect("a prober");
    let mut events = Vec::new();
    while let Some(event) = prober.next().await {
        events.push(event);
    }
    events
}

fn replies(events: &[Event]) -> Vec<Reply> {
    events.iter().filter_map(|event| if let Event::Reply(reply) = event { Some(*reply) } else { None }).collect()
}

#[test]
fn every_probe_is_answered_on_every_kind_of_socket() {
    in_own_network(|| async {
        for (target, socket) in EVERY_WAY {
            let mut prober = Prober::new(Config { socket, count: Some(50), ..fast(target) }).expect("a prober");
            assert_eq!(prober.socket_kind(), Some(socket));
            let mut seen = BTreeMap::<u64, (u32, u32)>::new();
            while let Some(event) = prober.next().await {
                match event {
                    Event::Sent { seq, .. } => seen.entry(seq).or_default().0 += 1,
                    Event::Reply(reply) => {
                        seen.entry(reply.seq).or_default().1 += 1;
                        assert_eq!((reply.from, reply.bytes, reply.ttl), (target, 72, Some(64)));
                        assert_eq!(reply.correction, Err(Uncorrected::NoStamps));
                        assert!(reply.rtt_ns > 0 && !reply.duplicate && !reply.late && reply.stamps.is_empty());
                        assert_eq!(u64::try_from(reply.rtt_ns), Ok(reply.received_ns - reply.sent_ns));
                    }
                    Event::Timeout { .. } | Event::Error { .. } => panic!("{event:?}"),
                }
            }
            assert_eq!(seen, (1..=50).map(|seq| (seq, (1, 1))).collect(), "{target} {socket:?}");
        }
    });
}

/// No device here is a network card: the requests ask in vain, and all else is as ever.
#[test]
fn transmit_times_that_never_come_are_missing() {
    in_own_network(|| async {
        for (target, socket) in EVERY_WAY {
            let config = Config { socket, count: Some(200), nic_tx: true, ..fast(target) };
            let mut prober = Prober::new(config).expect("a prober");
            let (mut sent, mut answered) = (0, 0);
            while let Some(event) = prober.next().await {
                match event {
                    Event::Sent { .. } => sent += 1,
                    Event::Reply(reply) => {
                        answered += 1;
                        assert!(reply.is_first_answer() && reply.stamps.is_empty());
                        assert_eq!(reply.correction, Err(Uncorrected::NoStamps));
                    }
                    Event::Timeout { .. } | Event::Error { .. } => panic!("{event:?}"),
                }
            }
            assert_eq!((sent, answered), (200, 200), "{target} {socket:?}");
            assert_eq!(prober.nic_tx(), Some(NicTxCounts { asked: 200, received: 0, late: 0, missing: 200 }));
        }
        let prober = |config| Prober::new(config).expect("a prober");
        assert_eq!(prober(fast(V4)).nic_tx(), None);
        let without_trailer = Config { payload_bytes: 38, nic_tx: true, ..fast(V4) };
        assert_eq!(prober(without_trailer).nic_tx(), None);
    });
}

#[test]
fn payloads_of_every_size_come_back() {
    in_own_network(|| async {
        for (target, socket) in EVERY_WAY {
            for payload_bytes in [0, 2, 38, 40, 62, 64, 66, 1472, 8972, 65_000] {
                let config = Config { socket, payload_bytes, count: Some(3), ..fast(target) };
                let replies = replies(&events(config).await);
                assert_eq!(replies.len(), 3, "{target} {socket:?} {payload_bytes}");
                for reply in replies {
                    assert_eq!(reply.bytes, payload_bytes + 8);
                    assert_eq!(reply.correction, Err(Uncorrected::NoStamps));
                }
            }
        }
    });
}

#[test]
fn a_flood_follows_the_replies_and_wraps_the_sequence_number() {
    in_own_network(|| async {
        let config = Config { interval: Duration::ZERO, count: Some(70_000), ..fast(V4) };
        let mut prober = Prober::new(config).expect("a prober");
        let (mut sent, mut answered) = (0, 0);
        while let Some(event) = prober.next().await {
            match event {
                Event::Sent { seq, .. } => {
                    sent += 1;
                    assert_eq!(seq, sent);
                }
                Event::Reply(reply) => {
                    answered += 1;
                    assert!(reply.is_first_answer() && reply.seq == answered);
                }
                Event::Timeout { .. } | Event::Error { .. } => panic!("{event:?}"),
            }
        }
        assert_eq!((sent, answered), (70_000, 70_000));
    });
}

#[test]
fn silence_is_a_timeout_for_each_probe() {
    in_own_network(|| async {
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").expect("icmp_echo_ignore_all of the namespace");
        let config = Config { count: Some(5), timeout: Duration::from_millis(20), ..fast(V4) };
        let timeouts = events(config).await.iter().filter(|event| matches!(event, Event::Timeout { .. })).count();
        assert_eq!(timeouts, 5);

        // The deadline comes first, and leaves no probe unaccounted for.
        let deadline = Some(Duration::from_millis(20));
        let config = Config { deadline, timeout: Duration::from_secs(3_600), ..fast(V4) };
        let events = events(config).await;
        let sent = events.iter().filter(|event| matches!(event, Event::Sent { .. })).count();
        let timeouts = events.iter().filter(|event| matches!(event, Event::Timeout { .. })).count();
        assert!(sent > 0);
        assert_eq!(sent, timeouts);
    });
}

#[test]
fn stopping_waits_for_what_is_outstanding() {
    in_own_network(|| async {
        let mut prober = Prober::new(fast(V6)).expect("a prober");
        assert!(matches!(prober.next().await, Some(Event::Sent { seq: 1, .. })));
        prober.stop();
        assert!(matches!(prober.next().await, Some(Event::Reply(Reply { seq: 1, .. }))));
        assert!(prober.next().await.is_none());
    });
}

#[test]
fn a_dropped_future_loses_nothing() {
    fn assert_send(_: &impl Send) {}

    in_own_network(|| async {
        let mut prober = Prober::new(Config { count: Some(100), ..fast(V4) }).expect("a prober");
        let (mut sent, mut answered, mut dropped) = (0, 0, 0);
        loop {
            let polled = {
                let mut next = pin!(prober.next());
                assert_send(&next);
                poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await
            };
            match polled {
                Poll::Ready(Some(Event::Sent { .. })) => sent += 1,
                Poll::Ready(Some(Event::Reply(_))) => answered += 1,
                Poll::Ready(Some(other)) => panic!("{other:?}"),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    dropped += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!((sent, answered), (100, 100));
        assert!(dropped > 0);
    });
}

#[test]
fn icmp_errors_are_told_with_their_sender() {
    in_own_network(|| async {
        const RULES: &str = "\
table inet lab {
    chain input {
        type filter hook input priority filter;
        icmp type echo-request reject with icmp type host-unreachable;
        icmpv6 type echo-request reject with icmpv6 type addr-unreachable;
    }
}";
        if !run(&["nft", RULES]) {
            return skip("nft, which `cargo xtask setup` installs, cannot reject echo requests here");
        }
        for ((target, socket), nic_tx) in EVERY_WAY.into_iter().flat_map(|way| [(way, false), (way, true)]) {
            let events = events(Config { socket, count: Some(3), nic_tx, ..fast(target) }).await;
            let errors: Vec<_> = events
                .iter()
                .filter_map(|event| {
                    if let Event::Error { seq, from, error } = event { Some((*seq, *from, *error)) } else { None }
                })
                .collect();
            let expected = (1..=3).map(|seq| (Some(seq), Some(target), ErrorKind::HostUnreachable));
            assert_eq!(errors, expected.collect::<Vec<_>>(), "{target} {socket:?}");
            // Sent and failed: neither answered nor timed out.
            assert_eq!(events.len(), 6, "{events:?}");
        }
    });
}

#[test]
fn an_unreachable_route_is_an_error_for_each_probe() {
    in_own_network(|| async {
        // The route goes away while the prober runs: its socket is connected by then.
        for ((target, socket), nic_tx) in EVERY_WAY.into_iter().flat_map(|way| [(way, false), (way, true)]) {
            let prefix = if target.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
            let family = if target.is_ipv4() { "-4" } else { "-6" };
            assert!(run(&["ip", family, "route", "replace", prefix, "dev", "lo"]), "ip route replace");
            let config = Config { socket, count: Some(3), nic_tx, ..fast(prefix.parse().expect("an address")) };
            let mut prober = Prober::new(config).expect("a prober");
            assert!(run(&["ip", family, "route", "replace", "unreachable", prefix]), "ip route replace unreachable");
            let mut errors = Vec::new();
            while let Some(event) = prober.next().await {
                println!("{event:?}");
                if let Event::Error { seq, error, .. } = event {
                    errors.push((seq, error));
                }
            }
            assert_eq!(
                errors,
                (1..=3).map(|seq| (Some(seq), ErrorKind::HostUnreachable)).collect::<Vec<_>>(),
                "{target} {socket:?}"
            );
        }
    });
}

#[test]
fn refusals_name_cause_and_remedy() {
    in_own_network(|| async {
        let refused = |config: Config| Prober::new(config).expect_err("refused");
        let with = |change: fn(&mut Config)| {
            let mut config = Config::new(V4);
            change(&mut config);
            refused(config)
        };
        assert!(matches!(with(|c| c.payload_bytes = 65), ProberError::Payload(ReserveError::OddLength(65))));
        assert!(matches!(with(|c| c.cap = Some(5)), ProberError::Payload(ReserveError::Room { .. })));
        assert!(matches!(with(|c| c.payload_bytes = 65_508), ProberError::PayloadTooBig { most: 65_507, .. }));
        assert!(matches!(with(|c| c.source = Some(V6)), ProberError::Family { .. }));
        assert!(matches!(with(|c| c.source = Some(Ipv4Addr::new(192, 0, 2, 1).into())), ProberError::Source { .. }));
        assert!(matches!(with(|c| c.target = Ipv4Addr::new(224, 0, 0, 1).into()), ProberError::Multicast(_)));
        assert!(matches!(with(|c| c.target = Ipv4Addr::new(192, 0, 2, 1).into()), ProberError::Route { .. }));
        let error = with(|c| c.interface = Some("nope0".to_owned()));
        assert!(matches!(&error, ProberError::UnknownInterface { name, .. } if name == "nope0"));
        assert!(error.to_string().contains("no interface nope0"), "{error}");

        fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0").expect("ping_group_range of the namespace");
        for target in [V4, V6] {
            let error = refused(Config { socket: SocketKind::Datagram, ..Config::new(target) });
            assert!(matches!(error, ProberError::Permission(_)));
            let text = error.to_string();
            assert!(text.contains("net.ipv4.ping_group_range") && text.contains("CAP_NET_RAW"), "{text}");
            let prober = Prober::new(Config::new(target)).expect("raw instead");
            assert_eq!(prober.socket_kind(), Some(SocketKind::Raw));
        }
    });
}

#[test]
fn interface_source_and_ttl_are_used() {
    in_own_network(|| async {
        let source = Ipv4Addr::new(127, 0, 0, 2);
        for socket in [SocketKind::Raw, SocketKind::Datagram] {
            let witness =
                Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(Protocol::ICMPV4)).expect("raw socket");
            let interface = Some("lo".to_owned());
            let config = Config { socket, interface, source: Some(source.into()), ttl: Some(3), ..fast(V4) };
            let events = events(Config { count: Some(2), ..config }).await;
            assert_eq!(replies(&events).len(), 2, "{socket:?}");

            let mut packet = [0; 2_048];
            let length = (&witness).read(&mut packet).expect("the first request");
            assert!(length > 20 && packet[20] == 8, "an echo request");
            assert_eq!((packet[8], &packet[12..16]), (3, &source.octets()[..]), "{socket:?}");
        }
        let config = Config { interface: Some("lo".to_owned()), source: Some(V6), ttl: Some(3), ..fast(V6) };
        assert_eq!(replies(&events(Config { count: Some(2), ..config }).await).len(), 2);
    });
}

#[test]
fn all_requests_of_a_run_leave_with_one_checksum() {
    in_own_network(|| async {
        for (target, kind) in EVERY_WAY {
            let (domain, protocol, request) = match target {
                IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
                IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
            };
            let witness = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol)).expect("a raw socket");
            let answers = replies(&events(Config { socket: kind, count: Some(20), ..fast(target) }).await);
            assert_eq!(answers.len(), 20);

            let mut seen = Vec::new();
            let mut packet = [0; 2_048];
            while let Ok(length) = (&witness).read(&mut packet) {
                let message = if target == V4 { &packet[20..length] } else { &packet[..length] };
                if message[0] == request {
                    seen.push([message[2], message[3], message[4], message[5]]);
                }
            }
            assert_eq!(seen.len(), 20, "{target} {kind:?}");
            assert!(seen.iter().all(|header| *header == seen[0]), "{target} {kind:?}: {seen:x?}");
        }
    });
}
