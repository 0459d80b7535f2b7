//! Arguments of `drain`, `down`, `up`, `weight` and `undo`.

use std::net::SocketAddr;

use clap::Parser;
use clap::error::ErrorKind;

use super::own::Own;
use super::{Command, ParsedWords, Words, first_line};
use crate::control::{ControlRequest, MAX_SECONDS, OverrideRequest, ServerTarget};
use crate::health::{OverrideWeight, What};

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Arguments {
    #[arg(value_parser = server)]
    server: SocketAddr,
    #[command(flatten)]
    options: OverrideOptions,
}

/// The words of `weight`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct WeightArguments {
    #[arg(value_parser = server)]
    server: SocketAddr,
    #[arg(allow_negative_numbers = true)]
    weight: OverrideWeight,
    #[command(flatten)]
    options: OverrideOptions,
}

/// `--wait`: until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct WaitOptions {
    /// `None`: without limit.
    pub seconds: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct OverrideOptions {
    #[arg(long)]
    wait: bool,
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
    timeout: Option<u64>,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
    seconds: Option<u64>,
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[arg(long)]
    force: bool,
}

/// The words of `override import`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct ImportArguments {
    file: String,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
    #[arg(long)]
    force: bool,
}

/// Parses the words of `override import`. `before` is the word before the command.
pub(super) fn read_import(own: &Own, before: Option<&String>, after: &[String]) -> Words {
    let Some((_, after)) = after.split_first().filter(|(word, _)| *word == "import") else {
        return Err(own.wrong("the only command is `override import FILE`", after));
    };
    let arguments = ImportArguments::try_parse_from(after).map_err(|error| match error.kind() {
        ErrorKind::MissingRequiredArgument => own.wrong("FILE is missing", after),
        _ => own.wrong(first_line(&error.to_string()).trim_start_matches("error: "), after),
    })?;
    let ImportArguments { file, config, force } = arguments;
    Ok(ParsedWords::new(config.or_else(|| before.cloned()), Command::Import { file, force }))
}

/// Parses the words of one of the five commands.
pub(super) fn read(own: &Own, words: &[String]) -> Words {
    let wrong = |error: &str| own.wrong(error, words);
    // The configuration may come first, as with the other actions.
    let (config, words) = match words {
        [config, server, ..] if !config.starts_with('-') && server.parse::<SocketAddr>().is_ok() => {
            (Some(config.clone()), &words[1..])
        }
        _ => (None, words),
    };
    let refuse = |error: clap::Error| match error.kind() {
        ErrorKind::MissingRequiredArgument if own.name == "weight" => {
            wrong("SERVER or its weight is missing, such as 10.0.0.2:80 50%")
        }
        ErrorKind::MissingRequiredArgument => {
            wrong("SERVER is missing: an address and port as `show` prints it")
        }
        _ => wrong(first_line(&error.to_string()).trim_start_matches("error: ")),
    };
    let (server, weight, options) = match own.name {
        "weight" => {
            let arguments = WeightArguments::try_parse_from(words).map_err(refuse)?;
            (arguments.server, Some(arguments.weight), arguments.options)
        }
        _ => {
            let arguments = Arguments::try_parse_from(words).map_err(refuse)?;
            (arguments.server, None, arguments.options)
        }
    };
    let config = options.config.or(config);
    let OverrideOptions { service, seconds, note, force, wait, timeout, .. } = options;
    if (wait || timeout.is_some()) && !matches!(own.name, "drain" | "down") {
        return Err(wrong("--wait and --timeout apply to drain and down"));
    }
    if timeout.is_some() && !wait {
        return Err(wrong("--timeout needs --wait"));
    }
    let waits = wait.then_some(WaitOptions { seconds: timeout });
    let what = match (own.name, weight) {
        (_, Some(weight)) => What::Weight(weight),
        ("drain", _) => What::Drain,
        ("down", _) => What::Down,
        ("up", _) => What::Up,
        _ if seconds.is_some() || note.is_some() || force => {
            return Err(wrong("--for, --note and --force do not apply"));
        }
        _ => {
            return Ok(ParsedWords::new(
                config,
                Command::Steer(ControlRequest::Undo(ServerTarget { server, service }), None),
            ));
        }
    };
    let request = OverrideRequest { server, service, what, note: note.unwrap_or_default(), seconds, force };
    Ok(ParsedWords::new(config, Command::Steer(ControlRequest::Override(request), waits)))
}

fn server(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "not an address and port, such as 10.0.0.2:80; `show` lists all servers".to_owned())
}

/// Parses a duration such as `90s`, `30m`, `2h` or `7d` into seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let seconds =
        unit.zip(number.parse().ok()).and_then(|(unit, number): (u64, u64)| number.checked_mul(unit));
    match seconds {
        Some(seconds) if (1..=MAX_SECONDS).contains(&seconds) => Ok(seconds),
        Some(_) => Err(format!("must be 1 s to {} days", MAX_SECONDS / (24 * 3600))),
        None => Err("needs a number and a unit: 90s, 30m, 2h or 7d".to_owned()),
    }
}

/// The options of the five commands.
#[cfg(test)]
pub(super) fn options() -> Vec<String> {
    use clap::CommandFactory;
    let command = Arguments::command();
    command.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect()
}
