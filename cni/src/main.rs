//! `instamp-cni`: attaches to both devices of each container that a network gets, as `instamp attach --netns` does.
//!
//! A chained plugin after the [CNI specification] 1.1.0: it follows the plugin that makes a container's veth, changes nothing of what that
//! has done, and passes on its result.
//!
//! | module | subject |
//! |---|---|
//! | `call` | what the runtime asks: environment and configuration |
//! | `error` | what went wrong, as runtimes read it |
//! | `operations` | what is done for each command |
//!
//! [CNI specification]: https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md

mod call;
mod error;
mod operations;

use std::{
    env,
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use call::{Call, VERSIONS};
use error::Error;

/// The version of the specification in which errors are told before the configuration has told one.
const LATEST: &str = VERSIONS[VERSIONS.len() - 1];

fn main() -> ExitCode {
    if env::var_os("CNI_COMMAND").is_none() {
        eprintln!(
            "instamp-cni {}: a CNI plugin, which container runtimes run; versions {}",
            env!("CARGO_PKG_VERSION"),
            VERSIONS.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let mut version = LATEST.to_owned();
    let answer = run(&mut version);
    let (text, code) = match answer {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(result)) => (result, ExitCode::SUCCESS),
        Err(error) => (error.to_json(&version), ExitCode::FAILURE),
    };
    // Where nobody reads the answer, its reader knows why.
    let _ = writeln!(io::stdout(), "{text}");
    code
}

/// The result, which most commands have none of. Notes the version that the runtime speaks.
fn run(version: &mut String) -> Result<Option<serde_json::Value>, Error> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input).map_err(|error| Error::io("cannot read the configuration", &error))?;
    let call = Call::read(&input, |name| env::var(name).ok(), version)?;
    operations::run(&call)
}
