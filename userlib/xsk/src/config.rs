//! How a channel is opened.

use crate::Error;

/// How a channel is opened: [`Config::default()`] suits most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frames for each direction, and entries of each ring: a power of two from 64 to 2^20.
    pub frames: u32,
    /// Memory for each frame.
    pub frame_size: FrameSize,
    /// Whether frames are copied.
    pub mode: Mode,
    /// Has the driver polled from the caller's own system calls. It needs `CAP_NET_ADMIN`, and a driver with NAPI.
    pub busy_poll: Option<BusyPoll>,
    /// Asks for the card's transmit time of each frame: [`Channel::has_tx_timestamps`](crate::Channel::has_tx_timestamps) says whether that was possible.
    pub tx_timestamps: bool,
}

impl Default for Config {
    /// 4096 frames of 2048 bytes for each direction, and zero copy where there is.
    fn default() -> Self {
        Self { frames: 4096, frame_size: FrameSize::Bytes2048, mode: Mode::Auto, busy_poll: None, tx_timestamps: false }
    }
}

/// The memory for each frame. Of a received frame the kernel keeps the first 256 bytes for itself and for XDP metadata; of one to
/// be sent, 64 bytes are kept where transmit times were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// 2048 bytes, enough for an MTU of 1500.
    Bytes2048 = 2048,
    /// 4096 bytes: a page, the most that the kernel takes.
    Bytes4096 = 4096,
}

impl FrameSize {
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Self::Bytes2048 => 2048,
            Self::Bytes4096 => 4096,
        }
    }
}

/// Whether frames are copied between the socket's memory and the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Not where the driver can do without.
    Auto,
    /// Always.
    Copy,
    /// Never: [`Error::ZeroCopy`] where the driver cannot do without.
    ZeroCopy,
}

/// Busy polling, as `SO_PREFER_BUSY_POLL`, `SO_BUSY_POLL` and `SO_BUSY_POLL_BUDGET` set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long a call may poll, in microseconds, at most [`i32::MAX`].
    pub microseconds: u32,
    /// How many frames one poll of the driver may take.
    pub budget: u16,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.frames.is_power_of_two() || !(64..=1 << 20).contains(&self.frames) {
            return Err(Error::Config("frames must be a power of two from 64 to 1048576"));
        }
        if self.busy_poll.is_some_and(|poll| poll.microseconds > i32::MAX.unsigned_abs()) {
            return Err(Error::Config("a call polls for at most 2147483647 microseconds"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_have_a_power_of_two_entries() {
        for (frames, good) in
            [(0, false), (32, false), (63, false), (64, true), (4096, true), (5000, false), (1 << 21, false)]
        {
            assert_eq!(Config { frames, ..Config::default() }.check().is_ok(), good, "{frames}");
        }
        let busy_poll = Some(BusyPoll { microseconds: u32::MAX, budget: 64 });
        assert!(Config { busy_poll, ..Config::default() }.check().is_err());
    }
}
