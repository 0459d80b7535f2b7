//! The traffic of services and destinations, as `ipvsadm --stats` and `--rate` show it.

use super::lines::{ListingStyle, Paint, PaintedLine};
use crate::report::snapshot::StateSnapshot;
use crate::report::traffic::Traffic;
use crate::value::shown::escaped;

/// The names of the columns.
const TOTALS: [&str; 5] = ["CONNS", "PKTS IN", "PKTS OUT", "BYTES IN", "BYTES OUT"];
const RATES: [&str; 5] = ["CONNS/S", "PKTS/S IN", "PKTS/S OUT", "BYTES/S IN", "BYTES/S OUT"];

/// The traffic of all services since the last reset of the kernel's counters, or with `rates` per second. Large numbers
/// are rounded unless `exact` is set. `None` if the snapshot has no traffic.
#[must_use]
pub fn traffic_table(
    snapshot: &StateSnapshot,
    rates: bool,
    exact: bool,
    look: ListingStyle,
) -> Option<String> {
    let pick = |totals: Option<Traffic>, per_second: Option<Traffic>| if rates { per_second } else { totals };
    let cells = |traffic: Option<Traffic>| {
        let number = |value: u64| if exact { value.to_string() } else { rounded(value) };
        traffic.map_or_else(
            || [const { String::new() }; 5],
            |found| {
                [found.connections, found.packets_in, found.packets_out, found.bytes_in, found.bytes_out]
                    .map(number)
            },
        )
    };
    let mut rows = Vec::new();
    for v in &snapshot.virtuals {
        let name = v.name.as_deref().map(|name| format!(" {}", escaped(name))).unwrap_or_default();
        let of_service = pick(v.traffic, v.rates);
        rows.push((Paint::Plain, format!("{}{name}", v.id), cells(of_service)));
        for destination in v.destinations.iter().flatten() {
            let traffic = pick(destination.traffic, destination.rates);
            rows.push((Paint::Dim, format!("  {}", destination.address), cells(traffic)));
        }
    }
    if snapshot.virtuals.iter().all(|v| v.traffic.is_none()) {
        return None;
    }
    let titles = if rates { RATES } else { TOTALS };
    rows.insert(0, (Paint::Dim, "SERVICE / SERVER".to_owned(), titles.map(str::to_owned)));
    let first = rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5)
        .map(|column| rows.iter().map(|(_, _, cells)| cells[column].len()).max().unwrap_or_default())
        .collect();
    let line = |(paint, name, cells): &(Paint, String, [String; 5])| {
        let mut line = PaintedLine::of(*paint, format!("{name:first$}"));
        for (cell, width) in cells.iter().zip(&widths) {
            line.push(Paint::Plain, format!("  {cell:>width$}"));
        }
        line.text(look.colour)
    };
    Some(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// A number in at most five characters: `999`, `1.2K`, `35M`, `7.0G`.
fn rounded(value: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let (mut unit, mut rest, mut tenths) = (0, value, 0);
    while rest >= 1000 {
        tenths = rest % 1000 / 100;
        rest /= 1000;
        unit += 1;
    }
    match unit {
        1.. if rest < 10 => format!("{rest}.{tenths}{}", UNITS[unit]),
        _ => format!("{rest}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_short() {
        for (value, expected) in
            [(0, "0"), (999, "999"), (1000, "1.0K"), (9_990, "9.9K"), (35_400_000, "35M"), (u64::MAX, "18E")]
        {
            assert_eq!(rounded(value), expected);
        }
    }

    #[test]
    fn a_row_for_each_service_and_destination() {
        let text = r#"{"virtuals":[{"id":"tcp:10.0.0.1:80","scheduler":"wrr","servers":[],
            "traffic":{"connections":12345,"packets_in":2,"packets_out":3,"bytes_in":4,"bytes_out":5},
            "destinations":[{"address":"10.0.0.2:80","method":"Masq","weight":1,
                "traffic":{"connections":12345,"packets_in":2,"packets_out":3,"bytes_in":4,"bytes_out":5}}]}]}"#;
        let snapshot: StateSnapshot = serde_json::from_str(text).unwrap();
        let table = traffic_table(&snapshot, false, false, ListingStyle::default()).unwrap();
        assert_eq!(
            table,
            "SERVICE / SERVER  CONNS  PKTS IN  PKTS OUT  BYTES IN  BYTES OUT\n\
             tcp:10.0.0.1:80     12K        2         3         4          5\n  \
             10.0.0.2:80       12K        2         3         4          5"
        );
        let exact = traffic_table(&snapshot, false, true, ListingStyle::default()).unwrap();
        assert!(exact.contains(" 12345 "), "{exact}");
        assert_eq!(
            traffic_table(
                &StateSnapshot { virtuals: vec![], ..snapshot },
                true,
                true,
                ListingStyle::default()
            ),
            None
        );
    }
}
