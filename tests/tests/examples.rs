//! The examples of the crate `instamp`: from a container behind NAT, every reply is corrected.

use instamp_tests::{commands::example, lab::Lab, privilege::root};

/// Their names, which versions of IP they speak, and how many probes they send.
const EXAMPLES: [(&str, &[&str], usize); 4] = [
    ("ping_blocking", &[Lab::REMOTE, Lab::REMOTE6], 5),
    ("ping_tokio", &[Lab::REMOTE, Lab::REMOTE6], 20),
    ("ping_pnet", &[Lab::REMOTE], 5),
    ("surge_ping", &[Lab::REMOTE], 5),
];

#[test]
fn every_reply_is_corrected() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    for (name, targets, probes) in EXAMPLES {
        let program = example(name);
        for target in targets {
            let output = lab.command("c1", &program).arg(target).output().expect("an example");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{name} {target}: {output:?}");
            let sequence =
                |line: &str| line.contains(" ns, net ").then(|| line.split_once(':')?.0.parse().ok()).flatten();
            let corrected: Vec<usize> = text.lines().filter_map(sequence).collect();
            assert_eq!(corrected, (1..=probes).collect::<Vec<_>>(), "{name} {target}: {text}");
        }
    }
}
