//! What this machine has, hardware clocks or not.

mod skip;

use std::{
    fs,
    io::ErrorKind,
    net::UdpSocket,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hwtstamp::{
    Access, Cause, ConfigGuard, Interface, Monotonic, Operation, PhcDevice, Realtime, RxFilter, Setting, Span,
    StampFlag, StepWatch, SystemClock as _, TxMode, phcs,
    socket::{self, Received, Stage},
};
use nix::{
    poll::{PollFd, PollFlags, poll},
    sched::{CloneFlags, unshare},
    unistd::{geteuid, gettid},
};
use skip::skip;

#[test]
fn a_clock_that_is_not_there_is_named() {
    let absent = phcs().last().map_or(0, |last| last + 1);
    let error = PhcDevice::open_index(absent, Access::Read).expect_err("there is no such clock");
    assert_eq!((error.operation(), error.device()), (Operation::Open, format!("/dev/ptp{absent}").as_str()));
    assert!(error.to_string().contains("/sys/class/ptp"), "{error}");
}

#[test]
fn what_is_no_clock_is_refused() {
    let error = PhcDevice::open("/dev/null", Access::Read).expect_err("it is no clock");
    assert!(error.to_string().ends_with("it is not a PTP hardware clock"), "{error}");
    let directory = std::env::temp_dir();
    assert!(PhcDevice::open(&directory, Access::Read).is_err());
    // Opening a pipe must not wait for its other end.
    let pipe = directory.join(format!("hwtstamp-{}", std::process::id()));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let opened = PhcDevice::open(&pipe, Access::Read);
    fs::remove_file(&pipe).expect("it was made here");
    assert_eq!(opened.expect_err("it is no clock").raw_os_error(), Some(libc::ENOTTY));
}

#[test]
fn interfaces_are_those_of_the_network_namespace() {
    let all = Interface::all().expect("netlink");
    let loopback = all.iter().find(|interface| interface.name() == "lo").expect("every namespace has it");
    assert_eq!(Interface::open_index(loopback.index()).expect("it exists").name(), "lo");

    for result in
        [Interface::open("nosuch"), Interface::open("a-name-that-is-too-long"), Interface::open_index(u32::MAX)]
    {
        let error = result.expect_err("there is none");
        assert_eq!(error.operation(), Operation::Find);
        assert!(error.to_string().ends_with("this network namespace has none of this name or number"), "{error}");
    }
}

#[test]
fn software_devices_stamp_in_software_alone() {
    let loopback = Interface::open("lo").expect("every namespace has it");
    let discovery = loopback.discover().expect("no privilege is needed");
    let timestamping = discovery.timestamping.expect("the kernel tells of every device");
    let names: Vec<_> = timestamping.flags.iter().map(|flag| flag.to_string()).collect();
    assert_eq!(names, ["software-transmit", "software-receive", "software-system-clock"]);
    assert_eq!((timestamping.phc, discovery.phc_name.as_ref()), (None, None));
    assert!(matches!(discovery.setting, Ok(None)), "{:?}", discovery.setting);
    assert!(!discovery.is_owned() && discovery.holders.seen.is_empty());

    let error = loopback.setting().expect_err("it has no hardware stamps");
    assert!(error.is_unsupported() && error.to_string().contains("lo"), "{error}");
    let wanted = Setting { tx: TxMode::ON, rx: RxFilter::ALL };
    let error = ConfigGuard::set(&loopback, wanted).expect_err("it has no hardware stamps");
    assert!(error.is_unsupported(), "{error}");
}

#[test]
fn clocks_of_the_system_are_read_without_privilege() {
    let before = Monotonic::now();
    let watch = StepWatch::new().expect("a timer");
    let discipline = hwtstamp::system::discipline().expect("anybody may ask");
    assert!((-100..=100).contains(&discipline.tai_offset));
    assert!(Monotonic::now() - before >= Span::ZERO);
    // Whoever steps this machine's clock during the test makes this true.
    watch.stepped().expect("a timer may be asked");
}

#[test]
fn those_without_privilege_cannot_steer() {
    as_nobody("those_without_privilege_cannot_steer", || {
        let error = hwtstamp::system::step(Span::ZERO).expect_err("not permitted");
        assert!(error.is_not_permitted() && error.to_string().contains("CAP_SYS_TIME"), "{error}");
        assert_eq!((error.operation(), error.device()), (Operation::Step, "CLOCK_REALTIME"));
        assert!(matches!(error.cause(), Cause::Os(cause) if cause.kind() == ErrorKind::PermissionDenied));
        let zero = hwtstamp::Frequency::ZERO;
        assert!(hwtstamp::system::set_frequency(zero).expect_err("not permitted").is_not_permitted());
    });
}

/// Runs `test` in this process if it has no privilege, else this test again in a process that has none.
fn as_nobody(name: &str, test: impl FnOnce()) {
    const NOBODY: u32 = 65534;
    if !geteuid().is_root() {
        return test();
    }
    // The link leads to the program even where nobody may not look into its folder.
    let again =
        Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY).args(["--exact", name]).output().expect("a process");
    let told = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn packets_between_namespaces_are_stamped() {
    if !geteuid().is_root() {
        return skip("network namespaces need root");
    }
    let (name_namespace, namespace) = mpsc::channel();
    let (connect, connected) = mpsc::channel();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            name_namespace.send(gettid()).expect("it is waited for");
            connected.recv_timeout(PATIENCE).expect("the other end is up");
            ip("address add 192.0.2.2/24 dev near");
            ip("link set near up");
            let socket = UdpSocket::bind("192.0.2.2:7").expect("the address is there");
            socket::enable(&socket, StampFlag::SOFTWARE | StampFlag::RX_SOFTWARE).expect("every kernel can");
            name_namespace.send(gettid()).expect("it is waited for");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            // The kernel switches these stamps on in the background.
            while socket::receive(&socket, &mut [0; 100])
                .expect("a socket")
                .expect("a packet")
                .stamps
                .software
                .is_none()
            {}
            name_namespace.send(gettid()).expect("it is waited for");
            // The other end goes with this namespace, and must not in the middle of a packet.
            connected.recv_timeout(PATIENCE).expect("the other end is through");
        });
        unshare(CloneFlags::CLONE_NEWNET).expect("root may");
        let other = namespace.recv_timeout(PATIENCE).expect("the other end has a namespace");
        ip(&format!("link add far type veth peer name near netns {other}"));
        ip("address add 192.0.2.1/24 dev far");
        ip("link set far up");
        connect.send(()).expect("the other end waits");
        namespace.recv_timeout(PATIENCE).expect("the other end listens");

        let interface = Interface::open("far").expect("it was made above");
        assert_eq!(interface.driver().expect("it exists").as_deref(), Some("veth"));
        let timestamping = interface.timestamping().expect("it exists").expect("the kernel tells");
        assert!(timestamping.flags.contains(StampFlag::TX_SOFTWARE) && timestamping.phc.is_none());
        let error = ConfigGuard::set(&interface, Setting { tx: TxMode::ON, rx: RxFilter::NONE }).expect_err("a veth");
        assert!(error.is_unsupported() && error.device() == "far", "{error}");

        let socket = UdpSocket::bind("192.0.2.1:0").expect("the address is there");
        let made = StampFlag::TX_SOFTWARE | StampFlag::TX_SCHED;
        socket::enable(&socket, made | StampFlag::SOFTWARE | StampFlag::OPT_ID).expect("every kernel can");
        let (start, mut id) = (Instant::now(), 0);
        while namespace.try_recv().is_err() {
            let before = Realtime::now();
            socket.send_to(b"abc", "192.0.2.2:7").expect("there is a way");
            let [scheduled, sent] = [Stage::Scheduled, Stage::Sent].map(|stage| {
                let message = await_sent(&socket);
                let transmission = message.transmission.expect("there are no errors");
                assert_eq!((transmission.stage, transmission.id), (stage, id));
                // The packet comes back with all its headers: Ethernet, IP, UDP.
                assert!(message.length >= 3, "{message:?}");
                message.stamps.software.expect("a software stamp")
            });
            assert!([before, scheduled, sent, Realtime::now()].is_sorted());
            id += 1;
            assert!(start.elapsed() < PATIENCE, "no receive stamp of {id} packets");
        }
        connect.send(()).expect("the other end waits");
        receiver.join().expect("a packet arrives with its stamp");
    });
}

#[test]
fn an_interface_stays_the_same_under_another_name() {
    if !geteuid().is_root() {
        return skip("network namespaces need root");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            ip("link add one type veth peer name other");
            let interface = Interface::open("one").expect("it was made above");
            ip("link set one name two");
            ip("link add one type bridge");
            assert_eq!(interface.driver().expect("it exists").as_deref(), Some("veth"));
            assert_eq!(interface.name(), "one");
            ip("link delete two");
            let error = interface.driver().expect_err("it is gone");
            assert_eq!((error.raw_os_error(), error.device()), (Some(libc::ENODEV), "one"));
            assert!(interface.timestamping().is_err() && interface.setting().is_err());
        });
    });
}

/// How long anything here may take: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The next message of the error queue: the first packet waits for its neighbour's address.
fn await_sent(socket: &UdpSocket) -> Received {
    loop {
        if let Some(message) = socket::receive_sent(socket, &mut [0; 100]).expect("the error queue") {
            return message;
        }
        // An error queue that is not empty is always reported.
        let mut queue = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        assert_ne!(poll(&mut queue, 20_000_u16).expect("a descriptor"), 0, "no transmit stamp within 20 seconds");
    }
}

/// Runs `ip` in the network namespace of this thread.
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip of iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
