//! The plugin, as container runtimes call it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Output;

use instamp_tests::{
    bpffs::Bpffs,
    cni::{NETWORK, Sandbox, call},
    lab::Lab,
    privilege::{root, tool},
};
use serde_json::{Value, json};

fn lab() -> Option<(Lab, Bpffs)> {
    root()?;
    tool("ip")?;
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    Some((lab, Bpffs::mount()))
}

/// What the plugin answers with, where it succeeds.
#[track_caller]
fn answer(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words} {}", String::from_utf8_lossy(&output.stderr));
    words
}

/// The code of its error, where it fails.
#[track_caller]
fn code(output: &Output) -> u64 {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(error["msg"].is_string() && error["details"].is_string() && error["cniVersion"].is_string(), "{error}");
    error["code"].as_u64().unwrap()
}

/// The containers that are attached for, and the attachments.
fn attached(lab: &Lab, bpffs: &Bpffs) -> (Vec<String>, usize) {
    let output = lab.instamp("host").env("INSTAMP_BPFFS", bpffs.path()).args(["status", "--json"]).output().unwrap();
    let lines: Vec<Value> = answer(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = lines.iter().filter_map(|line| Some(line["container"]["id"].as_str()?.to_owned()));
    (names.collect(), lines.len())
}

#[test]
fn a_container_is_added_checked_and_deleted() {
    let Some((lab, bpffs)) = lab() else { return };
    let options = json!({ "type": "instamp-cni", "bpffs": bpffs.path(), "ingress": "xdp" });
    let sandbox = Sandbox::new(&lab, 1);
    // Not before it was added.
    assert_eq!(code(&sandbox.call("CHECK", &options)), 100);
    let passed_on: Value = serde_json::from_str(&answer(&sandbox.call("ADD", &options))).unwrap();
    assert_eq!(passed_on, sandbox.result());
    assert_eq!(answer(&sandbox.call("CHECK", &options)), "");
    assert_eq!(attached(&lab, &bpffs), (vec![sandbox.id.clone()], 2));
    // Of another network it is another attachment.
    let other = json!({ "name": "other", "bpffs": bpffs.path() });
    assert_eq!(answer(&sandbox.call("DEL", &other)), "");
    assert_eq!(attached(&lab, &bpffs).1, 2);

    let mut detach = lab.instamp("host");
    answer(&detach.env("INSTAMP_BPFFS", bpffs.path()).args(["detach", "--dev", Lab::NIC]).output().unwrap());
    assert_eq!(code(&sandbox.call("CHECK", &options)), 100);
    // Any number of times.
    for _ in 0..2 {
        assert_eq!(answer(&sandbox.call("DEL", &options)), "");
        assert_eq!(bpffs.pins().len(), 0);
    }
}

#[test]
fn what_is_gone_is_deleted_as_well() {
    let Some((lab, bpffs)) = lab() else { return };
    let options = json!({ "bpffs": bpffs.path() });
    let sandbox = Sandbox::new(&lab, 1);
    answer(&sandbox.call("ADD", &options));
    sandbox.unplug();
    assert_eq!(answer(&sandbox.call("DEL", &options)), "");
    assert_eq!(bpffs.pins().len(), 0);
    // Where no pins can be, nothing is attached; and nothing can be.
    let nowhere = json!({ "bpffs": "/proc" });
    assert_eq!(answer(&sandbox.call("DEL", &nowhere)), "");
    assert_eq!(code(&sandbox.call("STATUS", &json!({ "cniVersion": "1.1.0", "bpffs": "/proc" }))), 50);
    assert_eq!(answer(&sandbox.call("STATUS", &json!({ "cniVersion": "1.1.0", "bpffs": bpffs.path() }))), "");
    let tolerant = sandbox.call("STATUS", &json!({ "cniVersion": "1.1.0", "bpffs": "/proc", "required": false }));
    assert_eq!(answer(&tolerant), "");
    assert!(String::from_utf8_lossy(&tolerant.stderr).contains("no BPF file system"), "{tolerant:?}");
}

#[test]
fn what_the_runtime_does_not_know_any_more_is_collected() {
    let Some((lab, bpffs)) = lab() else { return };
    let options = json!({ "bpffs": bpffs.path() });
    let sandboxes = [1, 2, 3].map(|number| Sandbox::new(&lab, number));
    sandboxes.iter().for_each(|sandbox| drop(answer(&sandbox.call("ADD", &options))));
    let [_, two, three] = &sandboxes;
    let valid = |sandbox: &Sandbox<'_>| json!({ "containerID": sandbox.id, "ifname": Sandbox::INTERFACE });
    let gc = |network: &str, valid: Value| {
        let options = json!({ "cniVersion": "1.1.0", "name": network, "bpffs": bpffs.path(), "cni.dev/valid-attachments": valid });
        call(&lab, &[("CNI_COMMAND", "GC")], &options)
    };
    // Another network's are not this one's.
    answer(&gc("other", json!([])));
    assert_eq!(attached(&lab, &bpffs).0.len(), 3);
    let other_device = json!({ "containerID": three.id, "ifname": "eth1" });
    answer(&gc(NETWORK, json!([valid(two), other_device])));
    assert_eq!(attached(&lab, &bpffs), (vec![two.id.clone()], 2));
    answer(&gc(NETWORK, json!([])));
    assert_eq!(bpffs.pins().len(), 0);
    let unsaid = json!({ "cniVersion": "1.1.0", "name": NETWORK });
    assert_eq!(code(&call(&lab, &[("CNI_COMMAND", "GC")], &unsaid)), 7);
}

#[test]
fn failures_are_told_or_passed_over() {
    let Some((lab, bpffs)) = lab() else { return };
    let sandbox = Sandbox::new(&lab, 1);
    let with = |more: Value| {
        let mut options = json!({ "bpffs": bpffs.path() });
        options.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        options
    };
    let unusable = json!({ "uplink": "nowhere" });
    let output = sandbox.call("ADD", &with(unusable.clone()));
    assert_eq!(code(&output), 100);
    assert!(String::from_utf8_lossy(&output.stdout).contains("no device nowhere"), "{output:?}");
    assert_eq!(bpffs.pins().len(), 0);
    // Alone it has nothing to attach to, nor to pass on.
    assert_eq!(code(&sandbox.call("ADD", &with(json!({ "prevResult": null })))), 7);
    assert_eq!(code(&sandbox.call("CHECK", &with(json!({ "prevResult": null })))), 7);
    assert_eq!(code(&sandbox.call("ADD", &with(json!({ "cniVersion": "3.0.0" })))), 1);

    let tolerant = with(json!({ "uplink": "nowhere", "required": false }));
    let output = sandbox.call("ADD", &tolerant);
    assert_eq!(serde_json::from_str::<Value>(&answer(&output)).unwrap(), sandbox.result());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no device nowhere"), "{output:?}");
    assert_eq!(answer(&sandbox.call("CHECK", &tolerant)), "");
    assert_eq!(bpffs.pins().len(), 0);
}

#[test]
fn versions_are_told() {
    let Some((lab, _)) = lab() else { return };
    let output = call(&lab, &[("CNI_COMMAND", "VERSION")], &json!({ "cniVersion": "1.0.0" }));
    let versions: Value = serde_json::from_str(&answer(&output)).unwrap();
    assert_eq!(versions["cniVersion"], "1.0.0");
    assert!(versions["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")), "{versions}");
}
