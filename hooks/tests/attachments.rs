//! Attachments on real devices: made, looked at, changed, removed; and what is in their way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::{
    env,
    fs::{self, Permissions},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use aya::{
    EbpfLoader,
    programs::{SchedClassifier, TcAttachType, Xdp, XdpMode as AyaXdpMode},
};
use instamp_hooks::{
    Attachment, BPFFS_VARIABLE, Clock, Error, Hook, Hooks, Ingress, IngressChoice, Mechanism, Notice, Objects, Prefix,
    Reason, Request, Settings, Standing, TcChoice, TcMode, Tracing, XdpMode, capabilities,
};
use instamp_trailer::{
    Footer, Phase, Record, Trailer,
    checksum::sum_bytes,
    wire::{DEFAULT_CAP, State, trailer_length},
};
use socket2::{Domain, Protocol, Socket, Type};
use world::{NIC, World, mechanisms, ways};
use zerocopy::IntoBytes as _;

/// A filter of somebody else that has no opinion: classic BPF, which every kernel with BPF filters knows.
const CONTINUE: &str = "1,6 0 0 0";

fn attach(hooks: &Hooks, request: &Request) -> Result<Attachment, Error> {
    hooks.attach(&Objects::built_in(), request)
}

/// What tells when requests are handed to the driver.
fn driver_tx(attachment: &Attachment) -> Option<Mechanism> {
    attachment.hooks.iter().find(|hook| hook.hook == Hook::DRIVER_TX)?.mechanism
}

#[test]
fn each_way_of_attaching_stamps_both_directions_and_leaves_nothing() {
    let Some(world) = World::new() else { return };
    for (request, expected) in ways() {
        let settings = Settings { point: Some(5), node: Some(0x1234), ..Settings::default() };
        let request = Request { settings, ..request };
        let status = world.host.enter(|| {
            let hooks = world.hooks();
            let attached = attach(&hooks, &request).unwrap();
            assert_eq!(mechanisms(&attached), expected.map(Some));
            assert_eq!(driver_tx(&attached), Some(Mechanism::Tracing(Tracing::Tracepoint)));
            let ingress = attached.hooks[1].hook;

            let records = probe();
            let seen: Vec<_> = records.iter().map(|record| (record.phase(), record.hook())).collect();
            let driver_tx = (Phase::Request, Hook::DRIVER_TX);
            assert_eq!(seen, [(Phase::Request, Hook::TC_EGRESS), (Phase::Reply, ingress), driver_tx]);
            for record in &records {
                assert_eq!((record.node(), record.point(), record.clock()), (0x1234, 5, Clock::MONOTONIC));
                assert_eq!(record.bound().exponent(), attached.site.bound);
            }
            assert!(records[0].time_ns() < records[2].time_ns() && records[2].time_ns() < records[1].time_ns());

            let status = hooks.status().unwrap();
            hooks.detach(NIC).unwrap();
            status
        });
        let [status] = status.try_into().unwrap();
        assert_eq!(mechanisms(&status), expected.map(Some));
        assert!(status.hooks.iter().all(|hook| hook.counters.stamped == 1), "{status:?}");
        let sent = status.sent.expect("requests are watched as they leave");
        assert_eq!((sent.kept, sent.in_flight, sent.evicted, sent.nic_asked), (1, 0, 0, 0), "{sent:?}");
        world.assert_clean(NIC);
    }
}

#[test]
fn a_nonce_that_is_used_again_does_not_take_the_place_of_the_first() {
    let Some(world) = World::new() else { return };
    world.peer.ip(&["addr", "flush", "dev", world::FAR]);
    // Nobody answers, so that both are on their way.
    world.host.ip(&["neigh", "replace", "10.77.0.2", "dev", NIC, "lladdr", "02:00:00:00:00:01"]);
    let sent = world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, &Request::new(NIC)).unwrap();
        for nonce in [1, 1, 2] {
            send(&socket(), nonce);
        }
        hooks.status().unwrap()[0].sent.unwrap()
    });
    assert_eq!((sent.kept, sent.repeated, sent.in_flight, sent.evicted), (2, 1, 2, 0), "{sent:?}");
}

#[test]
fn requests_are_recognized_by_what_they_are_stamped_with_now() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, &Request::new(NIC)).unwrap();
        hooks.update(NIC, &Settings { point: Some(3), node: Some(77), ..Settings::default() }).unwrap();
        let records = probe();
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|record| (record.point(), record.node()) == (3, 77)), "{records:?}");
    });
}

#[test]
fn what_sees_requests_leave_is_shared_and_goes_with_the_last_device() {
    let Some(world) = World::new() else { return };
    world.host.ip(&["link", "add", "second", "type", "veth", "peer", "name", "third"]);
    let link = |attachment: &Attachment| {
        let driver_tx = attachment.hooks.iter().find(|hook| hook.hook == Hook::DRIVER_TX);
        driver_tx.expect("requests are watched as they leave").link_id.expect("by a link")
    };
    let first = world.host.enter(|| {
        let hooks = world.hooks();
        let [first, second] = [NIC, "second"].map(|device| link(&attach(&hooks, &Request::new(device)).unwrap()));
        assert_eq!(first, second);
        hooks.detach("second").unwrap();
        first
    });
    let second = world.peer.enter(|| link(&attach(&world.hooks(), &Request::new(world::FAR)).unwrap()));
    assert_eq!(first, second);
    world.host.enter(|| world.hooks().detach(NIC).unwrap());
    world.peer.enter(|| {
        let hooks = world.hooks();
        assert_eq!(link(&hooks.status().unwrap()[0]), first);
        hooks.detach(world::FAR).unwrap();
    });
    world.assert_clean(NIC);
    world.host.enter(|| assert_ne!(link(&attach(&world.hooks(), &Request::new(NIC)).unwrap()), first));
}

