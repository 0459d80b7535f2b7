//! Arguments of the commands that ask a daemon without changing anything: `show`, `is-up`, `plugin`, `events`, `plan`.

use clap::Parser;

use super::own::Own;
use super::{Command, Judging, ParsedWords, PluginLimits, Words, Wrong, show};
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

/// `-c` is the limit of a monitoring plug-in if its value is one, otherwise the configuration as with the other
/// commands.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Plugin {
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    #[arg(short = 'c', value_name = "N|N%|CONFIG")]
    critical_or_config: Vec<String>,
    #[arg(short = 'w', long, value_name = "N|N%")]
    warning: Option<Threshold>,
    #[arg(long, value_name = "N|N%")]
    critical: Option<Threshold>,
    #[arg(long, value_name = "CONFIG")]
    config: Option<String>,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Events {
    #[arg(value_name = "CONFIG")]
    place: Option<String>,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Plan {
    #[arg(value_name = "CONFIG")]
    place: Option<String>,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
    #[arg(long)]
    diff: bool,
}

/// Parses the words of one of the commands. `before` is the configuration that came before the command.
pub(super) fn read(own: &Own, before: Option<&String>, words: &[String], judging: Judging) -> Words {
    let (config, command) = match own.name {
        "is-up" => {
            let IsUp { services, min, config } = own.parse(words)?;
            (config, Command::IsUp { services, min })
        }
        "events" => {
            let Events { place, config, json } = own.parse(words)?;
            (config.or(place), Command::Events { json: json || judging.json })
        }
        "show" => show::read(own, words, judging)?,
        "plan" => {
            let Plan { place, config, diff } = own.parse(words)?;
            (config.or(place), Command::Plan { diff })
        }
        _ => plugin(own, words)?,
    };
    Ok(ParsedWords::new(config.or_else(|| before.cloned()), command))
}

fn plugin(own: &Own, words: &[String]) -> Result<(Option<String>, Command), Wrong> {
    let Plugin { services, critical_or_config, warning, mut critical, mut config } = own.parse(words)?;
    for value in critical_or_config {
        let is_second = match value.parse() {
            Ok(threshold) => critical.replace(threshold).is_some(),
            // `2:` is a range of other plug-ins, and `101%` a mistake: no name of a configuration.
            Err(error) if value.ends_with(['%', ':']) || value.starts_with(['@', '~']) => {
                return Err(own.wrong(&format!("-c {value}: {error}"), words));
            }
            Err(_) => config.replace(value.clone()).is_some(),
        };
        if is_second {
            return Err(own.wrong(&format!("-c {value}: a second value"), words));
        }
    }
    Ok((config, Command::Plugin { services, limits: PluginLimits { warning, critical } }))
}

/// The options of the commands.
#[cfg(test)]
pub(super) fn options(name: &str) -> Vec<String> {
    use clap::CommandFactory;
    let command = match name {
        "is-up" => IsUp::command(),
        "plugin" => Plugin::command(),
        "events" => Events::command(),
        "plan" => Plan::command(),
        "show" => show::command(),
        _ => panic!("{name}"),
    };
    command.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect()
}
