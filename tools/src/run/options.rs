//! The options of `instamp run`.

use std::path::PathBuf;

use clap::ArgGroup;

use crate::{namespaces::Namespace, watch::Uplinks};

/// Runs a ping of any kind as it is, and adds to each line of a reply how much of its time was network.
///
/// The tool is started unmodified, with its own arguments, input, output and exit code. What happens to its packets is seen by the kernel
/// programs of `instamp watch`.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("where").args(["container", "netns", "pid"]))]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) uplinks: Uplinks,

    /// Run the tool in the network namespace of this container, of podman or docker: a name or an identifier.
    #[arg(long, value_name = "NAME|ID")]
    container: Option<String>,

    /// Run the tool in this network namespace: a file such as /run/netns/NAME.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,

    /// Run the tool in the network namespace of this process.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// The tool and its arguments.
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

const HELP: &str = "\
Lines of these tools are known, by the name of the program:
  ping   of iputils, and of busybox (also as `busybox ping`)
  fping  with -c, -C, -l or -e
Of others there is the summary alone, with the replies to all processes that they start. Each line
of a reply gets
  net=   from the driver of the uplink and back to it
  host=  what the tool has counted besides: this host, as exactly as the tool prints its time
  tx=    of these, from the device in the tool's network namespace to the driver
  rx=    and from there back to that device
The latter two only where the tool runs in another network namespace than the uplink is in. `net=?`
is where nothing was seen of the reply, or more than one that it could be.

With --container, --netns and --pid the network is the container's, and nothing else: the program,
its files and name servers are this host's. The options before the command are this command's.

The exit code is the tool's, or 128 and the number of the signal that has ended it; 2 where it could
not be started. Signals that this process is sent are passed on.

Needs root, or CAP_SYS_ADMIN, as `instamp watch`; the tool is started with the same rights.

Examples:
  instamp run -- ping -c 5 192.0.2.1
  instamp run --dev eth0 --pid 4711 -- fping -c 10 -p 100 192.0.2.1 198.51.100.7";

impl Options {
    /// Where the tool is to run, if not here.
    pub(super) fn namespace(&self) -> anyhow::Result<Option<Namespace>> {
        let of_container = self.container.iter().map(|name| Namespace::of_container(name));
        let at_path = self.netns.iter().map(|path| Namespace::at(path));
        of_container.chain(at_path).chain(self.pid.map(Namespace::of_process)).next().transpose()
    }
}
