//! Probes that are answered in the place of the stack, on real devices: by whom, for whom, and what is left when the process ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use aya::programs::{Xdp, XdpMode as AyaXdpMode};
use instamp_hooks::{
    Attachment, BPFFS_VARIABLE, Clock, Error, Hook, Hooks, IngressChoice, Notice, Objects, Prefix, ReflectCounts,
    ReflectRequest, Reflector, Request, Settings, XdpMode,
};
use instamp_trailer::{
    Footer, Phase, Record, Trailer,
    checksum::sum_bytes,
    wire::{State, trailer_length},
};
use socket2::{Domain, Protocol, Socket, Type};
use world::{FAR, NIC, World, mechanisms};
use zerocopy::IntoBytes as _;

/// The process of a test that reflects until it is killed.
const TASK: &str = "INSTAMP_TEST_REFLECTOR";
/// How long may pass until what must come has come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may come where nobody answers. What is late is not seen: no test fails on that.
const SILENCE: Duration = Duration::from_millis(100);
const CAP: u8 = 6;

/// A world whose far end takes what XDP programs send back, and whose host's stack answers nobody.
fn world() -> Option<(World, aya::Ebpf)> {
    let world = World::new()?;
    // It has the peer poll.
    let pass = world.peer.enter(|| {
        let mut programs = aya::Ebpf::load(&Objects::built_in().xdp).unwrap();
        let program: &mut Xdp = programs.program_mut("xdp_steer").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(FAR, AyaXdpMode::Driver).unwrap();
        programs
    });
    silence(&world, true);
    // Who answers without the stack learns no address.
    let host = world.host.ip(&["-brief", "link", "show", NIC]);
    let address = host.split_ascii_whitespace().nth(2).unwrap();
    world.peer.ip(&["neigh", "replace", "10.77.0.1", "dev", FAR, "lladdr", address]);
    Some((world, pass))
}

fn silence(world: &World, is_silent: bool) {
    let value = if is_silent { "1" } else { "0" };
    // Each network namespace sees its own there.
    world.host.enter(|| std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", value)).unwrap();
}

/// Without a limit, so that nobody else answers.
fn request() -> ReflectRequest {
    ReflectRequest {
        node: Some(0x77),
        rate: NonZeroU32::MAX,
        ..ReflectRequest::new(vec!["10.77.0.0/24".parse().unwrap()])
    }
}

fn reflect(hooks: &Hooks) -> Result<Reflector, Error> {
    hooks.reflect(&Objects::built_in(), NIC, XdpMode::Native, &request())
}

fn attach(hooks: &Hooks, ingress: IngressChoice) -> Attachment {
    let settings = Settings { node: Some(0x55), ..Settings::default() };
    hooks.attach(&Objects::built_in(), &Request { ingress, settings, ..Request::new(NIC) }).unwrap()
}

/// Sends a probe from the far end, and returns the records of the reply, if one comes.
fn probe(world: &World, patience: Duration) -> Option<Vec<Record>> {
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.resize(message.len() + trailer_length(CAP) - size_of::<Footer>(), 0);
    message.extend(Footer::new(7, State::new(0x1234, CAP)).as_bytes());
    let checksum = !sum_bytes(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    world.peer.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        socket.send_to(&message, &SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), 0)).into()).unwrap();
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            socket.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
            let Ok(length) = socket.recv(&mut buffer) else { return None };
            #[expect(unsafe_code, reason = "what the kernel has filled")]
            // SAFETY: so many bytes were received.
            let packet: Vec<u8> = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            let message = &packet[20..];
            if message[0] == 0 && message[4..6] == [0x12, 0x34] {
                assert_eq!(sum_bytes(message), 0xffff, "the checksum");
                return Some(Trailer::parse(&message[8..]).unwrap().records.to_vec());
            }
        }
    })
}

/// The stamps of a reflector.
fn stamps(records: &[Record]) -> Vec<(Phase, Hook, u16)> {
    records.iter().map(|record| (record.phase(), record.hook(), record.node())).collect()
}

fn both(node: u16) -> Vec<(Phase, Hook, u16)> {
    vec![(Phase::Request, Hook::XDP_INGRESS, node), (Phase::Reply, Hook::XDP_TX, node)]
}

