//! The `bayou` program: everything is in the library.

fn main() -> std::process::ExitCode {
    bayou::cli::main()
}
