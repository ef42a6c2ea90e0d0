//! The `safe-migrate` program with the Cargo feature `faults`, for the tests; nobody else gets it.

fn main() -> std::process::ExitCode {
    safe_migrate::cli::main()
}
