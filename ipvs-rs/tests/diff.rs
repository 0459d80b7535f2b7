//! Properties of the operations between two tables.

mod tables;

use std::collections::BTreeSet;

use ipvs_rs::{Ipvs, Memory, ServiceKey, Table, diff};
use proptest::prelude::*;

/// The services that have a destination with weight.
fn serving(table: &Table) -> BTreeSet<ServiceKey> {
    let services = table.services.iter();
    services
        .filter(|(_, service)| service.destinations.values().any(|config| config.weight > 0))
        .map(|(key, _)| *key)
        .collect()
}

proptest! {
    #[test]
    fn a_table_becomes_the_other(a in tables::table(), b in tables::table()) {
        let mut table = a.clone();
        for operation in diff(&a, &b) {
            prop_assert_eq!(table.apply(&operation), Ok(()));
        }
        prop_assert_eq!(table, b);
    }

    #[test]
    fn an_equal_table_is_left_alone(a in tables::table()) {
        prop_assert!(diff(&a, &a).is_empty());
        let mut memory = Memory::with_table(&a);
        prop_assert!(diff(&memory.dump().unwrap(), &a).is_empty());
    }

    #[test]
    fn each_thing_is_touched_once(a in tables::table(), b in tables::table()) {
        let operations = diff(&a, &b);
        let entries = |table: &Table| -> usize {
            table.services.values().map(|service| 1 + service.destinations.len()).sum()
        };
        prop_assert!(operations.len() <= entries(&a) + entries(&b));
    }

    #[test]
    fn a_service_that_serves_before_and_after_serves_all_the_time(a in tables::table(), b in tables::table()) {
        let (before, after) = (serving(&a), serving(&b));
        let mut table = a.clone();
        for operation in diff(&a, &b) {
            table.apply(&operation).unwrap();
            let now = serving(&table);
            for key in before.intersection(&after) {
                prop_assert!(now.contains(key), "{key} after {operation}");
            }
        }
    }
}
