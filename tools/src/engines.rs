//! Container engines: which process is a container's, and what its network namespace is.
//!
//! They are asked over their sockets, in the language of Docker's interface, which podman speaks, too. Podman needs no daemon, and so
//! has no socket on most hosts: then its command is asked.

use std::{
    env,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use instamp_hooks::Container;
use serde::Deserialize;

/// An engine that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far beyond what an engine tells of a container.
const LONGEST_ANSWER: u64 = 1 << 24;

const DOCKER: &str = "docker";
const PODMAN: &str = "podman";

/// What an engine tells of a container, of which it tells more.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    id: String,
    name: String,
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    /// 0 where it does not run.
    pid: u32,
}

/// The container that an engine knows by this name or identifier, and its network namespace.
///
/// # Errors
///
/// No engine, or several, know a running one.
pub(crate) fn find(name: &str) -> anyhow::Result<(Container, File)> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    ensure!(
        name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_plain),
        "`{name}` is no name of a container: they have letters, digits, `_`, `.` and `-`"
    );
    let mut asked = Vec::new();
    let mut found: Vec<(&str, Told)> = Vec::new();
    for (engine, socket) in sockets() {
        let answer = inspect(&socket, name);
        asked.push(format!("{engine} at {}: {}", socket.display(), outcome(&answer)));
        found.extend(answer.ok().flatten().map(|told| (engine, told)));
    }
    if found.is_empty() {
        let answer = inspect_by_command(name);
        asked.push(format!("`{PODMAN} container inspect {name}`: {}", outcome(&answer)));
        found.extend(answer.ok().flatten().map(|told| (PODMAN, told)));
    }
    // Podman answers at Docker's socket on some hosts.
    found.dedup_by(|(_, later), (_, first)| later.id == first.id);
    let [(engine, told)] = &found[..] else {
        if found.is_empty() {
            bail!("no container `{name}` ({}); any other can be named with --pid or --netns", asked.join("; "));
        }
        bail!("several engines have a container `{name}`: name it by its identifier");
    };
    ensure!(told.state.pid != 0, "container `{name}` does not run, so it has no network");
    let container = Container {
        engine: (*engine).to_owned(),
        id: told.id.clone(),
        // Docker has it as a path.
        name: told.name.trim_start_matches('/').to_owned(),
        interface: String::new(),
    };
    Ok((container, of_process(told.state.pid)?))
}

/// The network namespace of a process.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<File> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).with_context(|| format!("cannot open the network namespace of process {pid}, {path}"))
}

fn outcome(answer: &anyhow::Result<Option<Told>>) -> String {
    match answer {
        Ok(Some(told)) => format!("process {}", told.state.pid),
        Ok(None) => "no such container".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Where engines listen, as far as something is there: where their own commands would ask.
fn sockets() -> Vec<(&'static str, PathBuf)> {
    let named = |variable: &str| {
        // Others lead to other machines, whose processes are not here.
        let address = env::var(variable).ok()?;
        Some(PathBuf::from(address.strip_prefix("unix://")?))
    };
    let own = || env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("podman/podman.sock"));
    let mut sockets = vec![
        (PODMAN, Some(named("CONTAINER_HOST").unwrap_or_else(|| "/run/podman/podman.sock".into()))),
        (DOCKER, Some(named("DOCKER_HOST").unwrap_or_else(|| "/var/run/docker.sock".into()))),
        (PODMAN, own()),
    ];
    let mut listening: Vec<_> = sockets.drain(..).filter_map(|(engine, socket)| Some((engine, socket?))).collect();
    listening.retain(|(_, socket)| socket.exists());
    listening
}

/// Asks at a socket. `None` where there is no such container.
fn inspect(socket: &Path, name: &str) -> anyhow::Result<Option<Told>> {
    let (status, body) = get(socket, &format!("/v1.40/containers/{name}/json"))?;
    match status {
        200 => Ok(Some(serde_json::from_slice(&body).context("an answer of another form")?)),
        404 => Ok(None),
        status => bail!("it answers with {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

/// Asks podman's command, which reads its state.
fn inspect_by_command(name: &str) -> anyhow::Result<Option<Told>> {
    let output = Command::new(PODMAN)
        .args(["container", "inspect", name])
        // With it the command would ask at a socket, too, or another machine.
        .env_remove("CONTAINER_HOST")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{PODMAN}`"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim();
        ensure!(words.contains("no such container"), "{words}");
        return Ok(None);
    }
    let told: Vec<Told> = serde_json::from_slice(&output.stdout).context("an answer of another form")?;
    Ok(told.into_iter().next())
}

/// The status and the body of a resource. In version 1.0 of the protocol the answer ends with the connection, and has no parts that
/// would have to be put together ([RFC 1945]).
///
/// [RFC 1945]: https://www.rfc-editor.org/rfc/rfc1945#section-7.2
fn get(socket: &Path, resource: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let answer = exchange(socket, resource)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let head = end.and_then(|end| str::from_utf8(answer.get(..end)?).ok());
    let status = head.and_then(|head| head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
    let body = end.and_then(|end| answer.get(end + 4..));
    status.zip(body.map(<[u8]>::to_vec)).context("what listens there does not speak HTTP")
}

fn exchange(socket: &Path, resource: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {resource} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{io::BufRead as _, io::BufReader, os::unix::net::UnixListener, thread};

    use super::*;

    /// What comes of asking an engine that gives this answer, and how it was asked.
    fn asked(answer: &'static str) -> (anyhow::Result<Option<Told>>, String) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::scope(|scope| {
            let request = scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
                first
            });
            (inspect(&socket, "web"), request.join().unwrap())
        })
    }

    #[test]
    fn a_container_is_asked_for() {
        let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
                      {\"Id\":\"01ab\",\"Name\":\"/web\",\"Image\":\"x\",\"State\":{\"Status\":\"running\",\"Pid\":4711}}";
        let (told, request) = asked(answer);
        let told = told.unwrap().unwrap();
        assert_eq!((&*told.id, &*told.name, told.state.pid), ("01ab", "/web", 4711));
        assert_eq!(request, "GET /v1.40/containers/web/json HTTP/1.0");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(asked("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"no such container\"}").0.unwrap().is_none());
        for (answer, words) in [
            ("HTTP/1.0 500 Internal Server Error\r\n\r\nout of order", "500: out of order"),
            ("HTTP/1.0 200 OK\r\n\r\n{\"Id\":1}", "another form"),
            ("220 smtp.example.net ESMTP\r\n", "does not speak HTTP"),
            ("", "does not speak HTTP"),
        ] {
            let error = asked(answer).0.err().unwrap();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }

    #[test]
    fn names_reach_no_other_resource() {
        for name in ["", "../images", "a/b", "a b", "a?x", "-a"] {
            assert!(find(name).unwrap_err().to_string().contains("no name of a container"), "{name}");
        }
    }
}
