//! Errors as the specification has them: a code for programs, a message and details for people.

use serde_json::{Value, json};

/// What is returned to the runtime.
#[derive(Debug)]
pub(crate) struct Error {
    code: u16,
    message: String,
    details: String,
}

/// Codes of the specification, and of this plugin's own from 100 on.
const INCOMPATIBLE_VERSION: u16 = 1;
const INVALID_ENVIRONMENT: u16 = 4;
const IO_FAILURE: u16 = 5;
const UNDECODABLE: u16 = 6;
const INVALID_CONFIGURATION: u16 = 7;
const UNAVAILABLE: u16 = 50;
const NOT_ATTACHED: u16 = 100;

impl Error {
    fn new(code: u16, message: &str, details: impl Into<String>) -> Self {
        Self { code, message: message.to_owned(), details: details.into() }
    }

    pub(crate) fn version(version: &str) -> Self {
        Self::new(
            INCOMPATIBLE_VERSION,
            "incompatible CNI version",
            format!("{version:?} is not one of those that VERSION tells"),
        )
    }

    pub(crate) fn environment(details: impl Into<String>) -> Self {
        Self::new(INVALID_ENVIRONMENT, "invalid environment variable", details)
    }

    pub(crate) fn io(message: &str, error: &std::io::Error) -> Self {
        Self::new(IO_FAILURE, message, error.to_string())
    }

    pub(crate) fn undecodable(error: &serde_json::Error) -> Self {
        Self::new(UNDECODABLE, "cannot decode the configuration", error.to_string())
    }

    pub(crate) fn configuration(details: impl Into<String>) -> Self {
        Self::new(INVALID_CONFIGURATION, "invalid network configuration", details)
    }

    pub(crate) fn unavailable(error: &instamp_hooks::Error) -> Self {
        Self::new(UNAVAILABLE, "cannot attach anything here", chain(error))
    }

    pub(crate) fn not_attached(details: impl Into<String>) -> Self {
        Self::new(NOT_ATTACHED, "the container's devices are not attached to", details)
    }

    pub(crate) fn hooks(error: &instamp_hooks::Error) -> Self {
        Self::not_attached(chain(error))
    }

    pub(crate) fn details(&self) -> &str {
        &self.details
    }

    /// In a version of the specification.
    pub(crate) fn to_json(&self, version: &str) -> Value {
        let Self { code, message, details } = self;
        json!({ "cniVersion": version, "code": code, "msg": message, "details": details })
    }
}

/// An error and its causes.
fn chain(error: &instamp_hooks::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
