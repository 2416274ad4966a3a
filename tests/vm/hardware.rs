//! The card's times of requests, in the replies to a container's probes: which come, in which clock, and in which order.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    thread,
};

use aya::programs::loaded_programs;
use hwtstamp::{RxFilter, Setting, TxMode};
use instamp_hooks::BPFFS;
use instamp_tests::{
    lab::Lab,
    ping::{Run, number},
    vm::figure,
};
use libbpf_rs::ObjectBuilder;
use serde_json::{Value, json};

use crate::{
    phc::{is_old, median},
    ptp4l::Ptp4l,
    settings::PTP_EVENTS,
    sync::Sync,
    uplink::{CARD, OPTIONS, REMOTE, REMOTE6, Sent, Uplink},
};

/// Where nearly all have to get the card's time.
const PROBES: u64 = 250;
/// Where it is enough that some do.
const FEW: u64 = 25;
/// How often models are published, each second. A time that waits for its reply can be one of before the next model began to hold.
const PUBLICATIONS: &str = "1";

/// Times of requests alone, which is what this card has for probes.
const ON: Setting = Setting { tx: TxMode::ON, rx: RxFilter::NONE };
/// What does not serve.
const RECEIVED: Setting = Setting { tx: TxMode::OFF, rx: RxFilter::PTP_V2_EVENT };

pub(crate) fn check() {
    let uplink = Uplink::up();
    let caps = uplink.caps();
    let sources = ["driver_tx", "nic_tx", "nic_rx"].map(|name| caps[name]["source"].as_str());
    assert_eq!(sources, [Some("tp_btf"), Some("fentry"), None], "{caps}");
    assert_eq!(caps["hardware_tx_type"], "off", "{caps}");
    metadata(uplink.lab());
    in_band(&uplink);
    from_the_socket(&uplink);
    killed(&uplink);
    beside_another_setting(&uplink);
    beside_ptp4l(&uplink);
    by_kprobe(&uplink);
}

/// A veth's driver tells XDP programs that are bound to it, which Linux 6.3 brought, though never a time. There and elsewhere the
/// stamps are those of XDP, whichever way the replies go.
fn metadata(lab: &Lab) {
    lab.attach("host", &["--dev", Lab::NIC, "--hw", "--ingress", "xdp"]);
    let status: Value = serde_json::from_str(&lab.run("host", "instamp", &["status", "--json"])).expect("one device");
    let hooks = status["hooks"].as_array().expect("a list");
    let found = hooks.iter().find(|hook| hook["hook"] == "nic-rx").map(|hook| hook["mechanism"].clone());
    assert_eq!(found, (!is_old()).then(|| json!("xdp-metadata")), "{status}");
    let run = Run::new(lab, "c1", &["-i", "10ms", "-c", &FEW.to_string(), Lab::REMOTE]);
    run.all_corrected(FEW);
    in_order(&run, "xdp-ingress");
    Run::probe(lab, &["-c", &FEW.to_string(), Lab::REMOTE]).all_probed(FEW);
    lab.detach("host", Lab::NIC);
}

/// With the programs of the host, and native XDP.
fn in_band(uplink: &Uplink) {
    let notices = uplink.attach(&["--hw"]);
    assert!(notices.contains("the card is set to stamp: transmit on, receive none"), "{notices}");
    assert_eq!(uplink.setting(), ON);
    assert_eq!(uplink.mechanism("nic-tx").as_deref(), Some("fentry"));
    uplink.await_link();

    let sync = modelled(uplink, PUBLICATIONS);
    let run = counted(uplink, REMOTE, PROBES);
    let as_it_reads = with(&run, "phc").len() as u64;
    nearly_all(PROBES, as_it_reads + with(&run, "monotonic").len() as u64);
    figures(&run);
    let run = counted(uplink, REMOTE6, FEW);
    assert!(!with(&run, "monotonic").is_empty(), "{run:?}");
    // One that reads its socket gets each time twice.
    let run = told(uplink, FEW);
    in_order(&run, "xdp-ingress");
    match sync.end().iter().find(|line| line["type"] == "withdrawn") {
        None => nearly_all(PROBES, PROBES - as_it_reads),
        // A clock was disturbed, as those of an emulator are at times, and there was no model for some replies.
        Some(line) => println!("guest: {as_it_reads} of {PROBES} were not converted: {line}"),
    }

    in_clock_of_card(uplink, "xdp-ingress");
    let mut for_people = uplink.lab().instamp("c1");
    for_people.arg("ping").args(OPTIONS).args(["-c", "5", REMOTE]);
    let output = for_people.output().expect("instamp");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run `instamp sync --dev IF`"), "{output:?}");

    uplink.detach();
    assert_eq!(uplink.setting(), Setting::OFF);
}

