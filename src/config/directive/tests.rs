//! The table of directives, and the search for a misspelt one.

use super::*;

#[test]
fn every_row_stands_once_and_is_found() {
    for row in DIRECTIVES {
        assert_eq!(find(row.name).map(|found| found.key), Some(row.key), "{}", row.name);
        assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.name);
        assert_eq!(DIRECTIVES.iter().filter(|other| other.key == row.key).count(), 1, "{}", row.name);
    }
}

#[test]
fn misspelt_names_find_their_neighbour() {
    for (wrong, inside, right) in [
        ("checkintervall", false, Some("checkinterval")),
        ("CheckInterval", false, Some("checkinterval")),
        ("shceduler", true, Some("scheduler")),
        ("scheduler", false, None),
        ("reel", true, Some("real")),
        ("bogus", true, None),
        ("", true, None),
    ] {
        assert_eq!(nearest(wrong, inside).map(|row| row.name), right, "{wrong}");
    }
}

#[test]
fn a_misspelt_password_is_still_one() {
    for name in ["passwd", "passwrd", "password", "pasword", "Passwd", "secrets", "secert", "db_pwd"] {
        assert!(smells_of_secret(name), "{name}");
    }
    for name in ["", "request", "receive", "service", "database"] {
        assert!(!smells_of_secret(name), "{name}");
    }
}
