//! Prometheus and its promtool: what they make of metrics.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{exporter::looks, http, lab::Lab, privilege::skip};

/// The programs.
#[derive(Debug)]
pub struct Prometheus {
    folder: PathBuf,
}

impl Prometheus {
    /// Those that were fetched; `None` where they were not.
    ///
    /// # Panics
    ///
    /// They were not, where `CI=true`.
    pub fn fetched() -> Option<Self> {
        // <target>/<profile>/deps/<test>
        let test = env::current_exe().expect("the path of this test");
        let folder = test.ancestors().nth(3).expect("the target folder").join("prometheus/usr/bin");
        if !folder.exists() {
            skip(&format!("needs {}, which `cargo xtask setup` fetches", folder.display()));
            return None;
        }
        Some(Self { folder })
    }

    /// Asserts that promtool finds nothing wrong with metrics in the text format.
    ///
    /// # Panics
    ///
    /// It does.
    #[track_caller]
    pub fn check_metrics(&self, metrics: &str) {
        let mut command = Command::new(self.folder.join("promtool"));
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("promtool");
        child.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("it reads all");
        let output = child.wait_with_output().expect("its end");
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && told.is_empty(), "{}\n{metrics}", String::from_utf8_lossy(&told));
    }

    /// Asserts that promtool can read a file: a `config`, or `rules`.
    ///
    /// # Panics
    ///
    /// It cannot.
    #[track_caller]
    pub fn check_file(&self, kind: &str, content: &str) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content.as_bytes()).expect("a disk");
        let output = Command::new(self.folder.join("promtool")).args(["check", kind]).arg(file.path()).output();
        let output = output.expect("promtool");
        assert!(output.status.success(), "{output:?}\n{content}");
    }

    /// Starts a server in a namespace of the lab, on a port of its own there, that scrapes `exporter` every second: its native
    /// histograms, by protobuf, or `OpenMetrics` with classic ones. It serves when this returns.
    ///
    /// # Panics
    ///
    /// It does not.
    pub fn serve(&self, lab: &Lab, role: &str, port: u16, exporter: SocketAddr, is_native: bool) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: instamp, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
        let mut command = lab.command(role, self.folder.join("prometheus"));
        command.args(is_native.then_some("--enable-feature=native-histograms"));
        command.arg(format!("--web.listen-address={address}"));
        for (option, name) in [("config.file", "prometheus.yml"), ("storage.tsdb.path", "data")] {
            command.arg(format!("--{option}={}", folder.path().join(name).display()));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("prometheus");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let log: Vec<_> = lines.by_ref().take_while(|line| !line.contains("Server is ready")).collect();
        assert!(child.try_wait().expect("a child").is_none(), "{log:#?}");
        // What it says later nobody reads, and must not wait for.
        thread::spawn(move || lines.for_each(drop));
        Server { child, address, _folder: folder }
    }
}

/// A running server, which is killed in the end.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// What an expression that selects one sample is, in the network namespace of this thread; `None` where it selects none.
    ///
    /// # Panics
    ///
    /// It is no expression, or selects several.
    #[track_caller]
    pub fn query(&self, expression: &str) -> Option<f64> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in expression.bytes() {
            write!(path, "%{byte:02x}").expect("memory");
        }
        let answer = http::get(self.address, &path, "*/*");
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}"));
        assert!(result.len() <= 1, "{expression}: {answer}");
        result.first().map(|sample| sample["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a number"))
    }

    /// Asks until an expression is as wanted.
    ///
    /// # Panics
    ///
    /// It does not become so.
    #[track_caller]
    pub fn query_until(&self, expression: &str, wanted: impl Fn(f64) -> bool) {
        assert!(
            looks().any(|()| self.query(expression).is_some_and(&wanted)),
            "{expression}: {:?}",
            self.query(expression)
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
