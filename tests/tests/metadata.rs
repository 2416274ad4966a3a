//! What the driver tells when a packet arrives comes to TC in the metadata area: of probes, and of nothing else.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::Array,
    programs::{SchedClassifier, TcAttachType},
};
use instamp_hooks::BPFFS;
use instamp_tests::{
    built::{METADATA, NIC_RX},
    lab::Lab,
    packets::{Frame, Generator, PROBER4, PROBER6, TARGET4, TARGET6},
    ping::{Run, number},
    privilege::root,
    prober::now_ns,
    wire::Wire,
};
use instamp_trailer::locate;
use libbpf_rs::{Link, Object, ObjectBuilder};
use rand::{SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

/// As many are noted: those that are generated, and those that show that the ones before them have passed.
const NOTED: usize = 65_536;
const AT_ONCE: usize = 63;
const PROBES: u64 = 20;
/// `BPF_F_XDP_DEV_BOUND_ONLY`.
const BOUND_TO_DEVICE: u32 = 1 << 6;
/// `HANDED_MAGIC`.
const MAGIC: u64 = u64::from_be_bytes(*b"instampR");
/// `CARD_AHEAD_NS`.
const CARD_AHEAD_NS: i64 = 1 << 60;

/// What came with a frame: `struct noted`.
#[derive(Debug)]
struct Noted {
    passed: u32,
    length: u32,
    magic: u64,
    xdp_ns: u64,
    nic_rx_ns: u64,
}

/// The program that notes what comes with frames, on a device of this thread's network namespace until it is dropped.
struct Notes(Ebpf);

impl Notes {
    fn attach(device: &str) -> Self {
        let mut programs = Ebpf::load(&METADATA.newest()).unwrap();
        let program: &mut SchedClassifier = programs.program_mut("note_metadata").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(device, TcAttachType::Ingress).unwrap();
        Self(programs)
    }

    fn of(&self, frame: u32) -> Noted {
        let map: Array<_, [u64; 4]> = self.0.map("NOTED_FRAMES").unwrap().try_into().unwrap();
        let [counts, magic, xdp_ns, nic_rx_ns] = map.get(&frame, 0).unwrap();
        let [a, b, c, d, e, f, g, h] = counts.to_ne_bytes();
        let [passed, length] = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
        Noted { passed, length, magic, xdp_ns, nic_rx_ns }
    }

    /// Returns when a frame has passed that nothing drops.
    fn wait(&self, frame: u32) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.of(frame).passed == 0 {
            assert!(Instant::now() < deadline, "frame {frame} does not arrive");
            thread::yield_now();
        }
    }
}

/// Marks a frame, so that it is noted under its number. It is for nobody.
fn mark(mut frame: Vec<u8>, number: u32) -> Vec<u8> {
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..8].copy_from_slice(&[0x02, 0x69]);
    frame[8..12].copy_from_slice(&number.to_be_bytes());
    frame
}

/// Attaches the program that hands on times to a device of this thread's network namespace.
fn attach_nic_rx(object: &[u8], ifindex: u32) -> (Object, Link) {
    let mut open = ObjectBuilder::default().open_memory(object).unwrap();
    for mut program in open.progs_mut() {
        program.set_ifindex(ifindex);
        program.set_flags(BOUND_TO_DEVICE);
    }
    let object = open.load().unwrap();
    let link = object.progs_mut().next().unwrap().attach_xdp(ifindex.try_into().unwrap()).unwrap();
    (object, link)
}

