//! What a service manager is told: the protocol of `sd_notify(3)`.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

use anyhow::Context as _;

/// The service manager, where one has started this process and wants to know.
pub(super) struct Service {
    socket: Option<UnixDatagram>,
    ready: bool,
    status: String,
}

impl Service {
    /// From the environment.
    ///
    /// # Errors
    ///
    /// The socket that `NOTIFY_SOCKET` names cannot be reached.
    pub(super) fn of_this_process() -> anyhow::Result<Self> {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.map(|name| {
            connect(&name).with_context(|| {
                format!(
                    "cannot reach the service manager at NOTIFY_SOCKET={}: unset it, or let it name a socket by its path",
                    name.display()
                )
            })
        });
        Ok(Self { socket: socket.transpose()?, ready: false, status: String::new() })
    }

    /// How often it wants a sign of life; `None` where it does not.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        watchdog(env::var("WATCHDOG_USEC").ok()?.parse().ok()?, env::var("WATCHDOG_PID").ok(), process::id())
    }

    /// Tells it once that the service has begun.
    pub(super) fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.tell("READY=1");
        }
    }

    /// Tells it how the service stands, where that has changed.
    pub(super) fn status(&mut self, status: String) {
        if self.status != status {
            self.tell(&format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// Tells it that the service lives.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Tells it that the service ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // What the manager misses it will ask for in its own way; the clocks come first.
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not stop the readings of clocks.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Half of what the manager waits: one sign that comes late does no harm.
fn watchdog(usec: u64, pid: Option<String>, own: u32) -> Option<Duration> {
    let mine = pid.is_none_or(|pid| pid == own.to_string());
    (mine && usec > 0).then(|| Duration::from_micros(usec) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_for_whom_they_are_asked_of() {
        assert_eq!(watchdog(2_000_000, None, 7), Some(Duration::from_secs(1)));
        assert_eq!(watchdog(2_000_000, Some("7".into()), 7), Some(Duration::from_secs(1)));
        assert_eq!(watchdog(2_000_000, Some("8".into()), 7), None);
        assert_eq!(watchdog(0, None, 7), None);
    }
}
