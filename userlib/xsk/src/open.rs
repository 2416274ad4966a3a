//! Opening a channel: socket, memory, rings, and the queue.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, BorrowedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use crate::{
    BusyPoll, Channel, Config, Error, Mode, error,
    layout::{Layout, TX_METADATA},
    ring::{Consumer, Producer},
    sys::{
        memory::Memory,
        ring::{Entry, Mapped},
        socket,
    },
};

pub(crate) fn open(ifindex: u32, queue: u32, config: &Config) -> Result<Channel, Error> {
    config.check()?;
    let owned = socket::open().map_err(Error::system(error::SOCKET))?;
    let socket = owned.as_fd();

    let frames = config.frames;
    let memory = Memory::new(2 * frames, config.frame_size.bytes())
        .map_err(|source| Error::System { call: "mmap of the frames", source })?;
    let has_metadata = register(socket, &memory, config)?;
    let layout = Layout::new(config, has_metadata);

    for (call, ring) in [
        ("XDP_UMEM_FILL_RING", libc::XDP_UMEM_FILL_RING),
        ("XDP_UMEM_COMPLETION_RING", libc::XDP_UMEM_COMPLETION_RING),
        ("XDP_RX_RING", libc::XDP_RX_RING),
        ("XDP_TX_RING", libc::XDP_TX_RING),
    ] {
        socket::set(socket, libc::SOL_XDP, ring, &frames).map_err(Error::system(call))?;
    }
    // In copy mode a call sends 32 frames; newer kernels can be asked to send all.
    let _ = socket::set(socket, libc::SOL_XDP, socket::XDP_MAX_TX_SKB_BUDGET, &frames);
    let offsets: libc::xdp_mmap_offsets =
        socket::get(socket, libc::XDP_MMAP_OFFSETS).map_err(Error::system("XDP_MMAP_OFFSETS"))?;
    let rx = map(socket, libc::XDP_PGOFF_RX_RING.unsigned_abs(), &offsets.rx, frames)?;
    let tx = map(socket, libc::XDP_PGOFF_TX_RING.unsigned_abs(), &offsets.tx, frames)?;
    let fill = map(socket, libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, frames)?;
    let completion = map(socket, libc::XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, frames)?;

    if let Some(busy_poll) = config.busy_poll {
        set_busy_poll(socket, busy_poll).map_err(Error::system(error::BUSY_POLL))?;
    }

    let mut channel = Channel {
        rx: Consumer::new(rx),
        tx: Producer::new(tx),
        fill: Producer::new(fill),
        completion: Consumer::new(completion),
        socket: owned,
        memory,
        layout,
        idle: (0..frames).rev().collect(),
        free: (0..frames).rev().collect(),
        lengths: vec![0; frames as usize].into(),
        queue,
        zero_copy: false,
        busy_poll: config.busy_poll.is_some(),
        requests_timestamps: false,
        not_sync: PhantomData,
    };
    // Drivers with zero copy take frames for receiving when the socket is bound.
    channel.refill();
    bind(channel.as_fd(), ifindex, queue, config.mode)?;
    let options: libc::xdp_options =
        socket::get(channel.as_fd(), libc::XDP_OPTIONS).map_err(Error::system("XDP_OPTIONS"))?;
    channel.zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
    // In copy mode the answer would be the kernel's own clock when it frees its copy, and nothing of the card's.
    channel.requests_timestamps = has_metadata && channel.zero_copy;
    Ok(channel)
}

/// Registers the memory of the frames; returns whether there is room for metadata in front of those to be sent.
fn register(socket: BorrowedFd<'_>, memory: &Memory, config: &Config) -> Result<bool, Error> {
    let (addr, len) = memory.extent();
    let plain = libc::xdp_umem_reg {
        addr,
        len,
        chunk_size: config.frame_size.bytes(),
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    let register = |umem: &libc::xdp_umem_reg| socket::set(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, umem);
    if config.tx_timestamps {
        let flags = libc::XDP_UMEM_TX_METADATA_LEN;
        match register(&libc::xdp_umem_reg { flags, tx_metadata_len: TX_METADATA, ..plain }) {
            Ok(()) => return Ok(true),
            // The kernel does not know of metadata.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(Error::system(error::UMEM)(errno)),
        }
    }
    register(&plain).map_err(Error::system(error::UMEM))?;
    Ok(false)
}

fn map<E: Entry>(
    socket: BorrowedFd<'_>,
    page_offset: u64,
    offsets: &libc::xdp_ring_offset,
    size: u32,
) -> Result<Mapped<E>, Error> {
    Mapped::new(socket, page_offset, offsets, size).map_err(|source| Error::System { call: "mmap of a ring", source })
}

fn set_busy_poll(socket: BorrowedFd<'_>, busy_poll: BusyPoll) -> nix::Result<()> {
    for (option, value) in [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, busy_poll.microseconds),
        (libc::SO_BUSY_POLL_BUDGET, busy_poll.budget.into()),
    ] {
        socket::set(socket, libc::SOL_SOCKET, option, &value)?;
    }
    Ok(())
}

/// How long the kernel may take to give a queue free behind the closing of its socket: it does so in the background.
const RELEASE: Duration = Duration::from_millis(300);

/// Takes the queue.
fn bind(socket: BorrowedFd<'_>, ifindex: u32, queue: u32, mode: Mode) -> Result<(), Error> {
    let start = Instant::now();
    let bind = |flags| loop {
        match socket::bind(socket, ifindex, queue, flags | libc::XDP_USE_NEED_WAKEUP) {
            Err(Errno::EBUSY) if start.elapsed() < RELEASE => sleep(Duration::from_millis(1)),
            bound => break bound,
        }
    };
    let refused = |errno| {
        if errno == Errno::EBUSY {
            Error::Busy { ifindex, queue }
        } else if errno == Errno::ENODEV {
            Error::NoDevice { ifindex }
        } else if errno == Errno::EINVAL {
            // Nothing else of what is asked for can be invalid.
            Error::NoQueue { ifindex, queue }
        } else {
            Error::system("bind")(errno)
        }
    };
    let first = match mode {
        Mode::Auto => bind(0),
        Mode::Copy => return bind(libc::XDP_COPY).map_err(refused),
        Mode::ZeroCopy => bind(libc::XDP_ZEROCOPY),
    };
    match (first, mode) {
        (Ok(()), _) => Ok(()),
        (Err(errno @ (Errno::EBUSY | Errno::ENODEV)), _) => Err(refused(errno)),
        // The kernel copies on its own where a driver refuses, but some drivers fail in ways that it does not expect.
        (Err(_), Mode::Auto | Mode::Copy) => bind(libc::XDP_COPY).map_err(refused),
        // With copying the same queue tells whether it was for that.
        (Err(errno), Mode::ZeroCopy) => match bind(libc::XDP_COPY) {
            Ok(()) => Err(Error::ZeroCopy { ifindex, queue, source: io::Error::from(errno) }),
            Err(errno) => Err(refused(errno)),
        },
    }
}
