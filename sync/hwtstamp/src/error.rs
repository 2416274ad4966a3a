//! What can go wrong: the operation, the device, the cause, and the remedy.

use std::{fmt, io};

use nix::errno::Errno;

/// That an operation on a device failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {device}: {cause}{}", Remedy(self.remedy()))]
pub struct Error {
    operation: Operation,
    device: String,
    cause: Cause,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Looking for a network interface.
    Find,
    /// Opening a PHC.
    Open,
    /// Asking a PHC for its capabilities.
    Capabilities,
    /// Reading a clock.
    Read,
    /// Reading a PHC next to a clock of the system.
    CrossRead,
    /// Reading the frequency adjustment in force.
    GetFrequency,
    /// Changing it.
    SetFrequency,
    /// Stepping a clock by some time.
    Step,
    /// Setting a clock to some time.
    Set,
    /// Declaring that the system's clock is kept synchronized.
    DeclareSynchronized,
    /// Waiting for steps of a clock.
    Watch,
    /// Asking what a network interface can stamp.
    Discover,
    /// Asking which packets a network interface is set to stamp.
    GetSetting,
    /// Changing that.
    Configure,
    /// Putting back what was found.
    Restore,
    /// Switching on the timestamps of a socket.
    Enable,
    /// Receiving a packet or a transmit timestamp.
    Receive,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refused.
    #[error("{0}")]
    Os(io::Error),
    /// The device cannot do it, or this library cannot ask for it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// What the kernel answered makes no sense.
    #[error("the kernel's answer makes no sense: {0}")]
    Malformed(&'static str),
    /// Somebody else has set, or uses, what was to be changed.
    #[error("{0}")]
    Owned(String),
}

impl Error {
    pub(crate) fn new(operation: Operation, device: impl ToString, cause: impl Into<Cause>) -> Self {
        Self { operation, device: device.to_string(), cause: cause.into() }
    }

    /// What was tried.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// On what: the path of a PHC, the name of a network interface or of a clock.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Why it failed.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The kernel's error number.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.cause {
            Cause::Os(error) => error.raw_os_error(),
            Cause::Unsupported(_) | Cause::Malformed(_) | Cause::Owned(_) => None,
        }
    }

    /// Whether the kernel, the driver or the device lacks what was asked for, so that another way may do.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        match &self.cause {
            Cause::Unsupported(_) => true,
            Cause::Os(_) => matches!(self.errno(), Some(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::ENOSYS)),
            Cause::Malformed(_) | Cause::Owned(_) => false,
        }
    }

    /// Whether the caller lacks a privilege.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.errno(), Some(Errno::EPERM | Errno::EACCES))
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        self.operation.remedy(self.errno()?)
    }

    fn errno(&self) -> Option<Errno> {
        self.raw_os_error().map(Errno::from_raw)
    }
}