#[test]
fn a_driver_that_knows_receive_times_is_asked_for_them() {
    let Some(world) = World::new() else { return };
    for tc in [TcChoice::Tcx, TcChoice::Clsact] {
        let (hooks, notices) = world.telling_hooks();
        world.host.enter(|| {
            let request = Request { hardware: true, ingress: IngressChoice::Xdp, tc, ..Request::new(NIC) };
            let attached = attach(&hooks, &request).unwrap();
            let of = |attachment: &Attachment| attachment.hooks.iter().map(|hook| hook.hook).collect::<Vec<_>>();
            let expected = [Hook::TC_EGRESS, Hook::XDP_INGRESS, Hook::TC_INGRESS, Hook::DRIVER_TX, Hook::NIC_RX];
            assert_eq!(of(&attached), expected);
            assert_eq!(attached.hooks[1].mechanism, Some(Mechanism::Xdp(XdpMode::Native)));
            assert_eq!(attached.hooks[4].mechanism, Some(Mechanism::XdpMetadata));
            // A veth carries the metadata over, but has no times to put there.
            let hooks_of_records: Vec<_> = probe().iter().map(Record::hook).collect();
            assert_eq!(hooks_of_records, [Hook::TC_EGRESS, Hook::XDP_INGRESS, Hook::DRIVER_TX]);
            hooks.detach(NIC).unwrap();
        });
        let notices: Vec<_> = notices.try_iter().collect();
        assert!(matches!(notices.as_slice(), [Notice::CardStampsNothing { .. }]), "{notices:?}");
        world.assert_clean(NIC);
    }
}

#[test]
fn a_card_that_cannot_be_set_back_is_in_no_other_commands_way() {
    let Some(world) = World::new() else { return };
    let (hooks, notices) = world.telling_hooks();
    let inside = &world;
    world.host.enter(move || {
        let world = inside;
        attach(&hooks, &Request::new(NIC)).unwrap();
        // A veth has no setting, as a card that is down may have none.
        let [whole] = world
            .bpffs
            .entries()
            .into_iter()
            .filter(|path| path.join("SITE").exists())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        std::fs::create_dir(whole.join("setting_0_0_1_1")).unwrap();
        let error = hooks.detach(NIC).unwrap_err().to_string();
        assert!(error.contains("restore the timestamps of nic"), "{error}");
        assert_eq!(probe().len(), 3, "it is attached as before");

        // As a command leaves it that dies.
        let partial = whole.with_file_name(format!("{}_partial", whole.file_name().unwrap().display()));
        std::fs::rename(&whole, &partial).unwrap();
        let _: Vec<_> = notices.try_iter().collect();
        assert_eq!(hooks.status().unwrap().len(), 0);
        assert!(notices.try_iter().any(|notice| matches!(notice, Notice::CardNotRestored { .. })));
        world.peer.enter(|| hooks.sweep().unwrap());
        assert!(partial.exists(), "its network namespace alone can do that");
        std::fs::remove_dir(partial.join("setting_0_0_1_1")).unwrap();
        hooks.sweep().unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_device_without_hardware_times_is_attached_and_told() {
    let Some(world) = World::new() else { return };
    let (hooks, notices) = world.telling_hooks();
    world.host.enter(|| {
        let request = Request { hardware: true, ingress: IngressChoice::Tc, ..Request::new(NIC) };
        let attached = attach(&hooks, &request).unwrap();
        assert_eq!(mechanisms(&attached), [Some(Mechanism::Tc(TcMode::Tcx)); 2]);
        assert_eq!(probe().len(), 3);
        hooks.detach(NIC).unwrap();
    });
    let notices: Vec<_> = notices.try_iter().collect();
    assert!(matches!(notices.as_slice(), [Notice::NoNicRx { .. }, Notice::CardStampsNothing { .. }]), "{notices:?}");
    world.assert_clean(NIC);
}

/// Sends one probe to the peer, whose kernel answers, and returns its stamps.
fn probe() -> Vec<Record> {
    let socket = socket();
    send(&socket, 7);
    loop {
        let mut packet = [0; 256];
        let length = (&socket).read(&mut packet).unwrap();
        let (ip, message) = packet[..length].split_at(usize::from(packet[0] & 0xf) * 4);
        // A raw socket sees every ICMP message to this host.
        if ip[9] == 1 && message[0] == 0 {
            return Trailer::parse(&message[8..]).unwrap().records.to_vec();
        }
    }
}

fn socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Sends a probe to the peer.
fn send(socket: &Socket, nonce: u64) {
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.resize(message.len() + trailer_length(DEFAULT_CAP) - size_of::<Footer>(), 0);
    message.extend(Footer::new(nonce, State::new(0xffff, DEFAULT_CAP)).as_bytes());
    let checksum = (!sum_bytes(&message)).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let peer = SocketAddr::from((Ipv4Addr::new(10, 77, 0, 2), 0));
    socket.send_to(&message, &peer.into()).unwrap();
}

#[test]
fn software_devices_get_tc_and_the_reason_is_told() {
    let Some(world) = World::new() else { return };
    let (hooks, notices) = world.telling_hooks();
    let attached = world.host.enter(|| attach(&hooks, &Request::new(NIC)).unwrap());
    assert_eq!(attached.hooks[1].hook, Hook::TC_INGRESS);
    let notices: Vec<_> = notices.try_iter().collect();
    let [Notice::Chosen { device, choice }] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((device.as_str(), &choice.reason), (NIC, &Reason::Software("veth".to_owned())));
}

#[test]
fn a_second_attach_names_the_first_and_changes_nothing() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let first = attach(&hooks, &Request::new(NIC)).unwrap();
        for (request, _) in ways() {
            let error = attach(&hooks, &request).unwrap_err();
            assert!(matches!(error, Error::AlreadyAttached { .. }), "{error}");
            assert!(error.to_string().contains("instamp detach --dev nic"), "{error}");
            assert!(error.to_string().contains("tc-ingress (tcx)"), "{error}");
        }
        let links = |attachment: &Attachment| attachment.hooks.iter().map(|hook| hook.link_id).collect::<Vec<_>>();
        assert_eq!(links(&hooks.status().unwrap()[0]), links(&first));
    });
}