#[test]
fn a_device_without_xdp_answers_without_the_stack() {
    let Some((world, _pass)) = world() else { return };
    for ingress in [None, Some(IngressChoice::Tc)] {
        world.host.enter(|| {
            let hooks = world.hooks();
            if let Some(ingress) = ingress {
                attach(&hooks, ingress);
            }
            let reflector = reflect(&hooks).unwrap();
            assert!(!reflector.joins());
            reflector.renew().unwrap();
            let records = probe(&world, PATIENCE).expect("an answer");
            assert_eq!(stamps(&records), both(0x77));
            assert!(records.iter().all(|record| record.clock() == Clock::TAI), "{records:?}");
            assert!(records[0].time_ns() <= records[1].time_ns(), "{records:?}");
            assert_eq!(reflector.counts().unwrap().stamped, 1);
            let reflecting = match ingress {
                None => {
                    let [lone] = hooks.lone_reflectors().unwrap().try_into().unwrap();
                    assert_eq!((&*lone.device, lone.ifindex), (NIC, nix::net::if_::if_nametoindex(NIC).unwrap()));
                    lone.reflecting
                }
                Some(_) => {
                    assert_eq!(hooks.lone_reflectors().unwrap(), []);
                    hooks.status().unwrap().remove(0).reflector.unwrap()
                }
            };
            assert_eq!((reflecting.holder.process, reflecting.counts.stamped), (process::id(), 1));
            assert_eq!((&*reflecting.allow, reflecting.clock), (&*request().allow, Clock::TAI));

            let second = reflect(&hooks);
            assert!(matches!(second, Err(Error::Reflecting { process, .. }) if process == process::id()), "{second:?}");
            let steering = hooks.steer(&Objects::built_in(), NIC, XdpMode::Native, &Settings::default());
            assert!(matches!(steering, Err(Error::Reflecting { .. })), "{steering:?}");

            assert_eq!(reflector.stop().unwrap().stamped, 1);
            assert_eq!(hooks.lone_reflectors().unwrap(), []);
            assert!(hooks.status().unwrap().iter().all(|status| status.reflector.is_none()));
            assert_eq!(probe(&world, SILENCE), None);
            if ingress.is_some() {
                hooks.detach(NIC).unwrap();
            }
        });
        world.assert_clean(NIC);
    }
}

#[test]
fn frames_to_another_device_are_left_to_the_stack() {
    let Some((world, _pass)) = world() else { return };
    let address = "02:00:00:00:00:99";
    world.peer.ip(&["neigh", "replace", "10.77.0.1", "dev", FAR, "lladdr", address]);
    world.host.enter(|| {
        let reflector = reflect(&world.hooks()).unwrap();
        reflector.renew().unwrap();
        assert_eq!(probe(&world, SILENCE), None);
        assert_eq!(reflector.counts().unwrap(), ReflectCounts::default());
        // Now it is this one.
        world.host.ip(&["link", "set", NIC, "address", address]);
        reflector.renew().unwrap();
        assert!(probe(&world, PATIENCE).is_some());
    });
}

#[test]
fn an_attachment_goes_on_stamping_and_gets_its_program_back() {
    let Some((world, _pass)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let before = attach(&hooks, IngressChoice::Xdp);
        let link = before.hooks[1].link_id;
        let reflector = reflect(&hooks).unwrap();
        assert!(reflector.joins());
        reflector.renew().unwrap();
        assert_eq!(stamps(&probe(&world, PATIENCE).expect("an answer")), both(0x55));

        reflector.renew().unwrap();
        let [status] = hooks.status().unwrap().try_into().unwrap();
        assert_eq!((mechanisms(&status), status.hooks[1].link_id), (mechanisms(&before), link));
        let reflecting = status.reflector.unwrap();
        assert_eq!(reflecting.holder.process, process::id());
        assert_eq!(reflecting.allow, ["10.77.0.0/24".parse::<Prefix>().unwrap()]);
        assert_eq!((reflecting.counts.stamped, reflecting.clock), (1, Clock::TAI));
        reflector.renew().unwrap();
        let second = reflect(&hooks);
        assert!(matches!(second, Err(Error::Reflecting { process, .. }) if process == process::id()), "{second:?}");

        // The host's own probes are stamped meanwhile, and known as before.
        own_probe(&hooks);
        drop(reflector);
        let [status] = hooks.status().unwrap().try_into().unwrap();
        assert_eq!((mechanisms(&status), status.hooks[1].link_id), (mechanisms(&before), link));
        assert_eq!(status.reflector, None);
        assert_eq!(probe(&world, SILENCE), None);
        own_probe(&hooks);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

/// Sends a probe to the far end, whose reply the hooks of the attachment stamp.
fn own_probe(hooks: &Hooks) {
    let stamped = || {
        let [status] = hooks.status().unwrap().try_into().unwrap();
        let driver_tx = status.hooks.iter().find(|hook| hook.hook == Hook::DRIVER_TX).unwrap().counters.stamped;
        (status.hooks[1].counters.stamped, driver_tx)
    };
    let before = stamped();
    let mut message = vec![8, 0, 0, 0, 0, 0, 0, 1];
    message.resize(message.len() + trailer_length(CAP) - size_of::<Footer>(), 0);
    message.extend(Footer::new(before.0 + 100, State::new(0x1234, CAP)).as_bytes());
    let checksum = !sum_bytes(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::new(10, 77, 0, 2), 0)).into()).unwrap();
    socket.send(&message).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
    socket.recv(&mut buffer).unwrap();
    assert_eq!(stamped(), (before.0 + 1, before.1 + 1));
}