impl Operation {
    fn remedy(self, errno: Errno) -> Option<&'static str> {
        use Operation as O;
        Some(match (self, errno) {
            (O::Open, Errno::ENOENT) => {
                "there is no such clock: `ls /sys/class/ptp` lists those of this machine; inside a container, pass the device in"
            }
            (O::Open, Errno::EACCES | Errno::EPERM) => {
                "run as root, or give the user access to the device (reading needs read access, adjusting needs write access)"
            }
            (O::Open | O::Capabilities, Errno::ENOTTY) => "it is not a PTP hardware clock",
            (O::GetFrequency | O::SetFrequency | O::Step | O::Set, Errno::EACCES) => {
                "open it for writing (before Linux 6.15 even the frequency is read only so)"
            }
            (O::SetFrequency | O::Step | O::Set | O::DeclareSynchronized, Errno::EPERM) => "it needs CAP_SYS_TIME",
            (O::SetFrequency, Errno::ERANGE) => "the clock cannot be adjusted by that much",
            (O::SetFrequency | O::Step | O::Set, Errno::EBUSY) => {
                "the clock has virtual clocks, which follow it: steer one of those, or remove them (n_vclocks in sysfs)"
            }
            (O::CrossRead, Errno::EOPNOTSUPP | Errno::ENOTTY) => "use another method of reading",
            (O::CrossRead, Errno::EINVAL) => "a call takes 1 to 25 readings",
            (O::GetSetting, Errno::EINVAL) => "some drivers tell only while it is up: `ip link set dev NAME up`",
            (O::Configure, Errno::ERANGE) => {
                "the card cannot stamp these packets: choose a filter that it lists; most cards for PTP alone refuse `all`"
            }
            (O::Configure | O::GetSetting, Errno::EOPNOTSUPP) => {
                "the driver has no hardware timestamps, or does not tell how they are set"
            }
            (O::Configure | O::Restore, Errno::EPERM) => {
                "it needs CAP_NET_ADMIN in the user namespace that owns the network namespace"
            }
            (O::Configure | O::Restore, Errno::EBUSY) => "the card is in use: stop what else stamps with it",
            (O::Find, Errno::ENODEV) => "this network namespace has none of this name or number",
            (O::Discover | O::GetSetting | O::Configure | O::Restore, Errno::ENODEV) => {
                "it is gone, or its card sleeps while it is down: `ip link set dev NAME up` wakes it"
            }
            (O::Enable, Errno::EINVAL) => "the kernel does not know one of the flags, or not for this kind of socket",
            (O::Capabilities | O::Read | O::CrossRead | O::SetFrequency | O::Step | O::Set, Errno::ENODEV) => {
                "the device is gone: open it anew"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Find => "find the network interface",
            Self::Open => "open",
            Self::Capabilities => "ask for the capabilities of",
            Self::Read => "read",
            Self::CrossRead => "read the system's clock next to",
            Self::GetFrequency => "ask for the frequency of",
            Self::SetFrequency => "set the frequency of",
            Self::DeclareSynchronized => "declare as synchronized",
            Self::Step => "step",
            Self::Set => "set",
            Self::Watch => "watch for steps of",
            Self::Discover => "ask for the timestamping of",
            Self::GetSetting => "ask for the timestamp setting of",
            Self::Configure => "configure the timestamps of",
            Self::Restore => "restore the timestamp setting of",
            Self::Enable => "enable timestamps on",
            Self::Receive => "receive on",
        })
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.into())
    }
}
impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// The end of the message.
struct Remedy(Option<&'static str>);

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |remedy| write!(formatter, ": {remedy}"))
    }
}

/// Says what failed, and on what.
pub(crate) trait Context<T> {
    fn context(self, operation: Operation, device: impl ToString) -> Result<T, Error>;
}

impl<T, E: Into<Cause>> Context<T> for Result<T, E> {
    fn context(self, operation: Operation, device: impl ToString) -> Result<T, Error> {
        self.map_err(|cause| Error::new(operation, device, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_operation_the_device_and_the_remedy() {
        let error = Error::new(Operation::Configure, "eth9", Errno::ERANGE);
        let message = error.to_string();
        assert!(message.starts_with("configure the timestamps of eth9: "), "{message}");
        assert!(message.ends_with("most cards for PTP alone refuse `all`"), "{message}");
        assert_eq!(error.raw_os_error(), Some(Errno::ERANGE as i32));

        let error = Error::new(Operation::Read, "/dev/ptp9", Cause::Malformed("more than a second of nanoseconds"));
        assert_eq!(
            error.to_string(),
            "read /dev/ptp9: the kernel's answer makes no sense: more than a second of nanoseconds"
        );
        assert!(!error.is_unsupported());
    }

    #[test]
    fn what_is_unsupported_is_told_from_what_is_not_permitted() {
        let unsupported = Error::new(Operation::CrossRead, "/dev/ptp0", Errno::EOPNOTSUPP);
        assert!(unsupported.is_unsupported() && !unsupported.is_not_permitted());
        let refused = Error::new(Operation::Open, "/dev/ptp0", Errno::EACCES);
        assert!(refused.is_not_permitted() && !refused.is_unsupported());
    }
}
