//! Container engines: which process is a container's, and what its network namespace is.
//!
//! They are asked over their sockets, in the language of Docker's interface, which podman speaks, too. Podman needs no daemon, and so
//! has no socket on most hosts: then its command is asked.

use std::{
    env, fmt,
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

use crate::namespaces::path_of_process;

/// An engine that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far beyond what an engine tells of a container.
const LONGEST_ANSWER: u64 = 1 << 24;

const DOCKER: &str = "docker";
const PODMAN: &str = "podman";

/// Whom to ask, and how.
struct Engine {
    name: &'static str,
    /// Where it listens; `None` of podman's command.
    socket: Option<PathBuf>,
}

impl Engine {
    /// `None` where there is no such container.
    fn inspect(&self, name: &str) -> anyhow::Result<Option<Told>> {
        match &self.socket {
            Some(socket) => inspect(socket, name),
            None => inspect_by_command(name),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "{} at {}", self.name, socket.display()),
            None => write!(f, "`{} container inspect`", self.name),
        }
    }
}

/// What an engine tells of a container, of which it tells more.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    id: String,
    name: String,
    state: State,
}

#[derive(PartialEq, Eq, Deserialize)]
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
    let mut found: Vec<(Engine, Told)> = Vec::new();
    let mut ask = |engine: Engine| {
        let answer = engine.inspect(name);
        asked.push(format!("{engine}: {}", outcome(&answer)));
        found.extend(answer.ok().flatten().map(|told| (engine, told)));
        !found.is_empty()
    };
    let mut knows = false;
    for engine in sockets() {
        knows |= ask(engine);
    }
    if !knows {
        ask(Engine { name: PODMAN, socket: None });
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
        engine: engine.name.to_owned(),
        id: told.id.clone(),
        // Docker has it as a path.
        name: told.name.trim_start_matches('/').to_owned(),
        interface: String::new(),
    };
    Ok((container, namespace(engine, told)?))
}

/// The network namespace of a container. Its process may have ended since the engine was asked, and another may have its number.
fn namespace(engine: &Engine, told: &Told) -> anyhow::Result<File> {
    let namespace = of_process(told.state.pid)?;
    let still = engine.inspect(&told.id)?;
    ensure!(still.as_ref() == Some(told), "container `{}` was ended or started anew meanwhile", told.id);
    Ok(namespace)
}

/// The network namespace of a process.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<File> {
    let path = path_of_process(pid);
    File::open(&path).with_context(|| format!("cannot open the network namespace of process {pid}, {}", path.display()))
}

/// What an engine says of its error: the message in its form, else all.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    refusal.map_or_else(|| String::from_utf8_lossy(body).into_owned(), |refusal| refusal.message)
}

/// The beginning of others' words, as a terminal may show them: without what would steer it.
fn shown(words: &str) -> String {
    const LONGEST: usize = 200;
    let words = words.trim();
    let mut shown: String = words.chars().take(LONGEST).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    shown.replace(char::is_control, "\u{fffd}")
}

