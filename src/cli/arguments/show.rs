//! Arguments of `show`.

use std::net::SocketAddr;

use clap::Parser;

use super::own::Own;
use super::{Command, Judging, Wrong};
use crate::value::VirtualId;

/// What `show` prints, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct ShowOptions {
    pub json: bool,
    /// Every server, also those that are up in a long listing.
    pub all: bool,
    /// Only services and servers with a problem.
    pub down: bool,
    /// Only this virtual service.
    pub service: Option<VirtualId>,
    /// Everything known about this server.
    pub server: Option<SocketAddr>,
    /// The connections of the server.
    pub connections: bool,
    /// Traffic instead of the states.
    pub traffic: Option<TrafficKind>,
    /// Numbers in full.
    pub exact: bool,
    /// Again and again.
    pub watch: bool,
}

/// Which traffic `show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum TrafficKind {
    /// Since the last reset of the kernel's counters.
    Totals,
    /// Per second.
    Rates,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Show {
    #[arg(value_name = "CONFIG|SERVER", num_args = 0..=2)]
    places: Vec<String>,
    #[arg(short = 'c', long, value_name = "CONFIG")]
    config: Option<String>,
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    #[arg(long, conflicts_with_all = ["down", "all", "stats", "rate", "json"])]
    connections: bool,
    #[arg(long, conflicts_with_all = ["all", "json"])]
    down: bool,
    #[arg(long)]
    all: bool,
    #[arg(long, conflicts_with = "rate")]
    stats: bool,
    #[arg(long)]
    rate: bool,
    #[arg(long)]
    exact: bool,
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[arg(long)]
    json: bool,
}

/// Parses the words of the command.
pub(super) fn read(
    own: &Own,
    words: &[String],
    judging: Judging,
) -> Result<(Option<String>, Command), Wrong> {
    let Show { places, mut config, service, connections, down, all, stats, rate, exact, watch, json } =
        own.parse(words)?;
    let json = json || judging.json;
    let mut server = None;
    for place in places {
        let is_second = match place.parse::<SocketAddr>() {
            Ok(address) => server.replace(address).is_some(),
            Err(_) => config.replace(place.clone()).is_some(),
        };
        if is_second {
            return Err(own.wrong(&format!("{place}: a second configuration or server"), words));
        }
    }
    let service = service.map(|id| {
        let wrong = |_| {
            own.wrong(&format!("--service {id}: write it as `show` does, such as tcp:10.0.0.1:80"), words)
        };
        id.parse().map_err(wrong)
    });
    let traffic = match (stats, rate) {
        (true, _) => Some(TrafficKind::Totals),
        (_, true) => Some(TrafficKind::Rates),
        _ => None,
    };
    if connections && server.is_none() {
        return Err(own.wrong("--connections: SERVER is missing, such as 10.0.0.2:80", words));
    }
    if server.is_some() && (down || all || traffic.is_some()) {
        return Err(own.wrong(
            "SERVER: everything about it is printed; --down, --all, --stats and --rate do not apply",
            words,
        ));
    }
    let options = ShowOptions {
        json,
        all,
        down,
        service: service.transpose()?,
        server,
        connections,
        traffic,
        exact,
        watch,
    };
    Ok((config, Command::Show(options)))
}

/// The command line, for the test of its options.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    <Show as clap::CommandFactory>::command()
}
