//! Why a capture cannot be read, or not to its end.

use std::io;

use thiserror::Error;

use crate::read::{LARGEST_BLOCK, MOST_INTERFACES};

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is in it.
    #[error("empty: not a capture file")]
    Empty,
    /// It begins with something else.
    #[error("not a capture file: neither pcap nor pcapng")]
    NotACapture,
    /// It is shorter than the header of a capture.
    #[error("ends within its header: not a capture file")]
    NoHeader,
    /// Its header claims to be longer than any is.
    #[error("damaged: a header of {0} bytes")]
    LongHeader(u32),
    /// The capture was cut off.
    #[error("ends within the packet at byte {0}: was the capture cut off?")]
    CutOff(usize),
    /// It contradicts itself, or its format.
    #[error("at byte {position}: {damage}")]
    Damaged {
        /// Of the packet or block, from the start of the file.
        position: usize,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The file cannot be read, or no further.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// What is wrong with a packet or a block of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The format does not allow it.
    #[error("damaged: not what pcap or pcapng allow")]
    Format,
    /// It claims to be longer than packets are.
    #[error("damaged: a packet longer than {LARGEST_BLOCK}")]
    TooLong,
    /// Its interface was not described before it.
    #[error("damaged: interface {0} is not described")]
    Interface(u32),
    /// A section describes more interfaces than anybody has.
    #[error("damaged: more than {MOST_INTERFACES} interfaces")]
    Interfaces,
    /// The format has another version.
    #[error("pcap version {0}: only 2 is known")]
    Version(u16),
}