/// Has models of the card's clock published so often, the first of them before this returns.
fn modelled(uplink: &Uplink, per_second: &str) -> Sync {
    let mut sync = Sync::of(uplink.lab().instamp("host"), &["--dev", CARD, "-R", per_second]);
    sync.locked();
    sync
}

/// Pings from a container. What is not in the replies, the host has counted.
fn counted(uplink: &Uplink, destination: &str, count: u64) -> Run {
    let before = uplink.sent();
    let run = uplink.ping("c1", destination, count);
    run.all_corrected(count);
    in_order(&run, "xdp-ingress");
    let Sent { asked, late, skipped } = uplink.sent().since(before);
    let [converted, as_it_reads] = ["monotonic", "phc"].map(|clock| with(&run, clock).len() as u64);
    let in_replies = converted + as_it_reads;
    assert_eq!((asked, late + skipped), (count, count - in_replies), "{}", run.summary());
    assert_eq!(run.summary()["nic_tx"]["received"], in_replies, "{}", run.summary());
    println!(
        "guest: of {count} times of the card {converted} are in replies, {as_it_reads} there as it reads, {late} late, {skipped} skipped"
    );
    run
}

/// Pings from the namespace of the card. The prober tells how many times it has had.
fn told(uplink: &Uplink, count: u64) -> Run {
    let run = uplink.ping("host", REMOTE, count);
    run.all_corrected(count);
    let told = &run.summary()["nic_tx"];
    let received = ["monotonic", "phc"].map(|clock| with(&run, clock).len()).iter().sum::<usize>();
    assert_eq!((&told["asked"], &told["received"]), (&json!(count), &json!(received)), "{told}");
    println!("guest: a prober beside the card: {told}");
    run
}

fn nearly_all(count: u64, good: u64) {
    assert!((count - good) * 100 < count, "{good} of {count}");
}

/// The times of the requests that have the card's, and how sure that is.
fn figures(run: &Run) {
    let replies = with(run, "monotonic");
    let p50 = |value: &dyn Fn(&Value) -> i64| median(&mut replies.iter().map(|reply| value(reply)).collect::<Vec<_>>());
    figure(format_args!(
        "from tc-egress to driver-tx {} ns, to nic-tx {} ns, bound {} ns (medians of {})",
        p50(&|reply| time(reply, "driver-tx") - time(reply, "tc-egress")),
        p50(&|reply| time(reply, "nic-tx") - time(reply, "driver-tx")),
        p50(&|reply| number(stamp(reply, "nic-tx").expect("one"), "bound_ns")),
        replies.len()
    ));
}

/// A prober in the card's namespace gets its times, where no program of the host takes them.
fn from_the_socket(uplink: &Uplink) {
    uplink.set(ON);
    uplink.attach(&["--ingress", "tc"]);
    uplink.await_link();
    let sync = modelled(uplink, "10");
    let run = told(uplink, FEW);
    in_order(&run, "tc-ingress");
    assert!(!with(&run, "monotonic").is_empty(), "{run:?}");
    assert_eq!(uplink.mechanism("nic-tx"), None);
    sync.end();
    uplink.detach();
    assert_eq!(uplink.setting(), ON, "as it was found");
    uplink.set(Setting::OFF);
}

/// The program for kernels that have no trampolines does the same as the one that was attached.
fn by_kprobe(uplink: &Uplink) {
    const OBJECT: &[u8] = include_bytes!("../../hooks/bpf/nic_tx.o");
    const PROGRAM: &str = "nic_tx_kprobe";
    let pins = Path::new(BPFFS).join("instamp/sent");
    uplink.attach(&["--hw", "--ingress", "tc"]);
    fs::remove_file(pins.join("nic_tx")).expect("it is attached");
    let is_loaded = |name| loaded_programs().flatten().any(|program| program.name_as_str() == Some(name));
    while is_loaded("nic_tx_fentry") {
        thread::yield_now();
    }
    let mut open = ObjectBuilder::default().open_memory(OBJECT).expect("an object");
    for mut program in open.progs_mut() {
        let is_it = program.name() == PROGRAM;
        program.set_autoload(is_it);
    }
    for mut map in open.maps_mut() {
        let pin = pins.join(map.name());
        map.set_pin_path(pin).expect("a path");
    }
    let object = open.load().expect("load");
    let attached = object.progs_mut().filter(|program| program.name() == PROGRAM).map(|program| program.attach());
    let _links: Vec<_> = attached.collect::<Result<_, _>>().expect("attach");
    in_clock_of_card(uplink, "tc-ingress");
    uplink.detach();
    assert_eq!(uplink.setting(), Setting::OFF);
}

