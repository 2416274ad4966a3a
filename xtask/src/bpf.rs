//! `cargo xtask bpf`: the built programs in the tree, so that building the host side needs no BPF toolchain.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use similar::TextDiff;

use crate::{
    bpf_toolchain::{BpfToolchain, bpf_toolchain},
    process::{output, root, run, target},
};

/// The built programs: the name of the binary, which is also that of the object, and the folder of the object in the tree.
const RUST: [(&str, &str); 3] = [("xdp", HOOKS), ("tc", HOOKS), ("clock", TESTS)];
/// Likewise, of programs in C: their sources, `<name>.bpf.c`, lie in the folder that comes first.
const C: [(&str, &str, &str); 7] = [
    ("trace-prog", "driver_tx", HOOKS),
    ("trace-prog", "nic_tx", HOOKS),
    ("trace-prog", "watch", HOOKS),
    ("xdp-prog/hw", "nic_rx", HOOKS),
    ("tests/bpf", "metadata", TESTS),
    ("tests/bpf", "redirect", TESTS),
    ("tests/bpf", "witness", TESTS),
];
/// The objects that the library brings with it. The file that says what built all of them is here.
const HOOKS: &str = "hooks/bpf";
/// Those that only tests run.
const TESTS: &str = "tests/bpf";
/// The programs may use the third version of the instruction set (Linux 5.1), and bring their BTF.
const RUST_FLAGS: [&str; 4] = ["-Dwarnings", "-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];

/// Likewise. `ctx`, which libbpf's macros unpack, is a parameter that some programs do not use.
const C_FLAGS: [&str; 8] = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter"];

/// All objects, and their folders in the tree.
fn objects() -> impl Iterator<Item = (&'static str, &'static str)> {
    RUST.into_iter().chain(C.map(|(_, name, folder)| (name, folder)))
}

/// What `cargo xtask bpf` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the tree alone: build, and fail where the disassembly differs from that of the objects in the tree. Other
    /// versions of the tools make other code; then nothing is compared, and this says so.
    #[arg(long)]
    check: bool,
}

/// Builds the objects, and puts them into the tree or compares them with those there.
pub(crate) fn run_task(options: &Options) -> Result<()> {
    let toolchain = bpf_toolchain()?;
    let built = build(&toolchain)?;
    let versions = versions(&toolchain);
    if options.check { compare(&toolchain, &built, &versions) } else { keep(&built, &versions) }
}

/// Does what `cargo xtask bpf --check` does.
pub(crate) fn check() -> Result<()> {
    run_task(&Options { check: true })
}

/// Where the objects lie that were built last, for the tests that run on them as well.
pub(crate) fn fresh() -> PathBuf {
    target().join("bpf/objects")
}

fn object(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("o")
}

/// Builds the objects, and returns their folder.
fn build(toolchain: &BpfToolchain) -> Result<PathBuf> {
    let target = target().join("bpf");
    let sources = root().join("xdp-prog");
    run(toolchain.cargo_command().current_dir(&sources).args(["fetch", "--locked"]))?;
    run(toolchain
        .cargo_command()
        .current_dir(&sources)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?.join("\x1f"))
        .args(["build", "--locked", "--release", "--workspace", "--target", "bpfel-unknown-none", "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(&target))?;
    let folder = fresh();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, _) in RUST {
        strip(toolchain, &target.join("bpfel-unknown-none/release").join(name), &object(&folder, name))?;
    }
    for (sources, name, _) in C {
        let whole = target.join(name).with_extension("o");
        run(toolchain
            .llvm_tool("clang")
            .current_dir(root())
            .args(C_FLAGS)
            .arg("-Werror")
            // The kernel's headers for programs of this machine, which those for BPF include.
            .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
            // The same line records on every machine.
            .arg(format!("-ffile-prefix-map={}=instamp", root().display()))
            .arg("-c")
            .arg(Path::new(sources).join(name).with_extension("bpf.c"))
            .arg("-o")
            .arg(&whole))?;
        strip(toolchain, &whole, &object(&folder, name))?;
    }
    Ok(folder)
}

/// DWARF goes, BTF stays.
fn strip(toolchain: &BpfToolchain, from: &Path, to: &Path) -> Result<()> {
    run(toolchain.llvm_tool("llvm-objcopy").arg("--strip-debug").arg(from).arg(to))
}

/// [`RUST_FLAGS`], and those that make the files in BTF's line records the same on every machine.
fn flags(toolchain: &BpfToolchain) -> Result<Vec<String>> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let sysroot = output(Command::new(&toolchain.rustc).args(["--print", "sysroot"]).env_remove("LD_LIBRARY_PATH"))?;
    let mut flags = RUST_FLAGS.map(String::from).to_vec();
    flags.push(remap(root(), "instamp"));
    flags.push(remap(&Path::new(&sysroot).join("lib/rustlib/src/rust"), "rust"));
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => home.into(),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    // One folder for each registry that packages came from.
    for registry in fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten() {
        flags.push(remap(&registry.context("list cargo's registries")?.path(), "registry"));
    }
    Ok(flags)
}

/// The file beside the objects that says what made them.
fn versions(toolchain: &BpfToolchain) -> String {
    let versions = &toolchain.versions;
    format!(
        "# What built the objects in the tree, by `cargo xtask bpf`.\nrustc = \"{}\"\nllvm = \"{}\"\nbpf-linker = \"{}\"\nclang = \"{}\"\nlibbpf = \"{}\"\n",
        versions.rustc, versions.llvm, versions.bpf_linker, versions.clang, versions.libbpf
    )
}

fn versions_file() -> PathBuf {
    root().join(HOOKS).join("tools.toml")
}

fn keep(built: &Path, versions: &str) -> Result<()> {
    for (name, folder) in objects() {
        let (from, to) = (object(built, name), object(&root().join(folder), name));
        fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    let file = versions_file();
    fs::write(&file, versions).with_context(|| format!("write {}", file.display()))
}

fn compare(toolchain: &BpfToolchain, built: &Path, versions: &str) -> Result<()> {
    let file = versions_file();
    let recorded = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    if recorded != versions {
        eprintln!(
            "bpf: NOT COMPARED: the objects in the tree were built by other tools than those here.\n\
             --- {}\n{recorded}--- here\n{versions}",
            file.display()
        );
        return Ok(());
    }
    for (name, folder) in objects() {
        let kept = object(&root().join(folder), name);
        let old = disassembly(toolchain, &kept)?;
        let new = disassembly(toolchain, &object(built, name))?;
        if old != new {
            let diff = TextDiff::from_lines(&old, &new);
            eprintln!("{}", diff.unified_diff().context_radius(2).header("in the tree", "built from the sources"));
            bail!("{} is not what its sources build: run `cargo xtask bpf` and commit the result", kept.display());
        }
    }
    eprintln!("bpf: the objects in the tree are what their sources build");
    Ok(())
}

/// The instructions, relocations and data of an object, without the line that names its file.
fn disassembly(toolchain: &BpfToolchain, object: &Path) -> Result<String> {
    let mut text = String::new();
    // Demangled, as the hash in a mangled name depends on the folder that the tree lies in.
    for arguments in [&["-d", "-r", "--demangle"][..], &["-s", "-j", ".maps", "-j", "license"][..]] {
        let part = output(toolchain.llvm_tool("llvm-objdump").args(arguments).arg(object))?;
        text.extend(part.lines().filter(|line| !line.contains("file format")).flat_map(|line| [line, "\n"]));
    }
    Ok(text)
}
