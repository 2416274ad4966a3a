//! Replies that go past the stack, on real devices: to whose socket, and what is left when the prober ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use instamp_hooks::{
    BPFFS_VARIABLE, Container, ContainerRequest, Error, Hook, Hooks, IngressChoice, Objects, Request, RunKey, Settings,
    Steering, XdpMode, afxdp_holders,
};
use instamp_trailer::{
    Bound, Clock, Footer, Phase, Record, Trailer,
    checksum::sum_bytes,
    wire::{DEFAULT_CAP, State},
};
use instamp_xsk::{Channel, Config, Error as ChannelError};
use world::{FAR, NIC, World};
use zerocopy::IntoBytes as _;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// The process of a test that steers, until it is killed.
const TASK: &str = "INSTAMP_TEST_STEERING";

/// How long a frame may take to cross a veth.
const PATIENCE: Duration = Duration::from_secs(20);

fn run() -> RunKey {
    RunKey::new(0x0001_0203).unwrap()
}

fn open(device: &str) -> Channel {
    let ifindex = nix::net::if_::if_nametoindex(device).unwrap();
    Channel::open(ifindex, 0, &Config { frames: 64, ..Config::default() }).unwrap()
}

fn steer(hooks: &Hooks) -> Result<Steering, Error> {
    hooks.steer(&Objects::built_in(), NIC, XdpMode::Native, &Settings::default())
}

/// Which are addresses of the host: its own, one that may be a source, a neighbour's, and one of the other IP version.
fn own(steering: &Steering) -> [bool; 4] {
    ["10.77.0.1", "192.0.2.9", "10.77.0.3", "2001:db8::1"]
        .map(|address| steering.has_own(address.parse().unwrap()).unwrap())
}

/// A reply of this nonce to the host, whose request has come from an application.
fn reply(nonce: u64) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 2];
    let sent = Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1);
    message.extend(sent.as_bytes());
    message.resize(message.len() + usize::from(DEFAULT_CAP - 1) * 12, 0);
    message.extend(Footer::new(nonce, State::new(0, DEFAULT_CAP)).as_bytes());
    let counts = message.len() - 6;
    message[counts] |= 0x10;
    let checksum = !sum_bytes(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(20 + message.len()).unwrap().to_be_bytes());
    header.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    header.extend(TARGET.octets());
    header.extend(HOST.octets());
    let checksum = !sum_bytes(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&[0xff; 6][..], &[0x02; 6], &[0x08, 0x00], &header, &message].concat()
}

fn send(world: &World, frame: &[u8]) {
    world.peer.enter(|| {
        let mut far = open(FAR);
        assert!(far.write(frame.len(), |bytes| bytes.copy_from_slice(frame)));
        far.submit().unwrap();
    });
}

/// The records of the next frame, which has come from the far end.
fn received(channel: &mut Channel) -> Vec<Record> {
    assert!(channel.wait(PATIENCE).unwrap(), "no frame within {PATIENCE:?}");
    let mut records = Vec::new();
    channel.receive(1, |received| records = Trailer::parse(&received.frame[42..]).unwrap().records.to_vec());
    records
}

/// An uplink that goes with its last container stays for who gets replies by it.
#[test]
fn an_uplink_of_containers_stays_while_it_steers() {
    let Some(world) = World::new() else { return };
    let inside = world.contain("veth-a", 1);
    world.host.enter(|| {
        let hooks = world.hooks();
        let container = Container { id: inside.name.clone(), ..Container::default() };
        let request = ContainerRequest {
            ingress: IngressChoice::Xdp,
            uplink: Some(NIC.to_owned()),
            ..ContainerRequest::new(container, inside.open())
        };
        hooks.attach_container(&Objects::built_in(), &request).unwrap();
        let channel = open(NIC);
        let mut steering = steer(&hooks).unwrap();
        assert!(steering.joins());
        steering.add(0, channel.as_fd(), run()).unwrap();
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), ["veth-a"]);
        let [uplink] = &hooks.status().unwrap()[..] else { panic!("the uplink alone") };
        assert_eq!((&*uplink.device, &uplink.containers[..]), (NIC, &[][..]));
        drop(steering);
        assert!(hooks.status().unwrap().is_empty());
    });
    world.assert_clean(NIC);
}

