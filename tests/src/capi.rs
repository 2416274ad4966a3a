//! The library for programs in C, as it is installed, and programs that are linked with it.

use std::{
    env, iter,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::privilege::{skip, tool};

/// What a program has of the library inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linkage {
    /// Nothing: it finds the shared one where that is installed.
    Shared,
    /// All that it needs, the C library too: it runs anywhere.
    Static,
}

/// The installed library, and a folder for programs.
#[derive(Debug)]
pub struct Library {
    prefix: PathBuf,
    programs: TempDir,
}

impl Library {
    /// The one that `cargo xtask test` has installed, where programs can be compiled.
    ///
    /// # Panics
    ///
    /// There is no folder for programs.
    pub fn find() -> Option<Self> {
        const VARIABLE: &str = "INSTAMP_CAPI";
        let Some(prefix) = env::var_os(VARIABLE).map(PathBuf::from) else {
            skip(&format!("needs {VARIABLE}, which `cargo xtask test` installs and sets"));
            return None;
        };
        tool("cc")?;
        tool("pkg-config")?;
        Some(Self { prefix, programs: tempfile::tempdir().expect("a folder") })
    }

    /// Where it is installed: `include`, `lib` and `share` are in there.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// A file of its sources.
    pub fn source(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("userlib/capi").join(path)
    }

    /// A compiler for the strictest of C99, told by pkg-config where the library is.
    pub fn compiler(&self, linkage: Linkage) -> Command {
        let mut command = Command::new("cc");
        command.args(["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]);
        match linkage {
            Linkage::Shared => command.arg(format!("-Wl,-rpath,{}", self.prefix.join("lib").display())),
            Linkage::Static => command.arg("-static"),
        };
        command
    }

    /// What the compiler needs of the library, behind the sources.
    ///
    /// # Panics
    ///
    /// Pkg-config does not find it.
    pub fn flags(&self, linkage: Linkage) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(["--cflags", "--libs", "instamp"]).env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"));
        command.args(iter::repeat_n("--static", usize::from(linkage == Linkage::Static)));
        let output = command.output().expect("pkg-config");
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles one of its sources, and returns the program.
    ///
    /// # Panics
    ///
    /// The compiler has something to say against it.
    pub fn compile(&self, source: &str, linkage: Linkage) -> PathBuf {
        let program = self.programs.path().join(format!("{linkage:?}-{}", source.replace('/', "-")));
        let mut compiler = self.compiler(linkage);
        compiler.arg(Self::source(source)).arg("-o").arg(&program).args(self.flags(linkage));
        let output = compiler.output().expect("cc");
        assert!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
        program
    }
}
