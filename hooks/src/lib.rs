//! Loads, attaches, pins, detaches and counts the instamp programs.
