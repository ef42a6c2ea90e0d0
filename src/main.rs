//! The `safe-migrate` program: parse, run, exit code.

fn main() -> std::process::ExitCode {
    safe_migrate::cli::main()
}