#[test]
fn a_foreign_xdp_program_is_named_and_stays() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let mut object = EbpfLoader::new().load(&Objects::built_in().xdp).unwrap();
        let foreign: &mut Xdp = object.program_mut("xdp_ingress").unwrap().try_into().unwrap();
        foreign.load().unwrap();
        foreign.attach(NIC, AyaXdpMode::Driver).unwrap();
        let id = foreign.info().unwrap().id();

        let hooks = world.hooks();
        let xdp = Request { ingress: IngressChoice::Xdp, ..Request::new(NIC) };
        let error = attach(&hooks, &xdp).unwrap_err();
        let Error::ForeignXdp { id: named, name, .. } = &error else { panic!("{error}") };
        assert_eq!((*named, name.as_str()), (id, "xdp_ingress"));
        assert!(error.to_string().contains("--ingress tc"), "{error}");
        assert_eq!(world.bpffs.entries().len(), 0);

        attach(&hooks, &Request { ingress: IngressChoice::Tc, ..xdp }).unwrap();
        hooks.detach(NIC).unwrap();
        let link = world::run("ip", &["-details", "link", "show", NIC]);
        assert!(link.contains(&format!("prog/xdp id {id} ")), "{link}");
    });
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let good = Objects::built_in();
    // The last has no program for egress, which is attached after ingress.
    let bad = [
        Objects { xdp: good.xdp.clone(), tc: vec![0; 64].into() },
        Objects { xdp: vec![0; 64].into(), tc: good.tc.clone() },
        Objects { xdp: good.xdp.clone(), tc: good.xdp.clone() },
    ];
    for objects in bad {
        for ingress in [IngressChoice::Xdp, IngressChoice::Auto] {
            for tc in [TcChoice::Tcx, TcChoice::Clsact] {
                let request = Request { ingress, tc, ..Request::new(NIC) };
                let attached = world.host.enter(|| world.hooks().attach(&objects, &request));
                if ingress == IngressChoice::Auto && attached.is_ok() {
                    // A veth needs no XDP object.
                    world.host.enter(|| world.hooks().detach(NIC)).unwrap();
                } else {
                    assert!(matches!(attached, Err(Error::System { .. })), "{attached:?}");
                }
                world.assert_clean(NIC);
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let Some(world) = World::new() else { return };
    world.host.ip(&["tuntap", "add", "tun0", "mode", "tun"]);
    world.host.ip(&["link", "add", "bridge", "type", "bridge"]);
    world.host.enter(|| {
        let hooks = world.hooks();
        let said = |request: &Request| attach(&hooks, request).unwrap_err().to_string();

        let error = said(&Request::new("nosuch"));
        assert!(error.contains("no device nosuch") && error.contains("lo, nic"), "{error}");
        let error = said(&Request::new("lo"));
        assert!(error.contains("lo is not an Ethernet device (its link layer: loopback)"), "{error}");
        let error = said(&Request::new("tun0"));
        assert!(error.contains("tun0 is not an Ethernet device (its link layer: none)"), "{error}");
        let error = said(&Request { ingress: IngressChoice::Xdp, ..Request::new("bridge") });
        assert!(error.contains("the driver of bridge refuses native XDP"), "{error}");
        assert!(error.contains("--xdp-mode generic") && error.contains("--ingress tc"), "{error}");
        let error =
            said(&Request { settings: Settings { point: Some(8), ..Settings::default() }, ..Request::new(NIC) });
        assert!(error.contains("point 8"), "{error}");
        let error = hooks.detach(NIC).unwrap_err().to_string();
        assert!(error.contains("nic is not attached"), "{error}");

        let many = (0..1025_u32).map(|n| std::net::IpAddr::from(Ipv4Addr::from_bits(n << 8)).into());
        let error = said(&Request {
            settings: Settings { sources: Some(many.collect()), ..Settings::default() },
            ..Request::new(NIC)
        });
        assert!(error.contains("more than the 1024"), "{error}");

        let directory = tempfile::TempDir::new().unwrap();
        let error = Hooks::open(Some(directory.path()), |_| {}).unwrap().status().unwrap_err().to_string();
        assert!(error.contains("mount -t bpf -o mode=700 bpf"), "{error}");
    });
    world.assert_clean(NIC);
}

#[test]
fn several_devices_have_their_own_points_and_lives() {
    let Some(world) = World::new() else { return };
    world.host.ip(&["link", "add", "second", "type", "veth", "peer", "name", "third"]);
    world.host.enter(|| {
        let hooks = world.hooks();
        for (point, device) in [(0, NIC), (1, "second"), (7, "third")] {
            let settings = Settings { point: Some(point), ..Settings::default() };
            attach(&hooks, &Request { settings, ..Request::new(device) }).unwrap();
        }
        let points = || {
            let mut status = hooks.status().unwrap();
            status.sort_by_key(|attachment| attachment.site.point);
            status.into_iter().map(|attachment| (attachment.site.point, attachment.device)).collect::<Vec<_>>()
        };
        assert_eq!(points(), [(0, NIC.to_owned()), (1, "second".to_owned()), (7, "third".to_owned())]);
        world::run("ip", &["link", "set", "second", "name", "renamed"]);
        hooks.detach(NIC).unwrap();
        assert_eq!(points(), [(1, "renamed".to_owned()), (7, "third".to_owned())]);
        let mut detached = hooks.detach_all().unwrap();
        detached.sort();
        assert_eq!(detached, ["renamed", "third"]);
        assert_eq!(hooks.detach_all().unwrap(), Vec::<String>::new());
    });
    world.assert_clean(NIC);
}

#[test]
fn namespaces_do_not_see_each_other() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| attach(&world.hooks(), &Request::new(NIC)).unwrap());
    world.peer.enter(|| {
        let hooks = world.hooks();
        assert_eq!(hooks.status().unwrap().len(), 0);
        assert!(matches!(hooks.detach(NIC), Err(Error::UnknownDevice { .. })));
        attach(&hooks, &Request { tc: TcChoice::Clsact, ..Request::new(world::FAR) }).unwrap();
        hooks.detach_all().unwrap();
    });
    assert_eq!(world.host.enter(|| world.hooks().status().unwrap()).len(), 1);
}

