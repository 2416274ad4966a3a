//! What it takes to watch 50,000 probes a second, and what that adds to their RTT: rounds with and without take turns. And how near to witnesses
//! it is.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{IpAddr, SocketAddr, UdpSocket},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use aya::sys::{Stats, enable_stats};
use instamp_tests::{
    capture::{Capture, ECHOES, echoes},
    kernel_stamps::{Exchange, exchanges},
    lab::Lab,
    ping::number,
    prober::now_ns,
    quantiles::{median, summary},
    watching::{self, by_number, net_at_capture, network_number},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

const RATE: u64 = 50_000;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);
/// At the beginning of each round, for neighbours and cold caches.
const WARM_UP: usize = 5_000;
/// The kernel counts the time of processes in hundredths of a second: `USER_HZ`.
const TICKS: f64 = 100.0;

/// Prints a line for a watcher that tells its summary alone, and for one that tells every reply.
pub(crate) fn measure() {
    let lab = Lab::up(&[]);
    for (name, options) in [("summary", &["-q"][..]), ("json", &[])] {
        let (mut off, mut on, mut share) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rates, mut told) = (Vec::new(), [0, 0]);
        for _ in 0..ROUNDS {
            off.push(probe(&lab).median_rtt_ns);
            let watching = Watching::start(&lab, options);
            let before = watching.cpu_seconds();
            let probed = probe(&lab);
            share.push((watching.cpu_seconds() - before) / probed.elapsed.as_secs_f64());
            let told_by = watching.stop();
            on.push(probed.median_rtt_ns);
            rates.push(probed.rate);
            told[0] += told_by["answered"].as_u64().expect("a count");
            told[1] += probed.answered;
        }
        let added: Vec<i64> = on.iter().zip(&off).map(|(on, off)| on - off).collect();
        println!(
            "{}",
            json!({
                "type": "watch", "output": name, "rounds": ROUNDS, "probes_per_second": median(&rates),
                "told": told[0], "answered": told[1],
                "process_cpu_share": rounded(share.iter().sum::<f64>() / share.len() as f64),
                "rtt_off_ns": median(&off), "rtt_on_ns": median(&on), "added_rtt_ns": median(&added),
            })
        );
    }
    programs(&lab);
    agreement(&lab);
}

/// Prints how far `net` is from the kernel's own stamps of a socket on the host, and how far, from where the uplink gets a request, from what a
/// packet capture there tells of an iputils ping in a container.
fn agreement(lab: &Lab) {
    const PROBES: u16 = 2000;
    let mut from_socket = Vec::new();
    let (mut from_capture, mut of_each) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let watching = watching::Watching::start(lab, &[]);
        let exchanges = lab.enter("host", || exchanges(Lab::REMOTE, PROBES));
        let watched = watching.stop();
        let differences = watched.replies().into_iter().filter_map(|reply| {
            let exchange = Exchange::of(&exchanges, reply)?;
            Some((number(reply, "net_ns") - exchange.net_ns()).abs())
        });
        let differences: Vec<i64> = differences.collect();
        assert_eq!(differences.len(), exchanges.len(), "{}", watched.summary());
        from_socket.extend(differences);

        let watching = watching::Watching::start(lab, &[]);
        let capture = Capture::start(lab, "host", Lab::NIC, ECHOES);
        lab.run("c1", "ping", &["-n", "-q", "-i", "0.002", "-c", &PROBES.to_string(), Lab::REMOTE]);
        let frames = capture.stop();
        let echoes = echoes(&frames);
        let [requests, replies] = by_number(&echoes);
        let watched = watching.stop();
        let replies_told = watched.replies();
        assert_eq!(replies_told.len(), usize::from(PROBES), "{}", watched.summary());
        let differences: Vec<i64> = replies_told
            .into_iter()
            .map(|reply| {
                let [request, echo] = [&requests, &replies].map(|those| those[&network_number(reply)].time_ns);
                (net_at_capture(reply) - (echo.cast_signed() - request.cast_signed())).abs()
            })
            .collect();
        of_each.push(median(&differences));
        from_capture.extend(differences);
    }
    println!(
        "{}",
        json!({
            "type": "watch-accuracy", "rounds": ROUNDS, "probes": from_capture.len(),
            "from_capture_ns": summary(&from_capture), "from_capture_p50_of_each_ns": of_each,
            "from_socket_ns": summary(&from_socket),
        })
    );
}

