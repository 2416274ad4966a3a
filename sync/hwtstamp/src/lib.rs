//! Hardware timestamps of network cards on Linux.
