//! `cargo xtask setup`: what the other tasks need.

use anyhow::Result;

use crate::{
    bpf_toolchain::bpf_toolchain,
    deb, debian, machines,
    packages::{self, Package},
    prometheus, python,
};

/// What building takes besides cargo, and what the demo runs.
pub(crate) fn runtime() -> Result<()> {
    packages::install(&[
        Package::new("gcc", "compiles libbpf, which loads some of the programs"),
        Package::new("make", "builds libbpf"),
        Package::new("pkg-config", "finds what libbpf needs"),
        Package::new("libelf-dev", "is what libbpf reads programs with"),
        Package::new("zlib1g-dev", "unpacks the kernel's configuration for libbpf"),
        Package::new("nftables", "translates addresses on the lab's host, as container engines do"),
        Package::new("ethtool", "switches receive offload on in the lab"),
    ])?;
    packages::mount_bpffs()
}

/// What the tests run, the BPF toolchain aside. Without other kernels, Prometheus and the Python package there are tests left.
pub(crate) fn testing() -> Result<()> {
    programs()?;
    packages::install(&[Package::new("chromium", "is the browser in which the tests look at reports")])?;
    distributing()?;
    packages()?;
    if let Err(error) = python::fetch() {
        eprintln!(
            "setup: NO PYTHON PACKAGE: {error:#}; its tests, and those of all packages, are skipped, which fails where CI=true"
        );
    }
    if let Err(error) = machines::fetch() {
        eprintln!("setup: NO OTHER KERNELS: {error:#}; the tests on them are skipped, which fails where CI=true");
    }
    if let Err(error) = prometheus::fetch() {
        eprintln!("setup: NO PROMETHEUS: {error:#}; the tests with it are skipped, which fails where CI=true");
    }
    Ok(())
}

/// What `dist` makes packages with.
pub(crate) fn distributing() -> Result<()> {
    runtime()?;
    packages::install(&[
        Package::new("dpkg-dev", "finds the packages that ours depend on"),
        Package::new("binutils", "makes what is in packages smaller"),
    ])?;
    building_python()?;
    deb::cargo_deb().map(|_| ())
}

/// What the benchmarks run, and compare with.
pub(crate) fn measuring() -> Result<()> {
    programs()?;
    building_python()?;
    packages::install(&[Package::new("zmap", "is what probing past the stack is compared with")])
}

/// What the tests in virtual machines run.
pub(crate) fn testing_in_machines() -> Result<()> {
    programs()?;
    machines::fetch()
}

/// What the packages are tested with.
fn packages() -> Result<()> {
    packages::install(&[
        Package::new("debootstrap", "makes the Debian in which the tests install the packages"),
        Package::new("systemd-container", "boots it, so that the units run"),
        Package::new("lintian", "reads packages strictly"),
        Package::new("zsh", "reads its completions"),
        Package::new("fish", "reads its completions"),
    ])?;
    if let Err(error) = debian::make() {
        eprintln!("setup: NO CLEAN DEBIAN: {error:#}; the tests in it are skipped, which fails where CI=true");
    }
    Ok(())
}

fn programs() -> Result<()> {
    runtime()?;
    packages::install(&[
        Package::new("iputils-ping", "is the prober that the tests compare with"),
        Package::new("fping", "is a third one"),
        Package::new("iproute2", "looks at devices independently in the tests"),
        Package::new("tcpdump", "is the tests' witness of what is on the wire"),
        Package::new("bpftool", "shows the tests how the kernel has translated a program"),
        Package::new("xz-utils", "unpacks the modules of the kernels that the tests boot"),
        Package::new("podman", "runs the tests' containers"),
        Package::new("runc", "is what it starts them with"),
        Package::new("netavark", "makes their networks, as podman does by default"),
        Package::new("containernetworking-plugins", "makes them where the tests are about CNI"),
        Package::new("iptables", "is what both translate addresses with"),
        Package::new(
            "busybox-static",
            "is what the tests' containers do nothing with, and has another ping that they watch",
        ),
        Package::new("binutils", "makes the command that is copied into them smaller, and lists what libraries hold"),
        Package::new("g++", "compiles the header for C as that of C++"),
        Package::new("valgrind", "watches the memory of programs in C"),
        Package::new("mandoc", "reads the manual as strictly as it can"),
    ])
}

fn building_python() -> Result<()> {
    packages::install(&[Package::new("python3-venv", "holds the Python package, and what it is built and tested with")])
}

/// All that any task needs.
pub(crate) fn everything() -> Result<()> {
    testing()?;
    bpf_toolchain().map(|_| ())
}
