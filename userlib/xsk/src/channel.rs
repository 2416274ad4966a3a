//! One socket on one queue: sending and receiving.

use std::{
    cell::Cell,
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use libc::xdp_desc;
use nix::errno::Errno;

use crate::{
    Config, Error, Statistics, layout,
    layout::{Chunk, Layout},
    open,
    ring::{Consumer, Producer},
    sys::{self, memory::Memory, ring::Mapped},
    wait_any,
};

/// How many bytes in front of a received frame are shown: what XDP programs can put there fits.
const BEFORE: usize = 64;

/// An `AF_XDP` socket with its memory, on one queue of one device. Dropping it closes it; frames that the kernel has not sent yet may
/// be lost then.
pub struct Channel {
    // In the order in which they are to go.
    pub(crate) rx: Consumer<Mapped<xdp_desc>>,
    pub(crate) tx: Producer<Mapped<xdp_desc>>,
    pub(crate) fill: Producer<Mapped<u64>>,
    pub(crate) completion: Consumer<Mapped<u64>>,
    pub(crate) socket: OwnedFd,
    pub(crate) memory: Memory,
    pub(crate) layout: Layout,
    /// Frames for receiving that found no room in the fill ring.
    pub(crate) idle: Vec<u32>,
    /// Frames for sending that are free: the last to come back is the first to be used, since the caches still have it.
    pub(crate) free: Vec<u32>,
    /// How long each frame is that was written.
    pub(crate) lengths: Box<[u32]>,
    pub(crate) queue: u32,
    pub(crate) zero_copy: bool,
    pub(crate) busy_poll: bool,
    /// Whether frames are sent with a request for a timestamp.
    pub(crate) requests_timestamps: bool,
    pub(crate) not_sync: PhantomData<Cell<()>>,
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received<'a> {
    /// The frame, from its Ethernet header on.
    pub frame: &'a mut [u8],
    /// What lies in front of it: up to 64 bytes, of which the last are the metadata that an XDP program put there, if one did; the
    /// others are of no meaning.
    pub before: &'a [u8],
}

impl Channel {
    /// Opens a channel on a queue of an interface of this network namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where another socket has the queue, [`Error::NoQueue`] and [`Error::NoDevice`] where there is none,
    /// [`Error::ZeroCopy`] where it is demanded and the driver has it not, [`Error::Permission`] without `CAP_NET_RAW`.
    pub fn open(ifindex: u32, queue: u32, config: &Config) -> Result<Self, Error> {
        open::open(ifindex, queue, config)
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Whether the card reads and writes the memory of this channel itself, without copying.
    #[must_use]
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Whether the card is asked for the time at which it sends each frame. It is where the configuration wants it, in zero-copy mode, on
    /// kernels since 6.8. Not every driver answers.
    #[must_use]
    pub fn has_tx_timestamps(&self) -> bool {
        self.requests_timestamps
    }

    /// The longest frame that can be sent, in bytes, as far as this memory goes: the device's MTU may be less.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.layout.tx_capacity() as usize
    }

    /// How many frames can be written now. Where the card [is asked](Self::has_tx_timestamps) for transmit times, frames that were sent are
    /// free only when [`completed`](Self::completed) has shown them.
    #[must_use]
    pub fn free(&mut self) -> usize {
        self.collect();
        self.free.len().min(self.tx.room(self.layout.frames()) as usize)
    }

    /// Writes a frame of `length` bytes, to be sent by the next [`submit`](Self::submit): `false` where none is free. What `fill` gets
    /// is what an earlier frame left there, or zeros.
    ///
    /// # Panics
    ///
    /// Where `length` is 0 or more than the [`capacity`](Self::capacity).
    #[inline]
    pub fn write(&mut self, length: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        let capacity = self.layout.tx_capacity();
        let length = u32::try_from(length).ok().filter(|length| (1..=capacity).contains(length));
        let length = length.expect("a frame has at least one byte, and no more than the channel's capacity");
        if self.free.is_empty() {
            self.collect();
        }
        // The kernel may be behind in saying which places of its ring are free.
        if self.tx.room(1) == 0 {
            return false;
        }
        let Some(&index) = self.free.last() else { return false };
        let chunk = Chunk::Send(index);
        let (number, address) = (self.layout.number(chunk), self.layout.address(chunk));
        let headroom = self.layout.tx_headroom();
        let bytes = self.memory.chunk_mut(number);
        fill(&mut bytes[headroom as usize..][..length as usize]);
        let mut options = 0;
        if self.requests_timestamps {
            layout::request_timestamp(bytes);
            options = libc::XDP_TX_METADATA;
        }
        self.free.pop();
        self.lengths[index as usize] = length;
        self.memory.give(number);
        self.tx.push(xdp_desc { addr: address + u64::from(headroom), len: length, options })
    }

    /// Hands the frames that were written to the kernel, and wakes it if it asks for that. Frames that it does not take at once are sent
    /// by the next call, or while [waiting](Self::wait).
    ///
    /// `false` where the device has dropped a frame, since its queue is full: those behind it are kept, and who waits a little before
    /// the next call loses fewer. In copy mode the kernel tells.
    ///
    /// # Errors
    ///
    /// Where the device is down or gone: the frames are kept.
    #[inline]
    pub fn submit(&mut self) -> io::Result<bool> {
        self.tx.publish();
        let most = self.tx.outstanding();
        let mut left = most;
        // In copy mode each call sends at least one frame, or there is no use in another; with zero copy the card sends.
        for _ in 0..most {
            if left == 0 || !(self.busy_poll || self.tx.needs_wakeup()) {
                break;
            }
            match sys::socket::wake_transmit(self.as_fd()) {
                Ok(()) | Err(Errno::ENOBUFS) => break,
                Err(Errno::EBUSY) => return Ok(self.zero_copy),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let before = std::mem::replace(&mut left, self.tx.outstanding());
            if self.zero_copy || left == before {
                break;
            }
        }
        Ok(true)
    }

    /// Shows all frames that were sent since the last call, with the card's time of sending in nanoseconds of its own clock; `None` where it
    /// gave none. Returns their number. Where the card is not asked for transmit times, those that [`free`](Self::free) and
    /// [`write`](Self::write) have found are not shown.
    ///
    /// A frame that the driver has dropped is shown as well: what the kernel tells is that the memory is free.
    #[inline]
    pub fn completed(&mut self, mut each: impl FnMut(&[u8], Option<u64>)) -> usize {
        let mut count = 0;
        while let Some(address) = self.completion.pop() {
            let Some((chunk @ Chunk::Send(index), _)) = self.layout.locate(address) else { continue };
            let number = self.layout.number(chunk);
            if !self.memory.take_back(number) {
                continue;
            }
            self.free.push(index);
            count += 1;
            let bytes = self.memory.chunk(number);
            let time = if self.requests_timestamps { layout::timestamp(bytes) } else { None };
            each(&bytes[self.layout.tx_headroom() as usize..][..self.lengths[index as usize] as usize], time);
        }
        self.completion.release();
        count
    }

    fn collect(&mut self) {
        if !self.requests_timestamps {
            self.completed(|_, _| {});
        }
    }

    /// Shows at most `most` frames that were received, and gives their memory back to the kernel. Returns their number. All of them
    /// had been received before the first of them is shown: one look at the clock there tells a time behind that of each.
    #[inline]
    pub fn receive(&mut self, most: usize, mut each: impl FnMut(Received<'_>)) -> usize {
        if self.busy_poll && self.rx.is_empty() {
            // What fails here fails in `wait` as well, which tells.
            let _ = self.wake_receive();
        }
        let mut count = 0;
        for _ in 0..most.min(self.rx.available() as usize) {
            let Some(descriptor) = self.rx.pop() else { break };
            let Some((chunk @ Chunk::Receive(index), offset)) = self.layout.locate(descriptor.addr) else { continue };
            let number = self.layout.number(chunk);
            if !self.memory.take_back(number) {
                continue;
            }
            self.idle.push(index);
            let (front, rest) = self.memory.chunk_mut(number).split_at_mut(offset);
            let Some(frame) = rest.get_mut(..descriptor.len as usize) else { continue };
            count += 1;
            each(Received { frame, before: &front[offset.saturating_sub(BEFORE)..] });
        }
        self.rx.release();
        self.refill();
        if self.fill.needs_wakeup() {
            let _ = self.wake_receive();
        }
        count
    }

    /// Gives all frames for receiving to the kernel that are not there.
    pub(crate) fn refill(&mut self) {
        while let Some(&index) = self.idle.last() {
            let chunk = Chunk::Receive(index);
            // The kernel may be behind in saying which places of its ring are free.
            if !self.fill.push(self.layout.address(chunk)) {
                break;
            }
            self.memory.give(self.layout.number(chunk));
            self.idle.pop();
        }
        self.fill.publish();
    }

    /// Waits until a frame was received, at most for `timeout`: returns whether one was. See [`wait_any`].
    ///
    /// # Errors
    ///
    /// Where the device is down or gone.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        wait_any(&[self], timeout)
    }

    /// What the kernel has counted.
    ///
    /// # Errors
    ///
    /// None on kernels that this crate is for.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let counted: libc::xdp_statistics = sys::socket::get(self.as_fd(), libc::XDP_STATISTICS)?;
        Ok(counted.into())
    }

    /// With busy polling, has this thread poll the driver.
    pub(crate) fn poll_driver(&self) -> io::Result<()> {
        if self.busy_poll { self.wake_receive() } else { Ok(()) }
    }

    pub(crate) fn wake_receive(&self) -> io::Result<()> {
        match sys::socket::wake_receive(self.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EBUSY | Errno::EINTR | Errno::ENOBUFS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Channel")
            .field("socket", &self.socket)
            .field("queue", &self.queue)
            .field("zero_copy", &self.zero_copy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
