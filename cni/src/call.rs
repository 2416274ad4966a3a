//! What the runtime asks: a command and its subject in the environment, the network's configuration at standard input.

use std::path::PathBuf;

use instamp_hooks::{IngressChoice, TcChoice, XdpMode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// The versions of the specification in which this speaks: those with chains of plugins. What is passed on is in the version in
/// which it came.
pub(crate) const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// One invocation.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) command: Command,
    pub(crate) configuration: Configuration,
}

/// What is to be done.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Add { attachment: Subject, namespace: PathBuf },
    Del(Subject),
    Check(Subject),
    Gc,
    Status,
    Version,
}

/// A device of a container.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    pub(crate) id: String,
    /// The pod, as Kubernetes calls it; empty where that says nothing.
    pub(crate) name: String,
    pub(crate) interface: String,
}

/// The part of a network's configuration that counts here. Runtimes add to it what they like.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    #[serde(default)]
    pub(crate) cni_version: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) prev_result: Option<Value>,
    /// Those that are to stay, at GC.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub(crate) valid_attachments: Option<Vec<Valid>>,

    /// The uplink; by default that of the host's route for the container.
    pub(crate) uplink: Option<String>,
    #[serde(default)]
    pub(crate) ingress: Ingress,
    #[serde(default)]
    pub(crate) xdp_mode: Mode,
    #[serde(default)]
    pub(crate) tc: Tc,
    #[serde(default)]
    pub(crate) hw: bool,
    pub(crate) point: Option<u8>,
    pub(crate) node: Option<u16>,
    /// Where a BPF file system is mounted, if not at /sys/fs/bpf.
    pub(crate) bpffs: Option<PathBuf>,
    /// Whether a container is refused whose probes cannot be stamped.
    #[serde(default = "yes")]
    pub(crate) required: bool,
}

/// An attachment that the runtime knows.
#[derive(Deserialize, Debug)]
pub(crate) struct Valid {
    #[serde(rename = "containerID")]
    pub(crate) id: String,
    #[serde(rename = "ifname")]
    pub(crate) interface: String,
}

#[derive(Deserialize, Clone, Copy, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ingress {
    #[default]
    Auto,
    Xdp,
    Tc,
}

#[derive(Deserialize, Clone, Copy, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Native,
    Generic,
}

#[derive(Deserialize, Clone, Copy, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tc {
    #[default]
    Auto,
    Tcx,
    Clsact,
}

fn yes() -> bool {
    true
}

impl From<Ingress> for IngressChoice {
    fn from(ingress: Ingress) -> Self {
        match ingress {
            Ingress::Auto => Self::Auto,
            Ingress::Xdp => Self::Xdp,
            Ingress::Tc => Self::Tc,
        }
    }
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

impl From<Tc> for TcChoice {
    fn from(tc: Tc) -> Self {
        match tc {
            Tc::Auto => Self::Auto,
            Tc::Tcx => Self::Tcx,
            Tc::Clsact => Self::Clsact,
        }
    }
}

impl Call {
    /// Reads standard input and the environment, and notes the version that the runtime speaks.
    ///
    /// # Errors
    ///
    /// What of it cannot be understood, or is missing.
    pub(crate) fn read(
        input: &[u8],
        variable: impl Fn(&str) -> Option<String>,
        version: &mut String,
    ) -> Result<Self, Error> {
        let named = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &str| named(name).ok_or_else(|| Error::environment(format!("{name} is not set")));
        let command = needed("CNI_COMMAND")?;
        // Whoever asks for the versions need not speak one of them.
        let input = if input.is_empty() && command == "VERSION" { b"{}" } else { input };
        let configuration: Configuration = serde_json::from_slice(input).map_err(|error| Error::undecodable(&error))?;
        let is_known = VERSIONS.contains(&configuration.cni_version.as_str());
        if is_known {
            version.clone_from(&configuration.cni_version);
        }
        // It is the one command that is for versions of which nothing is known yet.
        if !is_known && command != "VERSION" {
            return Err(Error::version(&configuration.cni_version));
        }
        let subject = || {
            let id = needed("CNI_CONTAINERID")?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if !id.bytes().all(is_plain) || !id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                return Err(Error::environment(format!("CNI_CONTAINERID is no identifier: {id:?}")));
            }
            let name = pod(&variable("CNI_ARGS").unwrap_or_default());
            Ok(Subject { id, name, interface: needed("CNI_IFNAME")? })
        };
        let command = match command.as_str() {
            "ADD" => Command::Add { attachment: subject()?, namespace: needed("CNI_NETNS")?.into() },
            "DEL" => Command::Del(subject()?),
            "CHECK" => Command::Check(subject()?),
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            other => return Err(Error::environment(format!("CNI_COMMAND is {other:?}"))),
        };
        let has_no_name = configuration.name.is_empty();
        if has_no_name && !matches!(command, Command::Version | Command::Status) {
            return Err(Error::configuration("the network has no name"));
        }
        Ok(Self { command, configuration })
    }
}