/// Prints what the kernel accounts the programs with, for each probe.
fn programs(lab: &Lab) {
    let stats = enable_stats(Stats::RunTime).expect("statistics of programs");
    let watching = Watching::start(lab, &["-q"]);
    let probed = probe(lab);
    let spent: Vec<(String, u64, u64)> = watching.programs();
    drop(stats);
    watching.stop();
    let total: u64 = spent.iter().map(|(_, ns, _)| ns).sum();
    let each: serde_json::Map<String, Value> =
        spent.iter().map(|(name, ns, runs)| (name.clone(), json!(ns / (*runs).max(1)))).collect();
    println!(
        "{}",
        json!({
            "type": "watch-programs", "probes": probed.answered, "ns_per_probe": total / probed.answered.max(1),
            "cpu_share": rounded(total as f64 / probed.elapsed.as_nanos() as f64), "ns_per_run": each,
        })
    );
}

fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// A round of probes.
struct Probed {
    median_rtt_ns: i64,
    /// A second.
    rate: u64,
    answered: u64,
    elapsed: Duration,
}

/// Sends a probe when it is due, and awaits its reply, from the host.
fn probe(lab: &Lab) -> Probed {
    lab.enter("host", || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).expect("an ICMP socket");
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
        let to = SocketAddr::new(Lab::REMOTE.parse::<IpAddr>().expect("an address"), 0);
        let mut message = [0; 64];
        message[0] = 8;
        let mut buffer = [0; 128];
        let mut rtts = Vec::new();
        let started = Instant::now();
        let mut due = started;
        let interval = Duration::from_nanos(1_000_000_000 / RATE);
        for number in 0_u64.. {
            let now = Instant::now();
            if now - started >= ROUND {
                break;
            }
            // What was missed is left out.
            due = due.max(now - interval) + interval;
            message[6..8].copy_from_slice(&number.to_be_bytes()[6..]);
            message[8..16].copy_from_slice(&number.to_be_bytes());
            let sent_ns = now_ns();
            socket.send_to(&message, to).expect("send a request");
            socket.recv(&mut buffer).expect("a reply");
            rtts.push((now_ns() - sent_ns).cast_signed());
            while Instant::now() < due {
                std::hint::spin_loop();
            }
        }
        let (elapsed, answered) = (started.elapsed(), rtts.len() as u64);
        let rate = u128::from(answered) * 1_000_000_000 / elapsed.as_nanos();
        Probed {
            median_rtt_ns: median(rtts.get(WARM_UP..).unwrap_or(&rtts)),
            rate: u64::try_from(rate).expect("a rate"),
            answered,
            elapsed,
        }
    })
}

/// `instamp watch`, whose output is read.
struct Watching {
    child: Child,
    reader: thread::JoinHandle<String>,
}

impl Watching {
    fn start(lab: &Lab, options: &[&str]) -> Self {
        let mut command = lab.instamp("host");
        command.args(["watch", "--json", "--dev", Lab::NIC]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().expect("instamp watch");
        let mut output = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its first line");
        // The last line is the summary.
        let reader = thread::spawn(move || {
            let mut tail = Vec::new();
            let mut chunk = vec![0; 1 << 20];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                tail.extend_from_slice(&chunk[..length]);
                let kept = tail.len().saturating_sub(1 << 16);
                tail.drain(..kept);
            }
            let text = String::from_utf8_lossy(&tail);
            text.lines().last().unwrap_or_default().to_owned()
        });
        Self { child, reader }
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process");
        let (_, fields) = stat.rsplit_once(") ").expect("its name");
        // utime and stime of proc_pid_stat(5), counted from the state, which is the third.
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
        ticks.sum::<f64>() / TICKS
    }

    /// Name, time in nanoseconds and runs of its programs.
    fn programs(&self) -> Vec<(String, u64, u64)> {
        let links = fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).expect("the process");
        let infos = links.flatten().map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        let of = |info: &str, name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse::<u64>().ok())
        };
        let ids: Vec<u64> =
            infos.filter(|info| info.contains("link_id:")).filter_map(|info| of(&info, "prog_id:")).collect();
        let programs = aya::programs::loaded_programs().flatten();
        let own = programs.filter(|program| ids.contains(&program.id().into()));
        own.map(|program| {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            (name, program.run_time().as_nanos().try_into().expect("short"), program.run_count())
        })
        .collect()
    }

    fn stop(mut self) -> Value {
        let pid = i32::try_from(self.child.id()).expect("a process");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("instamp watch");
        let summary = self.reader.join().expect("its output");
        self.child.wait().expect("its end");
        serde_json::from_str(&summary).expect("its summary")
    }
}
