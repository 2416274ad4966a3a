//! Containers: both of their devices, and what is left when they go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::os::unix::fs::MetadataExt as _;

use aya::maps::{Array, MapData};
use instamp_hooks::{
    Attachment, Container, ContainerHooks, ContainerRequest, Error, Hooks, IngressChoice, Notice, Objects, Prefix,
    ReflectRequest, Request, Settings, TcChoice, XdpMode,
};
use world::{NIC, Namespace, World};

const VETH: &str = "veth-a";

fn container(namespace: &Namespace) -> ContainerRequest {
    let container = Container { engine: "test".to_owned(), id: namespace.name.clone(), ..Container::default() };
    ContainerRequest::new(container, namespace.open())
}

/// A host whose uplink is the NIC.
fn world() -> Option<World> {
    let world = World::new()?;
    world.host.ip(&["route", "add", "default", "via", "10.77.0.2"]);
    Some(world)
}

fn attach(hooks: &Hooks, request: &ContainerRequest) -> Result<ContainerHooks, Error> {
    hooks.attach_container(&Objects::built_in(), request)
}

fn status(hooks: &Hooks, device: &str) -> Option<Attachment> {
    hooks.status().unwrap().into_iter().find(|attachment| attachment.device == device)
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn both_devices_are_attached_to_and_nothing_is_left() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| {
        let hooks = world.hooks();
        let made = attach(&hooks, &container(&inside)).unwrap();
        assert_eq!([&made.veth, &made.uplink].map(|end| (&*end.device, end.site.point)), [(VETH, 1), (NIC, 0)]);
        assert!(!made.uplink_was_attached);
        // Those of the link alone, which the kernel gives the device some time, are never forwarded.
        assert_eq!(made.uplink.containers, prefixes(&["10.88.1.2"]));
        assert!(made.veth.containers.contains(&"10.88.1.2".parse().unwrap()));
        let of = made.veth.container.unwrap();
        assert_eq!((&*of.container.id, &*of.container.interface), (&*inside.name, "eth0"));
        assert_eq!((of.uplink.as_deref(), made.uplink.container), (Some(NIC), None));
        // Twice is once.
        assert!(matches!(attach(&hooks, &container(&inside)), Err(Error::AlreadyAttached { .. })));
        assert_eq!(hooks.status().unwrap().len(), 2);
        assert_eq!(hooks.detach_namespace(&inside.open()).unwrap(), [VETH, NIC]);
    });
    world.assert_clean(NIC);
    world.assert_bare(VETH);
}

#[test]
fn an_uplink_that_was_attached_is_left_as_it_was() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| {
        let hooks = world.hooks();
        let settings = Settings { sources: Some(prefixes(&["192.0.2.0/24"])), ..Settings::default() };
        let request = Request { ingress: IngressChoice::Tc, settings, ..Request::new(NIC) };
        hooks.attach(&Objects::built_in(), &request).unwrap();
        let before = status(&hooks, NIC).unwrap();
        let made = attach(&hooks, &container(&inside)).unwrap();
        assert!(made.uplink_was_attached);
        assert_eq!(made.uplink.containers, prefixes(&["10.88.1.2"]));
        assert_eq!((&made.uplink.own, &made.uplink.sources), (&before.own, &before.sources));

        // An update of the uplink keeps them.
        let updated = hooks.update(NIC, &Settings { node: Some(7), ..Settings::default() }).unwrap();
        assert_eq!((updated.site.node, updated.containers), (7, prefixes(&["10.88.1.2"])));

        assert_eq!(hooks.detach_containers(|container| container.id == inside.name).unwrap(), [VETH]);
        let after = status(&hooks, NIC).unwrap();
        assert_eq!((after.policy, after.containers), (before.policy, Vec::new()));
        // Nothing is found any more, and that is no error.
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), Vec::<String>::new());
        assert!(matches!(hooks.detach_namespace(&inside.open()), Err(Error::NoContainer)));
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

