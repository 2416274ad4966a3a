//! The `instamp` command.

fn main() {}
