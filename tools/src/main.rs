//! The `instamp` command.

fn main() -> std::process::ExitCode {
    instamp_tools::main()
}