#[test]
fn a_detached_device_is_told_at_the_next_renewal() {
    let Some((world, _pass)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, IngressChoice::Xdp);
        let reflector = reflect(&hooks).unwrap();
        hooks.detach(NIC).unwrap();
        world.assert_clean(NIC);
        assert!(matches!(reflector.renew(), Err(Error::NotReflecting { .. })));
        drop(reflector);
        world.assert_clean(NIC);

        // Attached anew, it is not ours.
        let before = attach(&hooks, IngressChoice::Xdp);
        assert_eq!(mechanisms(&hooks.status().unwrap()[0]), mechanisms(&before));
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn who_may_not_reflect_is_told_why() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        let none = hooks.reflect(&Objects::built_in(), NIC, XdpMode::Native, &ReflectRequest::new(Vec::new()));
        assert!(matches!(none, Err(Error::NothingAllowed)), "{none:?}");
        // Nobody knows of a peer without an XDP program whether it takes what is sent back.
        drop(reflect(&hooks).unwrap());
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), [Notice::PeerWithoutNapi { device: NIC.to_owned() }]);

        let mut foreign = aya::Ebpf::load(&Objects::built_in().xdp).unwrap();
        let program: &mut Xdp = foreign.program_mut("xdp_ingress").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(NIC, AyaXdpMode::Driver).unwrap();
        let refused = reflect(&hooks);
        assert!(matches!(refused, Err(Error::ForeignXdp { .. })), "{refused:?}");
    });
    world.assert_clean(NIC);
}

#[test]
fn a_peer_with_an_xdp_program_is_no_reason_to_warn() {
    let Some((world, _pass)) = world() else { return };
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        drop(reflect(&hooks).unwrap());
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), []);
    });
}

/// A process that reflects, and says when it does. It renews nothing.
fn start(world: &World) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["reflect_until_killed", "--exact", "--nocapture"]).stdout(Stdio::piped());
    command.env(TASK, "1").env(BPFFS_VARIABLE, world.bpffs.path());
    let mut child = world.host.enter(|| command.spawn().unwrap());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("reflecting")), "it ends by itself");
    child
}

/// Not a test but the task of a process that a test has started.
#[test]
fn reflect_until_killed() {
    if env::var_os(TASK).is_none() {
        return;
    }
    let _reflector = reflect(&Hooks::open(None, |_| {}).unwrap()).unwrap();
    println!("reflecting");
    loop {
        std::thread::park();
    }
}

#[test]
fn after_a_crash_nothing_answers_and_the_next_command_puts_the_program_back() {
    let Some((world, _pass)) = world() else { return };
    let before = world.host.enter(|| attach(&world.hooks(), IngressChoice::Xdp));
    let mut child = start(&world);
    child.kill().unwrap();
    child.wait().unwrap();
    silence(&world, false);
    // The program is still there, and answers until the lease ends. Then the stack does, without stamps.
    let start = Instant::now();
    while !probe(&world, PATIENCE).expect("an answer").is_empty() {
        assert!(start.elapsed() < PATIENCE, "nobody renews it");
    }
    world.host.enter(|| {
        let hooks = world.hooks();
        assert!(world.bpffs.entries().iter().any(|path| path.ends_with("REFLECT")), "nobody has swept");
        let [status] = hooks.status().unwrap().try_into().unwrap();
        assert_eq!((mechanisms(&status), status.reflector), (mechanisms(&before), None));
        assert!(!world.bpffs.entries().iter().any(|path| path.ends_with("REFLECT")), "it was swept");
        own_probe(&hooks);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_process_that_slept_too_long_is_told_and_takes_nothing_off() {
    let Some((world, _pass)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, IngressChoice::Xdp);
        let late = reflect(&hooks).unwrap();
        let start = Instant::now();
        // Each command sweeps.
        while hooks.status().unwrap()[0].reflector.is_some() {
            assert!(start.elapsed() < PATIENCE, "nobody renews it");
        }
        assert!(matches!(late.renew(), Err(Error::NotReflecting { .. })));
        let other = reflect(&hooks).unwrap();
        drop(late);
        other.renew().unwrap();
        assert!(probe(&world, PATIENCE).is_some());
        drop(other);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}
