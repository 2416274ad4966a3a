//! Ten million probes: whether each reply is told as what it is, what memory it takes, and whether anybody else notices.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use instamp_tests::{lab::Lab, ping::Run};
use serde_json::{Value, json};

use super::wire::{REMOTE_DEVICE, Reflector};

const PROBES: &str = "10000000";
/// A stream that is sent, and compared where it arrives.
const CHUNK: usize = 4096;
const PAUSE: Duration = Duration::from_millis(1);

/// Prints a line.
pub(crate) fn measure() {
    let lab = Lab::up(&[]);
    let _reflector = Reflector::start(&lab);
    let [nic_before, remote_before] = counters(&lab);
    let mut probe = lab.instamp("host");
    probe.args(["probe", "--json", "-q", "--special", "--dev", Lab::NIC, "--rate", "0", "-c", PROBES, Lab::REMOTE]);
    let mut probe = probe.stdout(Stdio::piped()).spawn().expect("instamp probe");
    let (memory, ping, streamed) = thread::scope(|scope| {
        let ping = scope.spawn(|| Run::new(&lab, "host", &["-q", "-i", "10ms", "-c", "2000", Lab::REMOTE]));
        let stream = scope.spawn(|| stream(&lab));
        let memory = watch(&mut probe);
        (memory, ping.join().expect("a ping"), stream.join().expect("a stream"))
    });
    let output = probe.wait_with_output().expect("its output");
    let run = Run::from(output);
    let [nic, remote] = counters(&lab);
    let less = |after: &Value, before: &Value, path: &str| {
        let count = |value: &Value| value.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        count(after) - count(before)
    };
    let names = ["sent", "received", "corrected", "duplicates", "forged", "late", "dropped"];
    let counts: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), run.count(name).into())).collect();
    println!(
        "{}",
        json!({
            "type": "endurance", "counts": counts, "elapsed_ns": run.summary()["elapsed_ns"],
            "lost": run.count("sent") - run.count("received"),
            "device": {
                "sent": less(&nic, &nic_before, "/stats64/tx/packets"), "received": less(&nic, &nic_before, "/stats64/rx/packets"),
                "dropped_sending": less(&nic, &nic_before, "/stats64/tx/dropped"),
                "dropped_receiving": less(&nic, &nic_before, "/stats64/rx/dropped"),
                "remote_received": less(&remote, &remote_before, "/stats64/rx/packets"),
                "remote_dropped": less(&remote, &remote_before, "/stats64/rx/dropped"),
            },
            "memory_kib": {
                "first": memory.first(), "after_a_tenth": memory.get(memory.len() / 10), "last": memory.last(), "most": memory.iter().max(),
            },
            "ping_beside": { "sent": ping.count("sent"), "received": ping.count("received"), "duplicates": ping.count("duplicates") },
            "stream_beside_bytes": streamed,
        })
    );
}

/// The memory of a process in KiB, once in a while until it ends.
fn watch(child: &mut Child) -> Vec<u64> {
    let mut memory = Vec::new();
    while child.try_wait().expect("its own child").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        memory.extend(resident.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()));
        thread::sleep(Duration::from_millis(200));
    }
    memory
}

/// Sends bytes from the host to the remote for some seconds, and returns how many arrived as they were sent.
fn stream(lab: &Lab) -> usize {
    let listener = lab.enter("remote", || TcpListener::bind((Lab::REMOTE, 0)).expect("a port"));
    let port = listener.local_addr().expect("its own").port();
    let mut sender = lab.enter("host", || TcpStream::connect((Lab::REMOTE, port)).expect("a connection"));
    let (mut receiver, _) = listener.accept().expect("a connection");
    let chunk: Vec<u8> = (0..CHUNK).map(|number| (number % 251).to_le_bytes()[0]).collect();
    let receiving = thread::spawn({
        let chunk = chunk.clone();
        move || {
            let (mut received, mut buffer) = (0, vec![0; CHUNK]);
            while receiver.read_exact(&mut buffer).is_ok() {
                assert_eq!(buffer, chunk, "the stream is as it was sent");
                received += CHUNK;
            }
            received
        }
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        sender.write_all(&chunk).expect("sent");
        thread::sleep(PAUSE);
    }
    drop(sender);
    receiving.join().expect("the receiver")
}

/// What the devices at both ends have counted.
fn counters(lab: &Lab) -> [Value; 2] {
    [("host", Lab::NIC), ("remote", REMOTE_DEVICE)].map(|(role, device)| {
        let text = lab.run(role, "ip", &["-json", "-statistics", "link", "show", "dev", device]);
        let links: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        links.into_iter().next().expect("the device")
    })
}