#[test]
fn an_attachment_takes_part_and_stays() {
    let Some(world) = World::new() else { return };
    for xdp_mode in [XdpMode::Native, XdpMode::Generic] {
        world.host.enter(|| {
            let hooks = world.hooks();
            let sources = vec!["192.0.2.0/24".parse().unwrap()];
            let settings = Settings { point: Some(3), node: Some(77), sources: Some(sources), ..Settings::default() };
            let request = Request { ingress: IngressChoice::Xdp, xdp_mode, settings, ..Request::new(NIC) };
            hooks.attach(&Objects::built_in(), &request).unwrap();
            let mut channel = open(NIC);
            let mut steering = steer(&hooks).unwrap();
            assert!(steering.joins());
            assert_eq!((steering.site().point, steering.site().node), (3, 77));
            assert_eq!(steering.ifindex(), nix::net::if_::if_nametoindex(NIC).unwrap());
            assert_eq!(own(&steering), [true, true, false, false]);
            assert_eq!(steering.holder(0), None);
            steering.add(0, channel.as_fd(), run()).unwrap();
            assert_eq!(steering.holder(0), Some(process::id()));
            let beyond = steering.add(256, channel.as_fd(), run());
            assert!(matches!(beyond, Err(Error::TooManyQueues { most: 256, .. })), "{beyond:?}");

            send(&world, &reply(run().nonce(1)));
            let records = received(&mut channel);
            let seen: Vec<_> = records.iter().map(|record| (record.hook(), record.point(), record.node())).collect();
            assert_eq!(seen, [(Hook::APP_TX, 0, 7), (Hook::XDP_INGRESS, 3, 77)]);

            drop(steering);
            assert_eq!(steer(&hooks).unwrap().holder(0), None);
            assert_eq!(hooks.status().unwrap()[0].hooks[1].counters.stamped, 1);
            hooks.detach(NIC).unwrap();
        });
        world.assert_clean(NIC);
    }
}

#[test]
fn a_device_without_xdp_gets_a_program_for_as_long_as_it_is_wanted() {
    let Some(world) = World::new() else { return };
    for ingress in [None, Some(IngressChoice::Tc)] {
        world.host.enter(|| {
            let hooks = world.hooks();
            if let Some(ingress) = ingress {
                let settings = Settings { point: Some(5), node: Some(0x55), ..Settings::default() };
                let request = Request { ingress, settings, ..Request::new(NIC) };
                hooks.attach(&Objects::built_in(), &request).unwrap();
            }
            let mut channel = open(NIC);
            let mut steering = steer(&hooks).unwrap();
            assert!(!steering.joins());
            assert_eq!(own(&steering), [true, false, false, false]);
            let site = steering.site();
            if ingress.is_some() {
                assert_eq!((site.point, site.node), (5, 0x55), "as the attachment has it");
            }
            steering.add(0, channel.as_fd(), run()).unwrap();
            send(&world, &reply(run().nonce(1)));
            let records = received(&mut channel);
            assert_eq!(records.len(), 2);
            assert_eq!((records[1].hook(), records[1].node()), (Hook::XDP_INGRESS, site.node));

            // Both commands that want the hook say whose it is.
            assert!(matches!(steer(&hooks), Err(Error::Occupied { .. })));
            let request = Request { ingress: IngressChoice::Xdp, ..Request::new(NIC) };
            if ingress.is_none() {
                let refused = hooks.attach(&Objects::built_in(), &request);
                assert!(matches!(refused, Err(Error::Occupied { .. })), "{refused:?}");
            }
            drop(steering);
            if ingress.is_some() {
                hooks.detach(NIC).unwrap();
            }
        });
        world.assert_clean(NIC);
    }
}

