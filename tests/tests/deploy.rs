//! What is in `deploy/`: as far as it can be checked without a cluster.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use instamp_tests::{
    cni::call,
    lab::Lab,
    privilege::{root, tool},
};
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The texts under `key` of each entry of a list.
fn texts<'a>(list: &'a Yaml, key: &str) -> BTreeSet<&'a str> {
    list.as_vec().unwrap().iter().map(|entry| entry[key].as_str().unwrap()).collect()
}

#[test]
fn the_daemon_set_is_whole() {
    let documents = YamlLoader::load_from_str(&read("daemonset.yaml")).unwrap();
    let [set] = &documents[..] else { panic!("one document") };
    assert_eq!((set["apiVersion"].as_str(), set["kind"].as_str()), (Some("apps/v1"), Some("DaemonSet")));
    assert!(set["metadata"]["name"].as_str().is_some() && set["metadata"]["namespace"].as_str().is_some());
    let template = &set["spec"]["template"];
    // It would be refused if it did not select its own pods.
    for (key, value) in set["spec"]["selector"]["matchLabels"].as_hash().unwrap() {
        assert_eq!(template["metadata"]["labels"].as_hash().unwrap().get(key), Some(value));
    }
    let pod = &template["spec"];
    assert_eq!(pod["hostNetwork"].as_bool(), Some(true));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false), "nobody here asks the cluster");
    let volumes = texts(&pod["volumes"], "name");
    let mut used = BTreeSet::new();
    let containers = [&pod["initContainers"], &pod["containers"]];
    let containers: Vec<_> = containers.iter().flat_map(|list| list.as_vec().unwrap()).collect();
    assert_eq!(
        containers.iter().map(|container| container["name"].as_str().unwrap()).collect::<BTreeSet<_>>().len(),
        2
    );
    for container in containers {
        let (_, tag) = container["image"].as_str().unwrap().rsplit_once(':').expect("a version");
        assert_ne!(tag, "latest");
        let security = &container["securityContext"];
        assert!(security["privileged"].is_badvalue(), "what it needs is named");
        assert_eq!(security["capabilities"]["drop"][0].as_str(), Some("ALL"));
        assert!(!container["resources"]["requests"].is_badvalue() && !container["resources"]["limits"].is_badvalue());
        let mounts = texts(&container["volumeMounts"], "name");
        assert!(mounts.is_subset(&volumes), "{mounts:?} {volumes:?}");
        used.extend(mounts);
        let [shell, flags, script] = &container["command"].as_vec().unwrap()[..] else { panic!("a script") };
        assert_eq!((shell.as_str(), flags.as_str()), (Some("/bin/sh"), Some("-ec")));
        let syntax = std::process::Command::new("sh").args(["-n", "-c", script.as_str().unwrap()]).output().unwrap();
        assert!(syntax.status.success(), "{syntax:?}");
        // Each update of the manifest would take hooks off, and links down.
        assert!(!script.as_str().unwrap().contains("detach"), "pods that are measured outlive this one");
    }
    assert_eq!(used, volumes, "no volume for nothing");
    let paths: BTreeSet<_> =
        pod["volumes"].as_vec().unwrap().iter().map(|volume| volume["hostPath"]["path"].as_str()).collect();
    assert_eq!(paths, [Some("/opt/cni/bin"), Some("/sys/fs/bpf")].into());
}

#[test]
fn the_network_is_one_that_the_plugin_takes() {
    let network: Value = serde_json::from_str(&read("10-pods.conflist")).unwrap();
    let plugins = network["plugins"].as_array().unwrap();
    let types: Vec<_> = plugins.iter().map(|plugin| plugin["type"].as_str().unwrap()).collect();
    assert_eq!(
        (types.first(), types.last()),
        (Some(&"bridge"), Some(&"instamp-cni")),
        "behind the one that makes the veth"
    );
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = Lab::up(&[]);
    // As runtimes hand it over: the plugin's part, with what is the whole network's.
    let mut configuration = plugins.last().unwrap().clone();
    for key in ["cniVersion", "name"] {
        configuration[key] = network[key].clone();
    }
    configuration["prevResult"] = json!({ "cniVersion": network["cniVersion"], "interfaces": [] });
    let environment = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "0a1b"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/that-is-not-there"),
    ];
    let output = call(&lab, &environment, &configuration);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), configuration["prevResult"]);
}