#[test]
fn hooks_in_all_namespaces_of_a_host_have_its_number() {
    let Some(world) = World::new() else { return };
    let node = |namespace: &world::Namespace, device| {
        namespace.enter(|| attach(&world.hooks(), &Request::new(device)).unwrap().site.node)
    };
    let host = node(&world.host, NIC);
    assert_ne!(host, 0);
    assert_eq!(node(&world.peer, world::FAR), host);
}

#[test]
fn an_update_changes_site_and_policy_and_keeps_the_hooks() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let wide = (0..700_u32).map(|n| std::net::IpAddr::from(Ipv4Addr::from_bits(n << 8)).into()).collect();
        let before = Settings { sources: Some(wide), ..Settings::default() };
        let before = attach(&hooks, &Request { settings: before, ..Request::new(NIC) }).unwrap();
        assert_eq!((before.site.point, before.site.respond_clock), (0, Clock::TAI.number()));

        world::run("ip", &["addr", "add", "192.0.2.9/32", "dev", "lo"]);
        // With the old prefixes these would be more than the map holds.
        let mut respond: Vec<_> =
            (0..700_u32).map(|n| std::net::IpAddr::from(Ipv4Addr::from_bits(0x6400_0000 | n << 8)).into()).collect();
        respond.push("192.0.2.0/24".parse().unwrap());
        let settings = Settings {
            point: Some(2),
            node: Some(9),
            sources: Some(Vec::new()),
            respond: Some(respond),
            respond_clock: Some(Clock::MONOTONIC),
        };
        let after = hooks.update(NIC, &settings).unwrap();
        assert_eq!((after.site.point, after.site.node), (2, 9));
        assert_eq!(after.site.respond_clock, Clock::MONOTONIC.number());
        let both = Standing::OWN.and(Standing::RESPOND);
        let standing = |text: &str| after.policy.get(&text.parse().unwrap()).copied();
        assert_eq!(standing("192.0.2.9/32"), Some(both));
        assert_eq!(standing("192.0.2.0/24"), Some(Standing::RESPOND));
        assert_eq!(standing("10.77.0.1/32"), Some(Standing::OWN));
        assert_eq!(standing("fd77::1/128"), Some(Standing::OWN));
        assert_eq!(standing("127.0.0.1/32"), None);
        assert_eq!(standing("0.0.1.0/32"), None);
        let links = |attachment: &Attachment| attachment.hooks.iter().map(|hook| hook.link_id).collect::<Vec<_>>();
        assert_eq!(links(&after), links(&before));
    });
}