#[test]
fn a_foreign_program_is_named_and_stays() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let objects = Objects::built_in();
        let mut foreign = aya::Ebpf::load(&objects.xdp).unwrap();
        let program: &mut aya::programs::Xdp = foreign.program_mut("xdp_ingress").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(NIC, aya::programs::XdpMode::Driver).unwrap();
        let refused = steer(&world.hooks());
        assert!(matches!(&refused, Err(Error::ForeignXdp { name, .. }) if name == "xdp_ingress"), "{refused:?}");
    });
    world.assert_clean(NIC);
}

/// A process that steers in the host's network namespace, and says when it does.
struct Prober(Child);

impl Prober {
    fn start(world: &World) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["steer_until_killed", "--exact", "--nocapture"]).stdout(Stdio::piped());
        command.env(TASK, "1").env(BPFFS_VARIABLE, world.bpffs.path());
        let mut child = world.host.enter(|| command.spawn().unwrap());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("steering")), "it ends by itself");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // A test may have done it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test but the task of a process that a test has started.
#[test]
fn steer_until_killed() {
    if env::var_os(TASK).is_none() {
        return;
    }
    let hooks = Hooks::open(None, |_| {}).unwrap();
    let channel = open(NIC);
    let mut steering = steer(&hooks).unwrap();
    steering.add(0, channel.as_fd(), run()).unwrap();
    println!("steering");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_prober_that_is_killed_leaves_no_program() {
    let Some(world) = World::new() else { return };
    let mut prober = Prober::start(&world);
    assert!(world.host.ip(&["-details", "link", "show", NIC]).contains("xdp"));
    prober.kill();
    // The kernel takes the link apart when it gets to it.
    let start = Instant::now();
    while world.host.ip(&["-details", "link", "show", NIC]).contains("xdp") {
        assert!(start.elapsed() < PATIENCE, "the program is still there");
        std::thread::yield_now();
    }
    world.assert_clean(NIC);
}

#[test]
fn who_has_a_queue_is_told() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let attach = || {
            let request = Request { ingress: IngressChoice::Xdp, ..Request::new(NIC) };
            hooks.attach(&Objects::built_in(), &request).unwrap();
        };
        attach();
        let mut prober = Prober::start(&world);
        let ifindex = nix::net::if_::if_nametoindex(NIC).unwrap();
        let busy = Channel::open(ifindex, 0, &Config::default());
        assert!(matches!(busy, Err(ChannelError::Busy { .. })), "{busy:?}");

        let found = afxdp_holders();
        let [holder] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(holder.process, prober.0.id());
        assert!(holder.command.starts_with("steer"), "{holder:?}");
        let steering = steer(&hooks).unwrap();
        assert_eq!(steering.holder(0), Some(prober.0.id()));
        assert_eq!(steering.holders(0), found);
        // Another queue's is found by its socket alone.
        assert_eq!((steering.holder(1), steering.holders(1)), (None, found));

        prober.kill();
        assert_eq!(steering.holder(0), None, "its entry is still there, but it is not");
        assert_eq!(steering.holders(0), []);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn an_attachment_of_an_older_version_is_told_and_detaches() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        for (hardware, remedy) in [
            (false, "`instamp attach --ingress xdp --dev nic`"),
            (true, "`instamp attach --ingress xdp --hw --dev nic`"),
        ] {
            let request = Request { ingress: IngressChoice::Xdp, hardware, ..Request::new(NIC) };
            hooks.attach(&Objects::built_in(), &request).unwrap();
            for name in ["SOCKETS", "RUNS"] {
                let pins = world.bpffs.entries();
                std::fs::remove_file(pins.iter().find(|path| path.ends_with(name)).unwrap()).unwrap();
            }
            let refused = steer(&hooks).unwrap_err();
            assert!(matches!(refused, Error::OlderAttachment { .. }), "{refused:?}");
            assert!(refused.to_string().contains(remedy), "{refused}");
            assert_eq!(hooks.status().unwrap().len(), 1);
            hooks.detach(NIC).unwrap();
        }
    });
    world.assert_clean(NIC);
}
