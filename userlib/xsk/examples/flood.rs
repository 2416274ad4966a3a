//! Sends Ethernet frames of no protocol to everybody on the wire, as fast as they go, and says how fast that was.
//!
//! ```text
//! flood DEVICE [SECONDS [BATCH]]
//! ```

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use instamp_xsk::{Channel, Config};
use nix::net::if_::if_nametoindex;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let device = arguments.first().ok_or("usage: flood DEVICE [SECONDS [BATCH]]")?;
    let seconds = arguments.get(1).map_or(Ok(3), |seconds| seconds.parse())?;
    let batch = arguments.get(2).map_or(Ok(64), |batch| batch.parse())?;
    let mut channel = Channel::open(if_nametoindex(device.as_str())?, 0, &Config::default())?;

    let mut frame = [0; 106];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    // For local experiments.
    frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());

    let (start, mut written) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..batch {
            if !channel.write(frame.len(), |to| to.copy_from_slice(&frame)) {
                break;
            }
            written += 1;
        }
        channel.submit()?;
    }
    let rate = written as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} frames/s, zero copy: {}, {:?}", channel.is_zero_copy(), channel.statistics()?);
    Ok(())
}
