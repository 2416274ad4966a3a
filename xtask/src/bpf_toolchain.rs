//! The tools that build the BPF programs: a Rust compiler with the sources of `core`, and bpf-linker on the same LLVM.
//!
//! | | compiler | sources of `core` |
//! |---|---|---|
//! | Debian | package rustc-web | package rust-web-src |
//! | rustup | toolchain nightly | its component rust-src |
//!
//! Debian's is taken where it is installed: the objects in the tree were built with it, and only builds with the same
//! versions can be compared with them. Else rustup's, where it is there; else Debian's is installed. The LLVM that
//! bpf-linker is built on, and the disassembler, are Debian's in both cases.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    packages::{self, Package},
    process::{cargo, output, run, succeeds, target},
};

const BPF_LINKER_VERSION: &str = "0.13.0";
/// The versions of LLVM that this bpf-linker can be built on.
const BPF_LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// What `cargo xtask bpf` builds with.
#[derive(Debug)]
pub(crate) struct BpfToolchain {
    /// Where the compiler comes from, for people.
    pub(crate) origin: &'static str,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The cargo that drives it.
    pub(crate) cargo: PathBuf,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// Where the tools of the same LLVM are.
    llvm_bin: PathBuf,
    /// The versions that decide what the built objects look like.
    pub(crate) versions: Versions,
}

/// Versions of tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Of the compiler, as it calls itself: `rustc 1.96.0 (…)`.
    pub(crate) rustc: String,
    /// Of the LLVM inside the compiler.
    pub(crate) llvm: String,
    /// Of bpf-linker, with the LLVM that it was built on.
    pub(crate) bpf_linker: String,
    /// Of the compiler of C, as it calls itself.
    pub(crate) clang: String,
    /// Of the headers with which programs in C are written.
    pub(crate) libbpf: String,
}

impl BpfToolchain {
    /// `cargo`, set up so that it compiles for `bpfel-unknown-none` with this toolchain: what is missing are the
    /// subcommand, its arguments and the folder.
    pub(crate) fn cargo_command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .env("RUSTC", &self.rustc)
            // `-Z build-std` on a compiler that is not a nightly.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            // The cargo that runs this task points these to its own toolchain.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("RUSTC_WRAPPER");
        command
    }

    /// A tool of the same LLVM.
    pub(crate) fn llvm_tool(&self, name: &str) -> Command {
        Command::new(self.llvm_bin.join(name))
    }
}

/// Finds the toolchain, installs what is missing of it, and says what it took.
///
/// # Errors
///
/// It cannot be completed.
pub(crate) fn bpf_toolchain() -> Result<BpfToolchain> {
    let compiler = match Compiler::debian().or_else(Compiler::rustup) {
        Some(compiler) => compiler,
        None => Compiler::install()?,
    };
    let description = output(compiler.command().arg("-vV"))?;
    let field = |name: &str| description.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm = field("LLVM version:").context("rustc names no LLVM version")?;
    let major = llvm.split('.').next().and_then(|major| major.parse().ok()).context("version of LLVM")?;
    if !BPF_LINKER_LLVMS.contains(&major) {
        bail!(
            "{} of {} has LLVM {llvm}, and bpf-linker {BPF_LINKER_VERSION} works with {} to {}: install a compiler with one of these",
            compiler.rustc.display(),
            compiler.origin,
            BPF_LINKER_LLVMS.start(),
            BPF_LINKER_LLVMS.end(),
        );
    }
    packages::install(&[
        Package::new(format!("clang-{major}"), "a compiler for the BPF programs in C"),
        Package::new("libbpf-dev", "the headers of the BPF programs in C"),
    ])?;
    let clang = output(Command::new(llvm_folder(major).join("bin/clang")).arg("--version"))?;
    let toolchain = BpfToolchain {
        origin: compiler.origin,
        linker: bpf_linker(major)?,
        llvm_bin: llvm_folder(major).join("bin"),
        versions: Versions {
            rustc: description.lines().next().unwrap_or_default().to_owned(),
            llvm: llvm.to_owned(),
            bpf_linker: format!("{BPF_LINKER_VERSION} on LLVM {}", llvm_version(major)?),
            clang: clang.lines().next().unwrap_or_default().to_owned(),
            libbpf: output(Command::new("pkg-config").args(["--modversion", "libbpf"]))?,
        },
        rustc: compiler.rustc,
        cargo: compiler.cargo,
    };
    let Versions { rustc, llvm, bpf_linker, clang, libbpf } = &toolchain.versions;
    eprintln!(
        "setup: BPF toolchain from {}: {rustc} with LLVM {llvm}, bpf-linker {bpf_linker}, {clang}, headers of libbpf {libbpf}",
        toolchain.origin
    );
    Ok(toolchain)
}

/// A Rust compiler that has the sources of `core`, and a cargo for it.
struct Compiler {
    origin: &'static str,
    rustc: PathBuf,
    cargo: PathBuf,
}

impl Compiler {
    /// Debian's, where it is installed.
    fn debian() -> Option<Self> {
        let compiler = Self { origin: "Debian", rustc: "/usr/bin/rustc".into(), cargo: cargo().get_program().into() };
        (Package::new("rustc-web", "").is_installed() && compiler.has_core()).then_some(compiler)
    }

    /// Of rustup's nightly, where it is installed.
    fn rustup() -> Option<Self> {
        let nightly = |tool| {
            let mut which = Command::new("rustup");
            which.args(["which", "--toolchain", "nightly", tool]);
            succeeds(&mut which).then(|| output(&mut which).ok().map(PathBuf::from)).flatten()
        };
        let compiler = Self { origin: "rustup", rustc: nightly("rustc")?, cargo: nightly("cargo")? };
        compiler.has_core().then_some(compiler)
    }

    fn install() -> Result<Self> {
        packages::install(&[
            Package::new("rustc-web", "a compiler for the BPF programs"),
            Package::new("rust-web-src", "the sources of core, which is built for BPF with them"),
        ])
        .context("or give rustup's nightly toolchain the component rust-src")?;
        Self::debian().context("Debian's rustc-web is installed, but without the sources of core")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.rustc);
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    fn has_core(&self) -> bool {
        output(self.command().args(["--print", "sysroot"]))
            .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
    }
}

/// Where Debian puts LLVM of this major version.
fn llvm_folder(major: u32) -> PathBuf {
    format!("/usr/lib/llvm-{major}").into()
}

fn llvm_version(major: u32) -> Result<String> {
    output(Command::new(llvm_folder(major).join("bin/llvm-config")).arg("--version"))
}

/// bpf-linker on LLVM of this major version, built in the target folder where it is not there yet.
fn bpf_linker(llvm: u32) -> Result<PathBuf> {
    packages::install(&[Package::new(
        format!("llvm-{llvm}-dev"),
        "the LLVM that bpf-linker is built on, of the same version as the compiler's, and its disassembler",
    )])?;
    let folder = target().join(format!("tools/bpf-linker-{BPF_LINKER_VERSION}-llvm-{llvm}"));
    let linker = folder.join("bin/bpf-linker");
    if !succeeds(Command::new(&linker).arg("--version")) {
        eprintln!("setup: building bpf-linker {BPF_LINKER_VERSION} on LLVM {llvm} in {}: a minute", folder.display());
        run(cargo()
            .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--quiet"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
            .arg(&folder)
            .env("LLVM_PREFIX", llvm_folder(llvm)))?;
    }
    Ok(linker)
}