#[test]
fn an_update_keeps_what_it_does_not_name_and_reads_the_addresses_anew() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Prefix>>();
        let settings = Settings {
            point: Some(3),
            node: Some(9),
            sources: Some(prefixes(&["172.16.0.0/12", "fd77::/64"])),
            respond: Some(prefixes(&["0.0.0.0/0", "10.77.0.1"])),
            respond_clock: Some(Clock::MONOTONIC),
        };
        let first = attach(&hooks, &Request { settings: settings.clone(), ..Request::new(NIC) }).unwrap();
        let same = hooks.update(NIC, &Settings::default()).unwrap();
        for attachment in [&first, &same] {
            let site = attachment.site;
            assert_eq!((site.point, site.node, site.respond_clock), (3, 9, Clock::MONOTONIC.number()));
            assert_eq!(Some(&attachment.sources), settings.sources.as_ref());
            assert_eq!(Some(&attachment.respond), settings.respond.as_ref());
            assert_eq!(attachment.policy, first.policy);
        }

        world::run("ip", &["addr", "add", "192.0.2.9/32", "dev", NIC]);
        world::run("ip", &["addr", "del", "10.77.0.1/24", "dev", NIC]);
        let both = Standing::OWN.and(Standing::RESPOND);
        let standing = |attachment: &Attachment, text: &str| attachment.policy.get(&text.parse().unwrap()).copied();
        let moved = hooks.update(NIC, &Settings::default()).unwrap();
        assert_eq!(standing(&moved, "192.0.2.9/32"), Some(both));
        assert_eq!(standing(&moved, "10.77.0.1/32"), Some(Standing::RESPOND));

        let respond = Some(prefixes(&["198.51.100.0/24"]));
        let fewer = hooks.update(NIC, &Settings { respond: respond.clone(), ..Settings::default() }).unwrap();
        assert_eq!((Some(&fewer.sources), Some(fewer.respond.clone())), (settings.sources.as_ref(), respond));
        assert_eq!(standing(&fewer, "192.0.2.9/32"), Some(Standing::OWN));
        let none = Settings { sources: Some(Vec::new()), respond: Some(Vec::new()), ..Settings::default() };
        let none = hooks.update(NIC, &none).unwrap();
        assert_eq!((none.sources.len(), none.respond.len(), none.site.point), (0, 0, 3));
        assert!(none.policy.values().all(|&standing| standing == Standing::OWN), "{none:?}");
    });
}

#[test]
fn the_veth_of_a_container_allows_the_container_and_the_uplink_does_not() {
    let Some(world) = World::new() else { return };
    world.peer.ip(&["addr", "add", "fd77::2/64", "dev", world::FAR, "nodad"]);
    world.peer.ip(&["link", "add", "elsewhere", "type", "bridge"]);
    world.peer.ip(&["addr", "add", "192.0.2.1/32", "dev", "elsewhere"]);
    world.host.enter(|| {
        let hooks = world.hooks();
        let own = |attachment: &Attachment, address: &str| attachment.policy.contains_key(&address.parse().unwrap());
        let uplink = attach(&hooks, &Request::new(NIC)).unwrap();
        assert!(own(&uplink, "10.77.0.1") && !own(&uplink, "10.77.0.2") && !own(&uplink, "fd77::2"));
        let container = hooks.update(NIC, &Settings { point: Some(1), ..Settings::default() }).unwrap();
        assert!(own(&container, "10.77.0.1") && own(&container, "10.77.0.2") && own(&container, "fd77::2"));
        // Of the container's devices only the one at the other end.
        assert!(!own(&container, "192.0.2.1"));
    });
}

#[test]
fn the_veth_of_a_container_at_the_point_of_the_uplink_is_told() {
    let Some(world) = World::new() else { return };
    let (hooks, notices) = world.telling_hooks();
    let is_told = |point| {
        let settings = Settings { point, ..Settings::default() };
        world.host.enter(|| attach(&hooks, &Request { settings, ..Request::new(NIC) }).unwrap());
        world.host.enter(|| hooks.detach(NIC).unwrap());
        notices.try_iter().any(|notice| notice == Notice::ContainerAtUplink { device: NIC.to_owned() })
    };
    assert!(!is_told(None), "a host has an address at its uplink");
    world.host.ip(&["address", "flush", "dev", NIC, "scope", "global"]);
    assert!(is_told(None), "link-local addresses are everywhere");
    // Where each container is routed, all veths have the same address, of no network.
    world.host.ip(&["address", "add", "10.77.0.1/32", "dev", NIC]);
    assert!(is_told(None));
    assert!(!is_told(Some(0)) && !is_told(Some(1)), "whoever says the point knows it");
    world.host.ip(&["link", "add", "second", "type", "veth", "peer", "name", "other"]);
    world.host.enter(|| attach(&hooks, &Request::new("second")).unwrap());
    assert!(notices.try_iter().all(|notice| !matches!(notice, Notice::ContainerAtUplink { .. })), "both ends are here");
}

