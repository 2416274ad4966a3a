//! Probes that pass the kernel's stack by: what it does for a socket has to be done here.

pub mod network;
