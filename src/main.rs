//! The program: its arguments go in, its exit code comes out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ldirectord_rs::cli::main(std::env::args_os()).into()
}
