//! Why a probe failed.

use std::{fmt, io};

use nix::errno::Errno;

use super::message::Version;

/// Why a probe failed: an ICMP error, or an error of the send call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No route to the network.
    NetUnreachable,
    /// The host does not answer its neighbours.
    HostUnreachable,
    /// The host does not speak the protocol.
    ProtocolUnreachable,
    /// Nobody listens.
    PortUnreachable,
    /// The packet is larger than a link on the way carries.
    PacketTooBig,
    /// The way is longer than the time to live or hop limit.
    TtlExceeded,
    /// A fragment of the packet was lost.
    ReassemblyTimeout,
    /// A header was not understood.
    ParameterProblem,
    /// A firewall or policy forbids it, here or on the way.
    Prohibited,
    /// The interface is down.
    InterfaceDown,
    /// Any other ICMP error, by its type and code.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// Any other error of the send call, by its number.
    System {
        /// See `errno(3)`.
        errno: i32,
    },
}

impl ErrorKind {
    /// By type and code of an ICMP error ([RFC 792](https://www.rfc-editor.org/rfc/rfc792), [RFC 1812 section
    /// 5.2.7.1](https://www.rfc-editor.org/rfc/rfc1812#section-5.2.7.1)) or an ICMPv6 one ([RFC
    /// 4443](https://www.rfc-editor.org/rfc/rfc4443)).
    pub(crate) const fn from_icmp(version: Version, kind: u8, code: u8) -> Self {
        match (version, kind, code) {
            (Version::V4, 3, 0 | 6 | 11) | (Version::V6, 1, 0) => Self::NetUnreachable,
            (Version::V4, 3, 1 | 7 | 8 | 12) | (Version::V6, 1, 3) => Self::HostUnreachable,
            (Version::V4, 3, 2) | (Version::V6, 4, 1) => Self::ProtocolUnreachable,
            (Version::V4, 3, 3) | (Version::V6, 1, 4) => Self::PortUnreachable,
            (Version::V4, 3, 4) | (Version::V6, 2, _) => Self::PacketTooBig,
            (Version::V4, 3, 9 | 10 | 13) | (Version::V6, 1, 1 | 5 | 6) => Self::Prohibited,
            (Version::V4, 11, 0) | (Version::V6, 3, 0) => Self::TtlExceeded,
            (Version::V4, 11, 1) | (Version::V6, 3, 1) => Self::ReassemblyTimeout,
            (Version::V4, 12, _) | (Version::V6, 4, _) => Self::ParameterProblem,
            _ => Self::Icmp { kind, code },
        }
    }

    /// By the error of a send call.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a system has more than a hundred errors")]
    pub(crate) fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::ENETUNREACH => Self::NetUnreachable,
            Errno::EHOSTUNREACH => Self::HostUnreachable,
            Errno::EMSGSIZE => Self::PacketTooBig,
            Errno::EPERM | Errno::EACCES => Self::Prohibited,
            Errno::ENETDOWN => Self::InterfaceDown,
            other => Self::System { errno: other as i32 },
        }
    }

    /// The name for machines: lower case, words joined by hyphens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetUnreachable => "net-unreachable",
            Self::HostUnreachable => "host-unreachable",
            Self::ProtocolUnreachable => "protocol-unreachable",
            Self::PortUnreachable => "port-unreachable",
            Self::PacketTooBig => "packet-too-big",
            Self::TtlExceeded => "ttl-exceeded",
            Self::ReassemblyTimeout => "reassembly-timeout",
            Self::ParameterProblem => "parameter-problem",
            Self::Prohibited => "prohibited",
            Self::InterfaceDown => "interface-down",
            Self::Icmp { .. } => "icmp-error",
            Self::System { .. } => "send-error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Icmp { kind, code } => write!(f, "icmp-error (type {kind}, code {code})"),
            Self::System { errno } => write!(f, "send-error ({})", io::Error::from_raw_os_error(errno)),
            Self::NetUnreachable
            | Self::HostUnreachable
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::PacketTooBig
            | Self::TtlExceeded
            | Self::ReassemblyTimeout
            | Self::ParameterProblem
            | Self::Prohibited
            | Self::InterfaceDown => f.pad(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_the_same_names() {
        let named = |version, kind, code| ErrorKind::from_icmp(version, kind, code).name();
        let pairs = [
            ((3, 0), (1, 0), "net-unreachable"),
            ((3, 1), (1, 3), "host-unreachable"),
            ((3, 2), (4, 1), "protocol-unreachable"),
            ((3, 3), (1, 4), "port-unreachable"),
            ((3, 4), (2, 0), "packet-too-big"),
            ((3, 13), (1, 1), "prohibited"),
            ((11, 0), (3, 0), "ttl-exceeded"),
            ((11, 1), (3, 1), "reassembly-timeout"),
            ((12, 0), (4, 0), "parameter-problem"),
            ((3, 5), (1, 2), "icmp-error"),
        ];
        for ((kind4, code4), (kind6, code6), name) in pairs {
            assert_eq!(named(Version::V4, kind4, code4), name);
            assert_eq!(named(Version::V6, kind6, code6), name);
        }
    }

    #[test]
    fn send_errors_say_what_the_network_would() {
        assert_eq!(ErrorKind::from_errno(Errno::EHOSTUNREACH), ErrorKind::HostUnreachable);
        assert_eq!(ErrorKind::from_errno(Errno::EMSGSIZE), ErrorKind::PacketTooBig);
        let other = ErrorKind::from_errno(Errno::EINVAL);
        assert_eq!((other.name(), other), ("send-error", ErrorKind::System { errno: 22 }));
        assert_eq!(ErrorKind::Icmp { kind: 3, code: 5 }.to_string(), "icmp-error (type 3, code 5)");
    }
}
