//! `drain`, `down`, `up` and `undo`: what stands after them.

use std::net::SocketAddr;

use clap::Parser;

use super::{Asked, Command, Words, first_line};
use crate::control::{Decision, MAX_SECONDS, Request, Target};
use crate::health::What;

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Arguments {
    #[arg(value_parser = server)]
    server: SocketAddr,
    #[arg(short = 'c', long)]
    config: Option<String>,
    #[arg(long)]
    service: Option<String>,
    #[arg(long = "for", value_parser = seconds)]
    seconds: Option<u64>,
    #[arg(long)]
    note: Option<String>,
    #[arg(long)]
    force: bool,
}

/// Reads the words after `command`.
pub(super) fn read(command: &str, words: &[String]) -> Words {
    let arguments = Arguments::try_parse_from(words).map_err(|error| {
        format!("{command}: {}", first_line(&error.to_string()).trim_start_matches("error: "))
    })?;
    let Arguments { server, config, service, seconds, note, force } = arguments;
    let target = Target { server, service };
    let what = match command {
        "drain" => What::Drain,
        "down" => What::Down,
        "up" => What::Up,
        _ if seconds.is_some() || note.is_some() || force => {
            return Err("undo: takes neither --for nor --note nor --force".to_owned().into());
        }
        _ => return Ok(Asked::new(config, Command::Steer(Request::Undo(target)))),
    };
    let decision = Decision { target, what, note: note.unwrap_or_default(), seconds, force };
    Ok(Asked::new(config, Command::Steer(Request::Override(decision))))
}

fn server(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not address:port, as `show` prints the servers".to_owned())
}

/// `90`, `90s`, `30m`, `2h`, `7d`.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let seconds =
        unit.zip(number.parse().ok()).and_then(|(unit, number): (u64, u64)| number.checked_mul(unit));
    seconds
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
        .ok_or_else(|| "not a time such as 90s, 30m, 2h or 7d".to_owned())
}