#[test]
fn probes_get_metadata_and_nothing_else_does() {
    let Some(()) = root() else { return };
    for (origin, object) in NIC_RX.objects() {
        let lab = Lab::up(&[]);
        let wire = lab.enter("remote", || Wire::open("eth0"));
        let (notes, program) =
            lab.enter("host", || (Notes::attach(Lab::NIC), attach_nic_rx(&object, Wire::open(Lab::NIC).ifindex())));
        let mut generator = Generator {
            random: SmallRng::seed_from_u64(1),
            addresses: vec![PROBER4, PROBER6, TARGET4, TARGET6],
            lengths: 14..=1500,
            run: None,
        };
        let mut frames = Vec::new();
        let sent_ns = now_ns();
        while frames.len() < NOTED {
            for _ in 0..AT_ONCE {
                frames.push(mark(generator.frame(), frames.len().try_into().unwrap()));
                wire.send(frames.last().unwrap());
            }
            let last = frames.len().try_into().unwrap();
            frames.push(mark(Frame::request(PROBER4, TARGET4).bytes(), last));
            wire.send(frames.last().unwrap());
            notes.wait(last);
        }
        drop(program);

        let [mut probes, mut others] = [0, 0];
        for (number, frame) in (0..).zip(frames) {
            let noted = notes.of(number);
            let is_probe = locate(frame.as_slice()).is_ok();
            // The kernel drops frames that end inside of a VLAN tag.
            assert!(noted.passed == 1 || noted.passed == 0 && !is_probe, "{origin}: {noted:?}: {frame:02x?}");
            assert_eq!(noted.length, if is_probe { 24 } else { 0 }, "{origin}: {frame:02x?}");
            if is_probe {
                assert_eq!((noted.magic, noted.nic_rx_ns), (MAGIC, 0), "{origin}: {noted:?}");
                assert!((sent_ns..now_ns()).contains(&noted.xdp_ns), "{origin}: {noted:?}");
                probes += 1;
            } else {
                others += u32::from(noted.passed == 1);
            }
        }
        println!("{origin}: {probes} probes with metadata, {others} other frames without");
        assert!(probes > 10_000 && others > 10_000, "{probes} {others}");
    }
}

/// Phase, hook and clock of a reply's stamps.
fn stamps(reply: &Value) -> Vec<[&str; 3]> {
    reply["stamps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stamp| ["phase", "hook", "clock"].map(|name| stamp[name].as_str().unwrap()))
        .collect()
}

const SOFTWARE: [[&str; 3]; 3] = [
    ["request", "tc-egress", "monotonic"],
    ["reply", "xdp-ingress", "monotonic"],
    ["request", "driver-tx", "monotonic"],
];

/// A veth tells no time of a card: the driver's programs load, and what they cannot know is left out.
#[test]
fn without_a_time_of_the_card_all_are_corrected() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--hw"]);
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        let run = Run::new(&lab, "c1", &["-c", &PROBES.to_string(), "-i", "2ms", destination]);
        run.all_corrected(PROBES);
        for reply in run.replies() {
            assert_eq!(stamps(reply), SOFTWARE, "{reply}");
            assert_eq!(reply["net_source"], "driver-tx/xdp-ingress", "{reply}");
        }
    }
    let status = status(&lab);
    let hooks = status["hooks"].as_array().unwrap();
    let nic_rx = hooks.iter().find(|hook| hook["hook"] == "nic-rx").unwrap_or_else(|| panic!("no nic-rx: {status}"));
    assert_eq!((nic_rx["mechanism"].as_str(), nic_rx["stamped"].as_u64()), (Some("xdp-metadata"), Some(0)), "{status}");
}

