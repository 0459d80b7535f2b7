//! Arguments of the commands that ask a daemon without changing anything: `is-up`.

use clap::Parser;
use clap::error::ErrorKind;

use super::own::Own;
use super::{Command, Judging, ParsedWords, Words, Wrong, first_line};
use crate::report::Threshold;

/// One server in rotation.
const ONE: Threshold = Threshold::Servers(1);

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct IsUp {
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[arg(long, value_name = "N|N%", default_value_t = ONE)]
    min: Threshold,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
}

/// Parses the words of one of the commands. `before` is the configuration that came before the command.
pub(super) fn read(own: &Own, before: Option<&String>, words: &[String], _judging: Judging) -> Words {
    let IsUp { services, min, config } = parse(own, words)?;
    Ok(ParsedWords::new(config.or(before.cloned()), Command::IsUp { services, min }))
}

fn parse<T: Parser>(own: &Own, words: &[String]) -> Result<T, Wrong> {
    T::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            own.wrong("SERVICE is missing: a virtual service as `show` prints it", words)
        }
        _ => own.wrong(first_line(&error.to_string()).trim_start_matches("error: "), words),
    })
}

/// The options of the commands.
#[cfg(test)]
pub(super) fn options(name: &str) -> Vec<String> {
    use clap::CommandFactory;
    let command = match name {
        "is-up" => IsUp::command(),
        _ => panic!("{name}"),
    };
    command.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect()
}