/// Of two numbers the reader would make two hosts.
#[test]
fn both_devices_tell_the_same_node() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        let settings = Settings { node: Some(0x55), ..Settings::default() };
        hooks.attach(&Objects::built_in(), &Request { settings, ..Request::new(NIC) }).unwrap();
        let of_node = |node| {
            let settings = Settings { node, sources: Some(prefixes(&["192.0.2.0/24"])), ..Settings::default() };
            ContainerRequest { settings, ingress: IngressChoice::Tc, ..container(&inside) }
        };
        let refused = attach(&hooks, &of_node(Some(0x66))).unwrap_err();
        assert!(matches!(refused, Error::UplinkNode { node: 0x55, asked: 0x66, .. }), "{refused}");
        notices.try_iter().for_each(drop);
        for node in [None, Some(0x55)] {
            let made = attach(&hooks, &of_node(node)).unwrap();
            assert_eq!([made.veth, made.uplink].map(|end| end.site.node), [0x55; 2]);
            let kept = Notice::Kept { device: NIC.to_owned(), options: vec!["--ingress", "--source"] };
            assert!(notices.try_iter().any(|notice| notice == kept));
            hooks.detach_namespace(&inside.open()).unwrap();
        }

        // At another point it would never allow the container's addresses.
        hooks.update(NIC, &Settings { point: Some(3), ..Settings::default() }).unwrap();
        let refused = attach(&hooks, &container(&inside)).unwrap_err();
        assert!(matches!(refused, Error::UplinkPoint { point: 3, .. }), "{refused}");
        assert!(status(&hooks, VETH).is_none());
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
    world.assert_bare(VETH);
}

#[test]
fn an_uplink_of_containers_can_be_made_to_stay() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        assert!(attach(&hooks, &container(&inside)).unwrap().uplink.for_containers);
        assert!(status(&hooks, NIC).unwrap().for_containers && !status(&hooks, VETH).unwrap().for_containers);
        let settings = Settings { sources: Some(prefixes(&["192.0.2.0/24"])), ..Settings::default() };
        let elsewhere = Request { settings: Settings { point: Some(2), ..Settings::default() }, ..Request::new(NIC) };
        assert!(matches!(hooks.attach(&Objects::built_in(), &elsewhere), Err(Error::AlreadyAttached { .. })));
        notices.try_iter().for_each(drop);
        let request = Request { settings, ingress: IngressChoice::Xdp, ..Request::new(NIC) };
        let made = hooks.attach(&Objects::built_in(), &request).unwrap();
        assert_eq!((made.for_containers, made.sources), (false, prefixes(&["192.0.2.0/24"])));
        assert_eq!(made.containers, prefixes(&["10.88.1.2"]));
        let kept = Notice::Kept { device: NIC.to_owned(), options: vec!["--ingress"] };
        assert!(notices.try_iter().any(|notice| notice == kept));
        // Once.
        assert!(matches!(hooks.attach(&Objects::built_in(), &request), Err(Error::AlreadyAttached { .. })));
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), [VETH]);
        assert!(status(&hooks, NIC).unwrap().containers.is_empty());
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn what_a_container_was_allowed_goes_with_it() {
    let Some(world) = world() else { return };
    for tc in [TcChoice::Auto, TcChoice::Clsact] {
        let [a, b] = [("veth-a", 1), ("veth-b", 2)].map(|(veth, number)| world.contain(veth, number));
        world.host.enter(|| {
            let hooks = world.hooks();
            for inside in [&a, &b] {
                let made = attach(&hooks, &ContainerRequest { tc, ..container(inside) }).unwrap();
                assert_eq!(made.veth.site.point, 1, "no probe passes the veths of two containers");
            }
            let uplink = status(&hooks, NIC).unwrap();
            assert_eq!(uplink.containers, prefixes(&["10.88.1.2", "10.88.2.2"]));
        });
        // The first dies. Its device goes, and that is all that is done for it.
        world.host.ip(&["link", "delete", "veth-a"]);
        world.host.enter(|| {
            let hooks = world.hooks();
            assert_eq!(status(&hooks, NIC).unwrap().containers, prefixes(&["10.88.2.2"]));
            assert!(status(&hooks, "veth-b").is_some());
        });
        world.host.ip(&["link", "delete", "veth-b"]);
        world.host.enter(|| assert_eq!(world.hooks().status().unwrap().len(), 0));
        world.assert_clean(NIC);
    }
}

/// The last container of a host is swept by a command in another network namespace, and the uplink with it.
#[test]
fn the_sweep_elsewhere_takes_the_uplink_along() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| drop(attach(&world.hooks(), &container(&inside)).unwrap()));
    world.host.ip(&["link", "delete", VETH]);
    world.peer.enter(|| world.hooks().sweep().unwrap());
    world.assert_clean(NIC);
}

