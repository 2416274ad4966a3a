//! Probing past the stack: how fast, how evenly, how exactly, and for how long.

mod accuracy;
mod bare;
mod endurance;
mod load;
mod pacing;
mod throughput;
mod wire;

/// Prints lines for each of them.
pub(crate) fn measure() {
    throughput::measure();
    pacing::measure();
    accuracy::measure();
}

/// Ten million probes.
pub(crate) use endurance::measure as endure;
