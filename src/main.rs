//! The program `ldirectord-rs`: passes its arguments to `ldirectord_rs::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ldirectord_rs::cli::main(std::env::args_os()).into()
}
