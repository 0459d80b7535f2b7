//! The state in one line, for the service manager: `12 of 14 up, fallback of 10.0.0.1:80 active`.

use crate::health::{Health, Standing};
use crate::spec::Spec;
use crate::value::VirtualId;

/// Maximum number of services that are named. The others are counted.
const NAMED: usize = 3;

/// Reports how many servers are up, in maintenance and overridden, and which services have no server left.
#[must_use]
pub fn status(spec: &Spec, health: &Health) -> String {
    let (mut all, mut up, mut maintained, mut overridden) = (0_usize, 0_usize, 0_usize, 0_usize);
    for member in spec.members().filter(|member| !spec.is_leaving(*member)) {
        let server = health.server(member);
        all += 1;
        up += usize::from(server.standing() == Standing::InRotation);
        match server.overridden() {
            Some(_) if server.is_in_maintenance() => maintained += 1,
            Some(_) => overridden += 1,
            None => {}
        }
    }
    let mut parts = vec![format!("{up} of {all} up")];
    if maintained > 0 {
        parts.push(format!("{maintained} in maintenance"));
    }
    if overridden > 0 {
        parts.push(format!("{overridden} overridden"));
    }
    let lost = spec.virtuals().iter().enumerate().filter(|(index, _)| !health.any_in(spec, *index));
    let (with, without): (Vec<_>, Vec<_>) = lost.map(|(_, v)| v).partition(|v| v.fallback.is_some());
    if !with.is_empty() {
        parts.push(format!("fallback of {} active", names(with.iter().map(|v| v.id))));
    }
    if !without.is_empty() {
        parts.push(format!("no server left for {}", names(without.iter().map(|v| v.id))));
    }
    parts.join(", ")
}

fn names(ids: impl ExactSizeIterator<Item = VirtualId>) -> String {
    let more = ids.len().saturating_sub(NAMED);
    let mut named: Vec<String> = ids.take(NAMED).map(|id| id.to_string()).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    match named.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => named.concat(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a start time")]

    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::config::{self, Answers};

    #[test]
    fn status_counts_servers_and_names_lost_services() {
        let block = |port: u16, fallback: &str| {
            format!(
                "virtual=10.0.0.1:{port}\n\treal=10.0.0.2:{port} masq\n\treal=10.0.0.3:{port} masq\n{fallback}"
            )
        };
        let text = [80, 81, 82, 83, 84].map(|port| block(port, "\tfallback=127.0.0.1 gate\n")).concat()
            + &block(90, "");
        let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
        let spec = Spec::new(Arc::new(config));
        let told = |up: &[(u16, u8)]| {
            let server = |(port, last): &(u16, u8)| {
                let id: VirtualId = format!("tcp:10.0.0.1:{port}").parse().unwrap();
                (id, format!("10.0.0.{last}:{port}").parse().unwrap())
            };
            let up: BTreeSet<_> = up.iter().map(server).collect();
            status(&spec, &Health::new(&spec, &up, Instant::now()))
        };
        let one_each = [(80, 2), (81, 2), (82, 3), (83, 2), (84, 2), (90, 3)];
        assert_eq!(told(&one_each), "6 of 12 up");
        assert_eq!(told(&one_each[1..]), "5 of 12 up, fallback of 10.0.0.1:80 active");
        assert_eq!(
            told(&one_each[2..5]),
            "3 of 12 up, fallback of 10.0.0.1:80 and 10.0.0.1:81 active, no server left for 10.0.0.1:90"
        );
        assert_eq!(
            told(&one_each[5..]),
            "1 of 12 up, fallback of 10.0.0.1:80, 10.0.0.1:81, 10.0.0.1:82 and 2 more active"
        );
    }
}
