//! Requests to servers on this machine.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// 200, say.
    pub status: u16,
    /// The lines before the body.
    pub head: String,
    /// What follows.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// It is none.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }
}

/// Asks for a path, in the network namespace of this thread.
///
/// # Panics
///
/// There is no answer.
#[track_caller]
pub fn get(server: SocketAddr, path: &str, accept: &str) -> Answer {
    // Of this version no answer is in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\nAccept: {accept}\r\n\r\n");
    send(server, request.as_bytes()).unwrap_or_else(|| panic!("no answer to {path} from {server}"))
}

/// Sends any bytes. `None` where no answer comes before the other side closes the connection.
///
/// # Panics
///
/// There is no connection.
#[track_caller]
pub fn send(server: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server).expect("a server");
    // Much longer than any answer takes: the end for tests that fail.
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    // Who does not want to read more than that may say so before all is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&answer[..end]).expect("text").to_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Some(Answer { status, head, body: answer.split_off(end + 4) })
}
