//! A process that attaches or detaches is killed after each of its changes to the kernel's state, one run for each. The
//! next command finds the device attached or not, never half, and can do its work.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::{
    collections::HashSet,
    env,
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use instamp_hooks::{BPFFS_VARIABLE, Container, ContainerRequest, Hooks, Objects};
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use world::{NIC, World, mechanisms, ways};

/// The environment variable that tells the process what to do: `attach` or `detach`, and the number of the way; or `contain`, and
/// the name of the container's network namespace.
const TASK: &str = "INSTAMP_TEST_TASK";

#[test]
fn killed_while_attaching() {
    killed("attach");
}

#[test]
fn killed_while_detaching() {
    killed("detach");
}

fn killed(task: &str) {
    let Some(world) = World::new() else { return };
    for (way, (request, expected)) in ways().into_iter().enumerate() {
        let mut moments = 0;
        let (mut attached, mut bare) = (0, 0);
        loop {
            let survived = world.host.enter(|| {
                let hooks = world.hooks();
                if task == "detach" {
                    hooks.attach(&Objects::built_in(), &request).unwrap();
                }
                let survived = run_until(&world, &format!("{task} {way}"), moments + 1);
                let status = hooks.status().unwrap();
                match status.as_slice() {
                    [] => {
                        world.assert_clean(NIC);
                        bare += 1;
                    }
                    [whole] => {
                        assert_eq!(mechanisms(whole), expected.map(Some), "after change {moments} of {request:?}");
                        attached += 1;
                        hooks.detach(NIC).unwrap();
                        world.assert_clean(NIC);
                    }
                    _ => panic!("{status:?}"),
                }
                survived
            });
            if survived {
                break;
            }
            moments += 1;
        }
        println!("{task}, way {way}: killed at {moments} moments, then attached {attached} times, bare {bare} times");
        // Fewer changes than there are pins and directories would mean that some were not seen.
        assert!(moments >= 10, "{moments}");
        assert!(attached > 0 && bare > 0);
    }
}

/// Both devices are attached to, or none: never the uplink alone.
#[test]
fn killed_while_attaching_to_a_container() {
    let Some(world) = World::new() else { return };
    world.host.ip(&["route", "add", "default", "via", "10.77.0.2"]);
    let inside = world.contain("veth-a", 1);
    let (mut moments, mut attached, mut bare) = (0, 0, 0);
    loop {
        let survived = world.host.enter(|| {
            let hooks = world.hooks();
            let survived = run_until(&world, &format!("contain {}", inside.name), moments + 1);
            let status = hooks.status().unwrap();
            match status.as_slice() {
                [] => bare += 1,
                [uplink, veth] => {
                    assert_eq!([&*uplink.device, &*veth.device], [NIC, "veth-a"]);
                    assert_eq!(uplink.containers, ["10.88.1.2".parse().unwrap()], "after change {moments}");
                    attached += 1;
                    assert_eq!(hooks.detach_containers(|_| true).unwrap(), ["veth-a", NIC]);
                }
                _ => panic!("after change {moments}: {status:?}"),
            }
            survived
        });
        world.assert_clean(NIC);
        world.assert_bare("veth-a");
        if survived {
            break;
        }
        moments += 1;
    }
    println!("killed at {moments} moments, then attached {attached} times, bare {bare} times");
    assert!(moments >= 20 && attached > 0 && bare > 0, "{moments} {attached} {bare}");
}

/// Runs the task in a process of its own, and kills that after its change number `last`. Returns whether it ended before.
fn run_until(world: &World, task: &str, last: usize) -> bool {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["do_task", "--exact", "--nocapture"]).stdout(Stdio::null());
    command.env(TASK, task).env(BPFFS_VARIABLE, world.bpffs.path());
    #[expect(unsafe_code, reason = "tracing starts between fork and exec")]
    // SAFETY: the closure makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| Ok(ptrace::traceme()?));
    }
    #[expect(clippy::zombie_processes, reason = "waited for below, by its tracer")]
    let child = command.spawn().unwrap();
    let process = Pid::from_raw(child.id().try_into().unwrap());
    assert_eq!(wait(), WaitStatus::Stopped(process, Signal::SIGTRAP));
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(process, options).unwrap();
    ptrace::syscall(process, None).unwrap();

    let mut changes = 0;
    // The threads that are inside a call that changes something.
    let mut changing = HashSet::new();
    loop {
        let mut signal = None;
        let thread = match wait() {
            WaitStatus::PtraceSyscall(thread) => {
                match entered(thread) {
                    Some(call) if changes_state(call) => drop(changing.insert(thread)),
                    Some(_) => {}
                    None if changing.remove(&thread) => {
                        changes += 1;
                        if changes == last {
                            kill(process, Signal::SIGKILL).unwrap();
                            while wait() != WaitStatus::Signaled(process, Signal::SIGKILL, false) {}
                            return false;
                        }
                    }
                    None => {}
                }
                thread
            }
            WaitStatus::PtraceEvent(thread, ..) | WaitStatus::Stopped(thread, Signal::SIGSTOP) => thread,
            WaitStatus::Stopped(thread, other) => {
                signal = Some(other);
                thread
            }
            WaitStatus::Exited(thread, code) if thread == process => {
                assert_eq!(code, 0, "the task failed by itself");
                return true;
            }
            WaitStatus::Exited(..) => continue,
            other @ (WaitStatus::Signaled(..) | WaitStatus::Continued(_) | WaitStatus::StillAlive) => {
                panic!("{other:?}")
            }
        };
        ptrace::syscall(thread, signal).unwrap();
    }
}

/// Waits for the threads of the process that this thread traces, and for no other process.
fn wait() -> WaitStatus {
    waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap()
}

/// A system call: its number and its first argument.
type Call = (libc::c_long, u64);

/// The system call that the process is about to make; `None` where it has just made one.
fn entered(pid: Pid) -> Option<Call> {
    let info = ptrace::syscall_info(pid).unwrap();
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    #[expect(unsafe_code, reason = "a union of C")]
    // SAFETY: the kernel has said that `entry` is the member that it filled.
    let entry = unsafe { info.u.entry };
    Some((entry.nr.try_into().unwrap(), entry.args[0]))
}

/// Whether the call may change what the kernel holds: files, BPF objects, or, by netlink, devices.
fn changes_state((number, argument): Call) -> bool {
    /// The commands of bpf(2) that change, pin, attach or detach. What others make, maps and programs, goes with the process.
    const BPF: [u64; 7] = [2, 3, 6, 17, 28, 29, 34];
    match number {
        libc::SYS_bpf => BPF.contains(&argument),
        libc::SYS_mkdirat | libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_unlinkat | libc::SYS_sendto => true,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir | libc::SYS_rename | libc::SYS_unlink | libc::SYS_rmdir => true,
        libc::SYS_flock => true,
        _ => false,
    }
}

/// Not a test but the task of a process that a test has started.
#[test]
fn do_task() {
    let Ok(task) = env::var(TASK) else { return };
    let (task, what) = task.split_once(' ').unwrap();
    let hooks = Hooks::open(None, |_| {}).unwrap();
    let request = || ways()[what.parse::<usize>().unwrap()].0.clone();
    match task {
        "attach" => drop(hooks.attach(&Objects::built_in(), &request()).unwrap()),
        "contain" => {
            let namespace = File::open(Path::new("/run/netns").join(what)).unwrap();
            let request = ContainerRequest::new(Container::default(), namespace);
            drop(hooks.attach_container(&Objects::built_in(), &request).unwrap());
        }
        "detach" => hooks.detach(NIC).unwrap(),
        other => panic!("{other}"),
    }
}