#[test]
fn a_container_that_cannot_be_hooked_leaves_nothing() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    let refused = |request: &ContainerRequest| {
        let error = world.host.enter(|| attach(&world.hooks(), request).unwrap_err());
        world.assert_clean(NIC);
        world.assert_bare(VETH);
        error
    };
    let elsewhere = ContainerRequest { uplink: Some("nowhere".to_owned()), ..container(&inside) };
    assert!(matches!(refused(&elsewhere), Error::UnknownDevice { .. }));
    let itself = ContainerRequest { uplink: Some(VETH.to_owned()), ..container(&inside) };
    assert!(matches!(refused(&itself), Error::UplinkIsVeth { .. }));
    let at_uplink = Settings { point: Some(0), ..Settings::default() };
    let at_uplink = ContainerRequest { settings: at_uplink, ..container(&inside) };
    assert!(matches!(refused(&at_uplink), Error::ContainerPoint));

    let mut absent = container(&inside);
    absent.container.interface = "eth1".to_owned();
    let error = refused(&absent);
    assert!(error.to_string().contains("no device eth1"), "{error}");

    // The host itself.
    let error = refused(&ContainerRequest { namespace: world.host.open(), ..container(&inside) });
    assert!(error.to_string().contains("no network of its own"), "{error}");

    // Its other end is elsewhere.
    let error = refused(&ContainerRequest { namespace: world.peer.open(), ..container(&inside) });
    assert!(error.to_string().contains("no default route"), "{error}");
    world.peer.ip(&["route", "add", "default", "via", "10.77.0.1"]);
    let error = world
        .host
        .enter(|| attach(&world.hooks(), &ContainerRequest { namespace: world.peer.open(), ..container(&inside) }));
    // The uplink's own other end: then there is no uplink but itself.
    assert!(matches!(error, Err(Error::UplinkIsVeth { .. })), "{error:?}");
    let nowhere = Namespace::new();
    nowhere.ip(&["link", "set", "lo", "up"]);
    let error = nowhere.enter(|| attach(&world.hooks(), &container(&inside)).unwrap_err());
    assert!(error.to_string().contains("no device of this network namespace"), "{error}");
    world.assert_clean(NIC);

    // A veth that was attached to before, for whatever.
    world.host.enter(|| {
        let hooks = world.hooks();
        let before = Request { settings: Settings { point: Some(2), ..Settings::default() }, ..Request::new(VETH) };
        hooks.attach(&Objects::built_in(), &before).unwrap();
        let error = attach(&hooks, &container(&inside)).unwrap_err();
        assert!(matches!(error, Error::AlreadyAttached { .. }), "{error}");
        assert!(status(&hooks, NIC).is_none() && status(&hooks, VETH).is_some(), "the uplink alone is undone");
        hooks.detach(VETH).unwrap();
    });
    world.assert_clean(NIC);
    // The policy of an uplink that somebody has attached to has no room for one more: found when the veth is attached to.
    world.host.enter(|| {
        let hooks = world.hooks();
        let mut full = Request::new(NIC);
        let networks = (0..1020_u32).map(|number| format!("198.{}.{}.0/24", 18 + number / 256, number % 256));
        full.settings.sources = Some(networks.map(|network| network.parse().unwrap()).collect());
        let own = hooks.attach(&Objects::built_in(), &full).unwrap().own.len();
        let room = 1024 - 1020 - own;
        for number in 0..room + 1 {
            world.host.ip(&["addr", "add", &format!("10.55.{number}.1/32"), "dev", "lo"]);
        }
        hooks.detach(NIC).unwrap();
        let fits = full.settings.sources.as_mut().unwrap();
        fits.pop();
        hooks.attach(&Objects::built_in(), &full).unwrap();
        let error = attach(&hooks, &container(&inside)).unwrap_err();
        assert!(matches!(error, Error::PolicyTooLarge { .. }), "{error}");
        assert!(status(&hooks, VETH).is_none() && status(&hooks, NIC).unwrap().containers.is_empty());
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
    world.assert_bare(VETH);
    // Point 1 is another attachment's.
    world.host.ip(&["link", "add", "br0", "type", "bridge"]);
    world.host.enter(|| {
        let hooks = world.hooks();
        let bridge = Request { settings: Settings { point: Some(1), ..Settings::default() }, ..Request::new("br0") };
        hooks.attach(&Objects::built_in(), &bridge).unwrap();
        assert_eq!(attach(&hooks, &container(&inside)).unwrap().veth.site.point, 2);
        assert_eq!(hooks.detach_all().unwrap().len(), 3);
    });
    world.assert_clean(NIC);
}

/// Whoever has `CAP_NET_ADMIN` in a container gives its device whichever addresses.
#[test]
fn a_container_that_claims_addresses_gets_its_own() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    // The host's, at two devices; a stranger's, and one that is another container's.
    for address in ["10.77.0.1/32", "10.88.1.1/32", "198.51.100.7/32", "10.99.0.1/32", "2001:db8::7/128", "fd77::1/128"]
    {
        inside.ip(&["addr", "add", address, "dev", "eth0"]);
    }
    world.host.ip(&["link", "add", "br0", "type", "bridge"]);
    world.host.ip(&["addr", "add", "10.99.0.254/24", "dev", "br0"]);
    world.host.ip(&["link", "set", "br0", "up"]);
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        let made = attach(&hooks, &container(&inside)).unwrap();
        let own = |attachment: &Attachment, address: &str| attachment.own.contains(&address.parse().unwrap());
        for end in [&made.veth, &made.uplink] {
            let routed: Vec<_> =
                end.containers.iter().copied().filter(|prefix| !prefix.to_string().starts_with("fe80:")).collect();
            assert_eq!(routed, prefixes(&["10.88.1.2"]), "{}", end.device);
            assert!(own(end, "10.77.0.1") && own(end, "10.88.1.1") && own(end, "fd77::1"));
        }
        let is_told = |notice: Notice| {
            matches!(notice, Notice::AddressesIgnored { device, addresses, .. } if device == VETH && addresses.len() == 6)
        };
        assert!(notices.try_iter().any(is_told));

        // As a port of the bridge it has what the bridge leads to.
        world.host.ip(&["addr", "flush", "dev", VETH]);
        world.host.ip(&["link", "set", VETH, "master", "br0"]);
        let updated = hooks.update(VETH, &Settings::default()).unwrap();
        assert!(updated.containers.contains(&"10.99.0.1".parse().unwrap()), "{updated:?}");
        assert!(!updated.containers.contains(&"10.88.1.2".parse().unwrap()), "{updated:?}");
        assert_eq!(status(&hooks, NIC).unwrap().containers, prefixes(&["10.99.0.1"]));
        hooks.detach_namespace(&inside.open()).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_container_with_many_addresses_takes_no_room_from_others() {
    let Some(world) = world() else { return };
    let [many, few] = [("veth-a", 1), ("veth-b", 2)].map(|(veth, number)| world.contain(veth, number));
    let addresses: String = (3..253).map(|last| format!("addr add 10.88.1.{last}/24 dev eth0\n")).collect();
    let batch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(batch.path(), addresses).unwrap();
    many.ip(&["-batch", batch.path().to_str().unwrap()]);
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        let made = attach(&hooks, &container(&many)).unwrap();
        assert_eq!(made.veth.containers.len(), 16);
        let is_told = |notice: &Notice| matches!(notice, Notice::AddressesIgnored { addresses, most: 16, .. } if addresses.len() >= 235);
        assert!(notices.try_iter().any(|notice| is_told(&notice)));
        let made = attach(&hooks, &container(&few)).unwrap();
        assert!(made.uplink.containers.contains(&"10.88.2.2".parse().unwrap()));
        assert_eq!(made.uplink.containers.len(), 17);
        assert_eq!(hooks.detach_containers(|_| true).unwrap().len(), 3);
    });
    world.assert_clean(NIC);
}