fn outcome(answer: &anyhow::Result<Option<Told>>) -> String {
    match answer {
        Ok(Some(told)) => format!("process {}", told.state.pid),
        Ok(None) => "no such container".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Where engines listen, as far as something is there: where their own commands would ask.
fn sockets() -> Vec<Engine> {
    let named = |variable: &str| {
        // Others lead to other machines, whose processes are not here.
        let address = env::var(variable).ok()?;
        Some(PathBuf::from(address.strip_prefix("unix://")?))
    };
    let own = || env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("podman/podman.sock"));
    let sockets = [
        (PODMAN, Some(named("CONTAINER_HOST").unwrap_or_else(|| "/run/podman/podman.sock".into()))),
        (DOCKER, Some(named("DOCKER_HOST").unwrap_or_else(|| "/var/run/docker.sock".into()))),
        (PODMAN, own()),
    ];
    let listening = sockets.into_iter().filter(|(_, socket)| socket.as_ref().is_some_and(|socket| socket.exists()));
    listening.map(|(name, socket)| Engine { name, socket }).collect()
}

/// Asks at a socket. `None` where there is no such container.
fn inspect(socket: &Path, name: &str) -> anyhow::Result<Option<Told>> {
    // Without a version the engine answers in its own: each refuses those that have become too old for it
    // (<https://docs.docker.com/reference/api/engine/#versioning>), and what is read here is in all of them.
    let (status, body) = get(socket, &format!("/containers/{name}/json"))?;
    match status {
        200 => Ok(Some(serde_json::from_slice(&body).context("an answer of another form")?)),
        404 => Ok(None),
        status => bail!("it answers with {status}: {}", shown(&message(&body))),
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
        ensure!(words.contains("no such container"), "{}", shown(&words));
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
    fn asked(answer: &str) -> (anyhow::Result<Option<Told>>, String) {
        with_engine(answer, |engine| engine.inspect("web"))
    }

    /// What comes of what asks once, and how it asked.
    fn with_engine<T>(answer: &str, ask: impl FnOnce(&Engine) -> T) -> (T, String) {
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
            (ask(&Engine { name: DOCKER, socket: Some(socket) }), request.join().unwrap())
        })
    }

    /// That a container runs with this process.
    fn running(process: u32) -> String {
        let told = format!("{{\"Id\":\"01ab\",\"Name\":\"/web\",\"State\":{{\"Pid\":{process}}}}}");
        format!("HTTP/1.0 200 OK\r\n\r\n{told}")
    }

    #[test]
    fn a_process_that_was_exchanged_meanwhile_is_found_out() {
        let this = std::process::id();
        let told = || Told { id: "01ab".to_owned(), name: "/web".to_owned(), state: State { pid: this } };
        for (answer, is_still) in [
            (running(this), true),
            (running(this + 1), false),
            (running(0), false),
            ("HTTP/1.0 404 Not Found\r\n\r\n".to_owned(), false),
        ] {
            let (namespace, request) = with_engine(&answer, |engine| namespace(engine, &told()));
            assert_eq!(namespace.is_ok(), is_still, "{answer}");
            assert_eq!(request, "GET /containers/01ab/json HTTP/1.0");
        }
    }

    #[test]
    fn a_container_is_asked_for() {
        let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
                      {\"Id\":\"01ab\",\"Name\":\"/web\",\"Image\":\"x\",\"State\":{\"Status\":\"running\",\"Pid\":4711}}";
        let (told, request) = asked(answer);
        let told = told.unwrap().unwrap();
        assert_eq!((&*told.id, &*told.name, told.state.pid), ("01ab", "/web", 4711));
        assert_eq!(request, "GET /containers/web/json HTTP/1.0");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(asked("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"no such container\"}").0.unwrap().is_none());
        for (answer, words) in [
            ("HTTP/1.0 500 Internal Server Error\r\n\r\nout of order", "500: out of order"),
            (
                "HTTP/1.1 400 Bad Request\r\nApi-Version: 1.52\r\n\r\n{\"message\":\"client version 1.40 is too old\"}\n",
                "400: client version 1.40 is too old",
            ),
            ("HTTP/1.0 500 Internal Server Error\r\n\r\n\u{1b}]0;x\u{7}", "500: \u{fffd}]0;x\u{fffd}"),
            ("HTTP/1.0 200 OK\r\n\r\n{\"Id\":1}", "another form"),
            ("220 smtp.example.net ESMTP\r\n", "does not speak HTTP"),
            ("", "does not speak HTTP"),
        ] {
            let error = asked(answer).0.err().unwrap();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(shown(&format!(" {}\n", "ä".repeat(200))), "ä".repeat(200));
        assert_eq!(shown(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }

    #[test]
    fn names_reach_no_other_resource() {
        for name in ["", "../images", "a/b", "a b", "a?x", "-a"] {
            assert!(find(name).unwrap_err().to_string().contains("no name of a container"), "{name}");
        }
    }
}