/// Without a model a container's replies have the card's time as it reads, which is in no sum with others.
fn in_clock_of_card(uplink: &Uplink, ingress: &str) {
    let run = uplink.ping("c1", REMOTE, FEW);
    run.all_corrected(FEW);
    in_order(&run, ingress);
    assert!(!with(&run, "phc").is_empty() && with(&run, "monotonic").is_empty(), "{run:?}");
}

/// Whoever attaches dies when the card is set: the next command puts that back, if not all was done.
fn killed(uplink: &Uplink) {
    let mut attach = uplink.lab().instamp("host");
    attach.args(["attach", "--dev", CARD, "--hw", "--ingress", "tc"]).stderr(Stdio::piped());
    let mut attach = attach.spawn().expect("instamp");
    let mut lines = BufReader::new(attach.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    lines.find(|line| line.contains("the card is set to stamp")).expect("it says so");
    attach.kill().expect("a child");
    attach.wait().expect("a child");
    let is_attached = !uplink.status().is_null();
    println!("guest: killed when the card was set: {}", if is_attached { "attached" } else { "undone" });
    if is_attached {
        assert_eq!(uplink.setting(), ON);
        uplink.detach();
    }
    assert_eq!(uplink.setting(), Setting::OFF);
}

/// A setting that does not serve is left alone, too.
fn beside_another_setting(uplink: &Uplink) {
    uplink.set(RECEIVED);
    let notices = uplink.attach(&["--hw", "--ingress", "tc"]);
    assert!(notices.contains("the setting of the card is left alone"), "{notices}");
    assert_eq!(uplink.setting(), RECEIVED);
    uplink.detach();
    assert_eq!(uplink.setting(), RECEIVED);
    uplink.set(Setting::OFF);
}

/// A daemon's setting stays in force, and serves.
fn beside_ptp4l(uplink: &Uplink) {
    let ptp4l = Ptp4l::start(uplink.lab().command("host", "ptp4l"), CARD);
    assert_eq!(uplink.setting(), PTP_EVENTS);
    let notices = uplink.attach(&["--hw", "--ingress", "tc"]);
    assert!(notices.contains("somebody else has set the card to stamp, which is left as it is"), "{notices}");
    in_clock_of_card(uplink, "tc-ingress");
    uplink.detach();
    let caps = uplink.caps();
    let holders = caps["phc_holders"].as_array().expect("a list");
    assert!(holders.iter().any(|holder| holder["command"] == "ptp4l"), "{caps}");
    assert_eq!(
        (&caps["hardware_tx_type"], &caps["hardware_rx_filter"]),
        (&json!("on"), &json!("ptpv2-event")),
        "{caps}"
    );
    drop(ptp4l);
    uplink.set(Setting::OFF);
}

/// From the application to the card and back, no stamp is earlier than the one before it: the card's, where it is in the host's
/// clock, within its bound. There it also bounds the network.
fn in_order(run: &Run, ingress: &str) {
    for reply in run.replies() {
        let [egress, driver, back] = ["tc-egress", "driver-tx", ingress].map(|hook| time(reply, hook));
        let nic = stamp(reply, "nic-tx").filter(|nic| nic["clock"] == "monotonic");
        if let Some(nic) = nic {
            let (nic_ns, bound_ns) = (number(nic, "time_ns"), number(nic, "bound_ns"));
            assert!(driver <= nic_ns + bound_ns && nic_ns - bound_ns <= back, "{reply}");
        }
        let request = if nic.is_some() { "nic-tx" } else { "driver-tx" };
        assert_eq!(reply["net_source"], format!("{request}/{ingress}"), "{reply}");
        let sent = time(reply, request) - number(reply, "tx_stack_ns");
        let received = back + number(reply, "rx_stack_ns");
        assert!([sent, egress, driver, back, received].is_sorted(), "{reply}");
    }
}

/// The replies with a time of the card in this clock.
fn with<'a>(run: &'a Run, clock: &str) -> Vec<&'a Value> {
    let has = |reply: &&Value| stamp(reply, "nic-tx").is_some_and(|nic| nic["clock"] == clock);
    run.replies().into_iter().filter(has).collect()
}

fn time(reply: &Value, hook: &str) -> i64 {
    number(stamp(reply, hook).unwrap_or_else(|| panic!("no {hook}: {reply}")), "time_ns")
}

/// The stamp of a hook, of which there is one.
fn stamp<'a>(reply: &'a Value, hook: &str) -> Option<&'a Value> {
    let stamps = reply["stamps"].as_array().expect("a list");
    let mut found = stamps.iter().filter(|stamp| stamp["hook"] == hook);
    let stamp = found.next();
    assert!(found.next().is_none(), "more than one {hook}: {reply}");
    stamp
}