/// A name that would be read back as another, or would steer the terminal that shows it.
#[test]
fn a_container_with_an_unprintable_name_is_refused() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    for name in ["a\0b", "a\u{1b}[2Jb"] {
        let mut request = container(&inside);
        request.container.name = name.to_owned();
        world.host.enter(|| {
            let hooks = world.hooks();
            attach(&hooks, &request).unwrap_err();
            assert!(hooks.status().unwrap().is_empty());
        });
        world.assert_clean(NIC);
        world.assert_bare(VETH);
    }
}

/// As of another version, or of another hand.
#[test]
fn a_note_that_nobody_understands_is_in_nobodys_way() {
    let Some(world) = world() else { return };
    let [a, b] = [("veth-a", 1), ("veth-b", 2)].map(|(veth, number)| world.contain(veth, number));
    world.host.enter(|| {
        let hooks = world.hooks();
        let made = attach(&hooks, &container(&a)).unwrap();
        let namespace = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        let note = world.bpffs.path().join(format!("instamp/{namespace}/{}/NOTE", made.veth.ifindex));
        std::fs::remove_file(&note).unwrap();
        // Of another length.
        Array::<MapData, u32>::create(1, 0).unwrap().pin(&note).unwrap();
        assert_eq!(hooks.status().unwrap().iter().filter(|attachment| attachment.container.is_none()).count(), 2);
        assert!(hooks.detach_containers(|_| true).unwrap().is_empty());
        attach(&hooks, &container(&b)).unwrap();
        // It may be a container's: the uplink stays for it.
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), ["veth-b"]);
        hooks.detach("veth-a").unwrap();
    });
    world.assert_clean(NIC);
}