#[test]
fn a_queueing_discipline_of_others_stays() {
    let Some(world) = World::new() else { return };
    let clsact = Request { tc: TcChoice::Clsact, ..Request::new(NIC) };
    let attach_and_detach = |between: &[&str]| {
        world.host.enter(|| {
            let hooks = world.hooks();
            attach(&hooks, &clsact).unwrap();
            if !between.is_empty() {
                world::run("tc", between);
            }
            hooks.detach(NIC).unwrap();
        });
        world.host.tc(&["qdisc", "show", "dev", NIC])
    };
    // There before.
    world.host.tc(&["qdisc", "add", "dev", NIC, "clsact"]);
    assert!(attach_and_detach(&[]).contains("clsact"));
    world.host.tc(&["qdisc", "del", "dev", NIC, "clsact"]);
    // In use since.
    assert!(
        attach_and_detach(&["filter", "add", "dev", NIC, "egress", "bpf", "bytecode", CONTINUE]).contains("clsact")
    );
    assert!(world.host.tc(&["filter", "show", "dev", NIC, "egress"]).contains("bytecode"));
    assert!(!world.host.tc(&["filter", "show", "dev", NIC, "egress"]).contains("tc_egress"));
}

#[test]
fn tcx_programs_are_first_on_the_way_in_and_last_on_the_way_out() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let mut object = EbpfLoader::new().load(&Objects::built_in().tc).unwrap();
        let mut foreign = |name: &str, hook| {
            let program: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(NIC, hook).unwrap();
            program.info().unwrap().id()
        };
        let ingress = foreign("tc_ingress", TcAttachType::Ingress);
        let egress = foreign("tc_egress", TcAttachType::Egress);
        attach(&world.hooks(), &Request { tc: TcChoice::Tcx, ..Request::new(NIC) }).unwrap();
        let place = |hook, id| {
            let (_, programs) = SchedClassifier::query_tcx(NIC, hook).unwrap();
            assert_eq!(programs.len(), 2);
            programs.iter().position(|program| program.id() == id).unwrap()
        };
        assert_eq!(place(TcAttachType::Ingress, ingress), 1);
        assert_eq!(place(TcAttachType::Egress, egress), 0);
    });
}

#[test]
fn jumbo_frames_are_not_in_the_way_of_native_xdp() {
    let Some(world) = World::new() else { return };
    world.host.ip(&["link", "set", NIC, "mtu", "9000"]);
    world.peer.ip(&["link", "set", world::FAR, "mtu", "9000"]);
    let request = Request { ingress: IngressChoice::Xdp, ..Request::new(NIC) };
    let attached = world.host.enter(|| attach(&world.hooks(), &request).unwrap());
    assert_eq!(attached.hooks[1].mechanism, Some(Mechanism::Xdp(XdpMode::Native)));
}

#[test]
fn capabilities_are_those_of_the_device() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let all = capabilities(None).unwrap();
        assert_eq!(all.iter().map(|device| device.device.as_str()).collect::<Vec<_>>(), ["lo", NIC]);
        assert!(matches!(all[0].choice, Err(Error::NotEthernet { .. })));

        let [nic] = capabilities(Some(NIC)).unwrap().try_into().unwrap();
        assert_eq!((nic.kind.as_deref(), nic.driver.as_deref()), (Some("veth"), Some("veth")));
        assert_eq!(nic.choice.unwrap().ingress, Ingress::Tc);
        assert_eq!(nic.timestamping.unwrap().phc, None);
        assert_eq!(nic.xdp_program_id, None);
        // Linux 6.3 tells. A veth has native XDP.
        if let Some(xdp) = nic.xdp {
            assert!(xdp.native && !xdp.zero_copy);
        }
        assert!(matches!(capabilities(Some("nosuch")), Err(Error::UnknownDevice { .. })));

        attach(&world.hooks(), &Request { ingress: IngressChoice::Xdp, ..Request::new(NIC) }).unwrap();
        assert!(capabilities(Some(NIC)).unwrap()[0].xdp_program_id.is_some());
    });
}

#[test]
fn filters_are_first_on_the_way_in_and_last_on_the_way_out() {
    let Some(world) = World::new() else { return };
    world.host.tc(&["qdisc", "add", "dev", NIC, "clsact"]);
    for hook in ["ingress", "egress"] {
        world.host.tc(&["filter", "add", "dev", NIC, hook, "prio", "7", "bpf", "bytecode", CONTINUE]);
    }
    world.host.enter(|| attach(&world.hooks(), &Request { tc: TcChoice::Clsact, ..Request::new(NIC) }).unwrap());
    let order = |hook| {
        let filters = world.host.tc(&["filter", "show", "dev", NIC, hook]);
        (filters.find("bytecode").unwrap(), filters.find("direct-action").unwrap())
    };
    let (other, ours) = order("ingress");
    assert!(ours < other);
    let (other, ours) = order("egress");
    assert!(other < ours);
}

#[test]
fn a_priority_that_is_taken_is_not_in_the_way() {
    let Some(world) = World::new() else { return };
    world.host.tc(&["qdisc", "add", "dev", NIC, "clsact"]);
    for (hook, priority) in [("ingress", "1"), ("egress", "65535")] {
        let filter =
            ["filter", "add", "dev", NIC, hook, "prio", priority, "protocol", "ip", "bpf", "bytecode", CONTINUE];
        world.host.tc(&filter);
    }
    let request = Request { tc: TcChoice::Clsact, ..Request::new(NIC) };
    let attached = world.host.enter(|| attach(&world.hooks(), &request).unwrap());
    assert_eq!(mechanisms(&attached), [Some(Mechanism::Tc(TcMode::Clsact)); 2]);
    world.host.enter(|| world.hooks().detach(NIC).unwrap());
    for hook in ["ingress", "egress"] {
        let filters = world.host.tc(&["filter", "show", "dev", NIC, hook]);
        assert!(filters.contains("bytecode") && !filters.contains("direct-action"), "{filters}");
    }
}

