//! The program: its arguments go in, its exit code comes out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    ldirectord_rs::cli::main(&arguments).into()
}