/// What one uplink has no room for fails for nobody else.
#[test]
fn what_cannot_be_settled_is_told_and_passed_over() {
    let Some(world) = world() else { return };
    let [a, b] = [("veth-a", 1), ("veth-b", 2)].map(|(veth, number)| world.contain(veth, number));
    world.host.enter(|| {
        let (hooks, notices) = world.telling_hooks();
        attach(&hooks, &container(&a)).unwrap();
        let more: Vec<_> = (0..1016_u32).map(|number| format!("198.{}.{}.0/24", 18 + number / 256, number % 256)).collect();
        let sources = Some(more.iter().map(|network| network.parse().unwrap()).collect());
        hooks.update(NIC, &Settings { sources, ..Settings::default() }).unwrap();
        for number in 3..13 {
            a.ip(&["addr", "add", &format!("10.88.1.{number}/24"), "dev", "eth0"]);
        }
        hooks.update("veth-a", &Settings::default()).unwrap();
        let is_told = |notice: Notice| matches!(notice, Notice::Unsettled { device, words } if device == NIC && words.contains("1024"));
        assert!(notices.try_iter().any(is_told));
        assert_eq!(hooks.status().unwrap().len(), 2);
        // For whom there is no room is not attached to.
        assert!(matches!(attach(&hooks, &container(&b)), Err(Error::PolicyTooLarge { .. })));
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), ["veth-a", NIC]);
    });
    world.assert_clean(NIC);
    world.assert_bare("veth-b");
}

/// An uplink that goes with its last container stays for who answers probes there.
#[test]
fn the_uplink_stays_while_it_reflects() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks, &ContainerRequest { ingress: IngressChoice::Xdp, ..container(&inside) }).unwrap();
        let allow = ReflectRequest::new(prefixes(&["10.77.0.0/24"]));
        let reflector = hooks.reflect(&Objects::built_in(), NIC, XdpMode::Native, &allow).unwrap();
        assert_eq!(hooks.detach_containers(|_| true).unwrap(), [VETH]);
        reflector.renew().unwrap();
        assert!(status(&hooks, NIC).unwrap().reflector.is_some());
        drop(reflector);
        assert!(hooks.status().unwrap().is_empty());
    });
    world.assert_clean(NIC);
}

/// Rules can send what a container sends another way than the host's own.
#[test]
fn the_uplink_is_that_of_the_containers_route() {
    let Some(world) = world() else { return };
    let inside = world.contain(VETH, 1);
    let beyond = Namespace::new();
    world.host.ip(&["link", "add", "other", "type", "veth", "peer", "name", "eth0", "netns", &beyond.name]);
    world.host.ip(&["addr", "add", "10.66.0.1/24", "dev", "other"]);
    world.host.ip(&["link", "set", "other", "up"]);
    beyond.ip(&["link", "set", "eth0", "up"]);
    world.host.ip(&["rule", "add", "from", "10.88.1.0/24", "table", "77"]);
    world.host.ip(&["route", "add", "default", "via", "10.66.0.2", "table", "77"]);
    world.host.enter(|| {
        let hooks = world.hooks();
        // Where nothing is forwarded the default route is all that there is.
        for (forwards, uplink) in [("0", NIC), ("1", "other")] {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", forwards).unwrap();
            let made = attach(&hooks, &container(&inside)).unwrap();
            assert_eq!(made.uplink.device, uplink);
            hooks.detach_namespace(&inside.open()).unwrap();
        }
    });
    world.assert_clean(NIC);
}