#[test]
fn a_hook_that_somebody_took_off_is_told_and_the_rest_detaches() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, &Request { tc: TcChoice::Clsact, ..Request::new(NIC) }).unwrap();
        world::run("tc", &["filter", "del", "dev", NIC, "egress"]);
        let [status] = hooks.status().unwrap().try_into().unwrap();
        assert_eq!(mechanisms(&status), [None, Some(Mechanism::Tc(TcMode::Clsact))]);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_removed_device_is_swept_and_its_number_is_free() {
    let Some(world) = World::new() else { return };
    for (request, expected) in ways() {
        let ifindex = world.host.enter(|| attach(&world.hooks(), &request).unwrap().ifindex);
        world.host.ip(&["link", "delete", NIC]);
        world.host.enter(|| world.hooks().sweep().unwrap());
        assert_eq!(world.bpffs.entries().len(), 0, "{request:?}");

        world.plug(&world.host, NIC);
        world.host.enter(|| attach(&world.hooks(), &request).unwrap());
        world.host.ip(&["link", "delete", NIC]);
        // Another device takes the number before anybody sweeps.
        let index = (ifindex + 1).to_string();
        world.host.ip(&["link", "add", NIC, "index", &index, "type", "veth", "peer", "name", "other"]);
        let status = world.host.enter(|| world.hooks().status().unwrap());
        assert_eq!(status.len(), 0, "{request:?}: {status:?}");
        world.assert_clean(NIC);
        let attached = world.host.enter(|| {
            let attached = attach(&world.hooks(), &request).unwrap();
            world.hooks().detach(NIC).unwrap();
            attached
        });
        assert_eq!(mechanisms(&attached), expected.map(Some));
        world.host.ip(&["link", "delete", NIC]);
        world.plug(&world.host, NIC);
    }
}

#[test]
fn a_removed_namespace_is_swept_from_another() {
    for (request, _) in ways() {
        let Some(world) = World::new() else { return };
        world.host.enter(|| attach(&world.hooks(), &request).unwrap());
        // Alive, it is left alone.
        world.peer.enter(|| world.hooks().sweep().unwrap());
        assert!(!world.bpffs.entries().is_empty(), "{request:?}");

        world::run("ip", &["netns", "delete", &world.host.name]);
        // The kernel takes a namespace apart after the command has returned.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !world.bpffs.entries().is_empty() {
            assert!(Instant::now() < deadline, "{request:?}: {:?}", world.bpffs.entries());
            world.peer.enter(|| world.hooks().sweep().unwrap());
        }
    }
}

#[test]
fn what_a_crash_left_in_another_namespace_is_swept_as_far_as_it_can_be_reached() {
    for (request, expected) in ways() {
        let Some(world) = World::new() else { return };
        world.host.enter(|| attach(&world.hooks(), &request).unwrap());
        let whole = world.bpffs.entries().into_iter().find(|path| path.join("SITE").exists()).unwrap();
        fs::rename(&whole, whole.with_file_name(format!("{}_partial", whole.file_name().unwrap().display()))).unwrap();

        world.peer.enter(|| world.hooks().sweep().unwrap());
        let filters = expected.contains(&Mechanism::Tc(TcMode::Clsact));
        assert_eq!(world.bpffs.entries().is_empty(), !filters, "{request:?}");
        world.host.enter(|| world.hooks().sweep().unwrap());
        world.assert_clean(NIC);
    }
}

#[test]
fn commands_at_the_same_time_wait_for_each_other() {
    let Some(world) = World::new() else { return };
    let devices: Vec<String> = (0..4).map(|n| format!("v{n}")).collect();
    for device in &devices {
        world.host.ip(&["link", "add", device, "type", "veth", "peer", "name", &format!("{device}far")]);
    }
    thread::scope(|scope| {
        for device in &devices {
            let world = &world;
            scope.spawn(move || {
                world.host.enter(|| {
                    for tc in [TcChoice::Tcx, TcChoice::Clsact, TcChoice::Auto] {
                        attach(&world.hooks(), &Request { tc, ..Request::new(device) }).unwrap();
                        let status = world.hooks().status().unwrap();
                        assert!(status.iter().any(|attachment| attachment.device == *device));
                        world.hooks().detach(device).unwrap();
                    }
                });
            });
        }
    });
    world.assert_clean(NIC);
}

#[test]
fn generic_xdp_is_what_it_says() {
    let Some(world) = World::new() else { return };
    let request = Request { ingress: IngressChoice::Xdp, xdp_mode: XdpMode::Generic, ..Request::new(NIC) };
    world.host.enter(|| attach(&world.hooks(), &request).unwrap());
    assert!(world.host.ip(&["link", "show", NIC]).contains("xdpgeneric"));
}

