//! The command where a user without any privilege can run it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use tempfile::TempDir;

use crate::{commands::instamp, lab::Lab};

/// A copy of the command that anybody may run.
#[derive(Debug)]
pub struct Unprivileged {
    folder: TempDir,
}

impl Unprivileged {
    /// Makes the copy.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its owner may");
        fs::copy(instamp().get_program(), folder.path().join("instamp")).expect("a copy");
        Self { folder }
    }

    /// The command, to be run in a namespace of the lab as a user without any privilege, by setpriv.
    pub fn command(&self, lab: &Lab, role: &str, arguments: &[&str]) -> Command {
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
        let mut command = lab.command(role, "setpriv");
        command.args(user).arg(self.folder.path().join("instamp")).args(arguments);
        command
    }
}