/// Namespace and name of a pod, from arguments such as `K8S_POD_NAMESPACE=default;K8S_POD_NAME=web`.
fn pod(arguments: &str) -> String {
    let value = |name: &str| {
        arguments
            .split(';')
            .find_map(|argument| argument.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    match (value("K8S_POD_NAMESPACE"), value("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => String::new(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// What an invocation comes to, and the version in which its error would be told.
    fn read(environment: &[(&str, &str)], input: &str) -> (Result<Call, String>, String) {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let mut version = "latest".to_owned();
        let call = Call::read(input.as_bytes(), variable, &mut version);
        (call.map_err(|error| error.to_json("")["code"].to_string()), version)
    }

    const CONTAINER: [(&str, &str); 4] = [
        ("CNI_CONTAINERID", "0a1b"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
    ];
    const NETWORK: &str =
        r#"{"cniVersion":"1.0.0","name":"pods","type":"instamp-cni","runtimeConfig":{},"ingress":"xdp"}"#;

    fn with<'a>(command: &'a str, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("CNI_COMMAND", command)], rest].concat()
    }

    #[test]
    fn the_subject_is_in_the_environment_and_the_rest_in_the_configuration() {
        let (call, version) = read(&with("ADD", &CONTAINER), NETWORK);
        let call = call.unwrap();
        let subject =
            || Subject { id: "0a1b".to_owned(), name: "default/web".to_owned(), interface: "eth0".to_owned() };
        assert_eq!(call.command, Command::Add { attachment: subject(), namespace: "/run/netns/x".into() });
        assert!(matches!(call.configuration.ingress, Ingress::Xdp) && call.configuration.required);
        assert_eq!(version, "1.0.0");
        // A namespace that is gone is not named.
        assert_eq!(
            read(&with("DEL", &CONTAINER[..2]), NETWORK).0.unwrap().command,
            Command::Del(Subject { name: String::new(), ..subject() })
        );
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_code() {
        for (environment, input, code) in [
            (with("ADD", &CONTAINER), r#"{"cniVersion":"2.0.0","name":"pods"}"#, "1"),
            (with("ADD", &CONTAINER), r#"{"name":"pods"}"#, "1"),
            (with("ADD", &CONTAINER[1..]), NETWORK, "4"),
            (with("ADD", &CONTAINER[..2]), NETWORK, "4"),
            (with("DEL", &CONTAINER[..1]), NETWORK, "4"),
            (with("DEL", &[("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "eth0")]), NETWORK, "4"),
            (with("UPDATE", &CONTAINER), NETWORK, "4"),
            (with("ADD", &CONTAINER), "", "6"),
            (with("ADD", &CONTAINER), r#"{"cniVersion":"1.0.0","name":"pods","ingress":"af_xdp"}"#, "6"),
            (with("ADD", &CONTAINER), r#"{"cniVersion":"1.0.0"}"#, "7"),
        ] {
            assert_eq!(read(&environment, input).0.unwrap_err(), code, "{environment:?} {input}");
        }
    }

    #[test]
    fn versions_are_told_to_everybody() {
        for input in ["", r#"{"cniVersion":"9.9.9"}"#, r#"{"cniVersion":"0.4.0"}"#] {
            assert_eq!(read(&with("VERSION", &[]), input).0.unwrap().command, Command::Version);
        }
    }
}