/// The environment variable that turns a test into the process that another one starts without privilege.
const UNPRIVILEGED: &str = "INSTAMP_TEST_UNPRIVILEGED";

#[test]
fn without_privilege_the_error_says_which_is_needed() {
    if env::var_os(UNPRIVILEGED).is_some() {
        assert!(!nix::unistd::geteuid().is_root());
        let hooks = Hooks::open(None, |_| {}).unwrap();
        let error = attach(&hooks, &Request::new(NIC)).unwrap_err();
        assert!(matches!(error, Error::Privilege { .. }), "{error}");
        assert!(error.to_string().contains("CAP_NET_ADMIN, CAP_SYS_ADMIN"), "{error}");
        return;
    }
    let Some(world) = World::new() else { return };
    // Where the others may not look, nobody else can run this program.
    let directory = tempfile::TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("test");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let nobody = Some(65534);
    // With a file system of its own, it is the kernel that refuses.
    for (mode, owner) in [(0o700, None), (0o1777, None), (0o1777, nobody), (0o700, nobody)] {
        fs::set_permissions(world.bpffs.path(), Permissions::from_mode(mode)).unwrap();
        chown(world.bpffs.path(), owner, owner).unwrap();
        let output = world.host.enter(|| {
            Command::new(&program)
                .args(["without_privilege_the_error_says_which_is_needed", "--exact"])
                .env(UNPRIVILEGED, "1")
                .env(BPFFS_VARIABLE, world.bpffs.path())
                .current_dir("/")
                .uid(65534)
                .gid(65534)
                .output()
                .unwrap()
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    world.assert_clean(NIC);
}

/// A command of a stranger, who locks `directory` until it is told to go on with `then`.
fn locked_by(user: u32, directory: &Path, then: &str) -> Child {
    let mut child = Command::new("flock")
        .arg(directory)
        .args(["sh", "-c", &format!("echo locked; read line; {then}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .current_dir("/")
        .uid(user)
        .gid(user)
        .spawn()
        .unwrap();
    let mut said = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"locked\n");
    child
}

/// The default mode of a BPF file system lets everybody make names in its root, and lock it.
#[test]
fn a_stranger_can_neither_stop_a_command_nor_give_it_a_directory() {
    let Some(world) = World::new() else { return };
    fs::set_permissions(world.bpffs.path(), Permissions::from_mode(0o1777)).unwrap();
    let mut stranger = locked_by(65534, world.bpffs.path(), "true");
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(world.host.enter(|| attach(&world.hooks(), &Request::new(NIC)).is_ok())));
        let ended = ended.recv_timeout(Duration::from_secs(20));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(ended, Ok(true), "it waits for a stranger");
    });
    let root = world.bpffs.path().join("instamp");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    world.host.enter(|| world.hooks().detach(NIC).unwrap());
    world.assert_clean(NIC);

    let stranger = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&root).current_dir("/").uid(65534).gid(65534);
        assert!(command.status().unwrap().success());
    };
    let refused = |words: &[&str]| {
        world.host.enter(|| {
            for error in [attach(&world.hooks(), &Request::new(NIC)).unwrap_err(), world.hooks().status().unwrap_err()]
            {
                let error = error.to_string();
                assert!(words.iter().all(|word| error.contains(word)), "{error}");
            }
        });
        world.assert_bare(NIC);
    };
    stranger("mkdir", &[]);
    refused(&["instamp belongs to user 65534", "remove it"]);
    stranger("rmdir", &[]);
    stranger("ln", &["-s", "/sys/fs/bpf"]);
    refused(&["instamp belongs to user 65534", "remove it"]);
    stranger("rm", &[]);

    fs::create_dir(&root).unwrap();
    for mode in [0o770, 0o1777, 0o702] {
        fs::set_permissions(&root, Permissions::from_mode(mode)).unwrap();
        refused(&[&format!("chmod 700 {}", root.display())]);
    }
    fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(world.bpffs.path(), Permissions::from_mode(0o777)).unwrap();
    refused(&[&format!("chmod 700 {}", world.bpffs.path().display())]);
    fs::set_permissions(world.bpffs.path(), Permissions::from_mode(0o700)).unwrap();
    world.host.enter(|| assert_eq!(world.hooks().status().unwrap().len(), 0));
    world.assert_clean(NIC);
}

#[test]
fn a_command_that_waits_says_so_and_goes_on_where_the_directory_was_removed() {
    let Some(world) = World::new() else { return };
    let root = world.bpffs.path().join("instamp");
    for then in ["true", &format!("rmdir {}", root.display())] {
        fs::create_dir(&root).unwrap();
        let mut other = locked_by(0, &root, then);
        let (hooks, notices) = world.telling_hooks();
        let attached = thread::scope(|scope| {
            let waiting = scope.spawn(|| world.host.enter(|| attach(&hooks, &Request::new(NIC))));
            assert_eq!(notices.recv(), Ok(Notice::Waiting { path: root.clone() }));
            drop(other.stdin.take());
            assert!(other.wait().is_ok());
            waiting.join().unwrap()
        });
        attached.unwrap();
        assert_eq!(world.host.enter(|| world.hooks().status().unwrap()).len(), 1);
        world.host.enter(|| world.hooks().detach(NIC).unwrap());
        world.assert_clean(NIC);
    }
}