fn status(lab: &Lab) -> Value {
    let output = lab.instamp("host").args(["status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A lab in which a program of the test takes the place of the one that asks the driver, and makes up a card's time.
fn with_card() -> Lab {
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--hw"]);
    let namespace = File::open(Path::new("/run/netns").join(lab.namespace("host"))).unwrap().metadata().unwrap().ino();
    let bpffs = std::env::var("INSTAMP_BPFFS").unwrap_or_else(|_| BPFFS.to_owned());
    let pins = format!("{bpffs}/instamp/{namespace}/{}", status(&lab)["ifindex"]);
    let object = METADATA.newest();
    let mut open = ObjectBuilder::default().open_memory(&object).unwrap();
    for mut map in open.maps_mut() {
        let name = map.name().to_str().unwrap().to_owned();
        if ["SOCKETS", "RUNS", "POLICY"].contains(&name.as_str()) {
            map.reuse_pinned_map(format!("{pins}/{name}")).unwrap();
        }
    }
    let object = open.load().unwrap();
    let program = object.progs_mut().find(|program| program.name() == "hand_times").unwrap();
    Link::open(format!("{pins}/xdp_ingress")).unwrap().update_prog(&program).unwrap();
    lab
}

/// Asserts that the last stamp is of the card, whose time was taken behind that of the XDP program.
fn has_card_time(reply: &Value, xdp: &Value) {
    let nic_rx = reply["stamps"].as_array().unwrap().last().unwrap();
    let received_ns = number(nic_rx, "time_ns") - CARD_AHEAD_NS;
    assert!((0..number(reply, "rtt_ns")).contains(&(received_ns - number(xdp, "time_ns"))), "{reply}");
    assert_eq!(nic_rx["bound_ns"], Value::Null, "{reply}");
}

#[test]
fn the_times_that_were_handed_over_come_into_the_reply() {
    let Some(()) = root() else { return };
    let lab = with_card();
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        let run = Run::new(&lab, "c1", &["-c", &PROBES.to_string(), "-i", "2ms", destination]);
        run.all_corrected(PROBES);
        for reply in run.replies() {
            let expected = [&SOFTWARE[..], &[["reply", "nic-rx", "phc"]]].concat();
            assert_eq!(stamps(reply), expected, "{reply}");
            has_card_time(reply, &reply["stamps"][1]);
            assert_eq!(reply["net_source"], "driver-tx/xdp-ingress", "{reply}");
        }
    }
}

/// What comes to a socket, of probes and of pings past the stack.
fn past_the_stack(lab: &Lab, card: bool) {
    let count = PROBES.to_string();
    let probe = Run::probe(lab, &["--stamps", "-c", &count, "-r", "1000", Lab::REMOTE, Lab::REMOTE6]);
    probe.all_probed(2 * PROBES);
    assert_eq!(probe.of_type("start")[0]["attached"], true, "{probe:?}");
    let ping = |target| {
        let ping = Run::new(lab, "host", &["--transport", "afxdp", "-c", &count, "-i", "2ms", target]);
        ping.all_corrected(PROBES);
        ping
    };
    for run in [probe, ping(Lab::REMOTE), ping(Lab::REMOTE6)] {
        for reply in run.replies() {
            let mut expected = vec![["request", "app-tx", "monotonic"], ["reply", "xdp-ingress", "monotonic"]];
            if card {
                expected.push(["reply", "nic-rx", "phc"]);
                has_card_time(reply, &reply["stamps"][1]);
            }
            assert_eq!(stamps(reply), expected, "{reply}");
            assert_eq!(reply["net_source"], "app-tx/xdp-ingress", "{reply}");
        }
    }
}

/// By the driver's own program, though a veth tells no time of a card.
#[test]
fn replies_past_the_stack_are_stamped_with_what_was_handed_on() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--hw"]);
    past_the_stack(&lab, false);
    // Behind a run, everything goes to the stack.
    let run = Run::new(&lab, "c1", &["-c", &PROBES.to_string(), "-i", "2ms", Lab::REMOTE]);
    run.all_corrected(PROBES);
    assert!(run.replies().into_iter().all(|reply| stamps(reply) == SOFTWARE), "{run:?}");
}

#[test]
fn replies_past_the_stack_have_the_times_of_the_card() {
    let Some(()) = root() else { return };
    past_the_stack(&with_card(), true);
}

#[test]
fn who_hands_on_times_does_not_reflect() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--hw"]);
    let output = lab.instamp("host").args(["reflect", "--dev", Lab::NIC, "--allow", "10.0.0.0/8"]).output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && messages.contains("does not answer probes"), "{messages}");
}
