//! `packaging/monitoring`: the alert rules and the dashboard use only metrics that a daemon has. promtool judges the
//! rest in `tests/real_servers/monitoring.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::sandbox::{Sandbox, WebServer, two_servers};

const RULES: &str = "ldirectord.rules.yml";
const TESTS: &str = "ldirectord.rules-test.yml";
const DASHBOARD: &str = "ldirectord.dashboard.json";

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn packed(name: &str) -> String {
    read(&format!("packaging/monitoring/{name}"))
}

/// The metrics of a running daemon that has a fallback and a certificate, each with its type.
fn metrics() -> BTreeMap<String, String> {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    fs::write(sandbox.path("settings.toml"), "[metrics]\nper_server = true\n").unwrap();
    let settings = sandbox.path("settings.toml");
    let run = |words: &[&str]| sandbox.run(&[&["--settings", settings.to_str().unwrap()], words].concat());
    assert!(run(&["web.cf", "start"]).status.success());
    let text = String::from_utf8(run(&["metrics", "-c", "web.cf"]).stdout).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The words of a text that look like names of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
    words.filter(|word| word.starts_with("ldirectord_")).collect()
}

/// A rename of a metric breaks alerts silently: Prometheus takes an unknown name for a metric without values.
#[test]
fn each_metric_of_rules_and_dashboard_is_given() {
    let given = metrics();
    let is_given = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        given.contains_key(name)
            || parts.clone().any(|whole| given.get(whole).is_some_and(|kind| kind == "histogram"))
    };
    for file in [RULES, TESTS, DASHBOARD] {
        let text = packed(file);
        let names = names(&text);
        assert!(names.len() >= 10, "{file}: {names:?}");
        let unknown: Vec<&&str> = names.iter().filter(|name| !is_given(name)).collect();
        assert!(unknown.is_empty(), "{file} uses what no daemon gives: {unknown:?}");
    }
}

/// The value of a key in each rule, in the order of the file.
fn values<'a>(rules: &'a str, key: &str) -> Vec<&'a str> {
    let key = format!("{key}:");
    let lines = rules.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key.as_str())).map(str::trim).collect()
}

#[test]
fn each_alert_says_what_to_do_and_is_listed() {
    let (rules, tests, page) = (packed(RULES), packed(TESTS), read("docs/monitoring.md"));
    let alerts = values(&rules, "alert");
    assert!(alerts.len() >= 12, "{alerts:?}");
    for key in ["summary", "description", "severity", "expr"] {
        assert_eq!(values(&rules, key).len(), alerts.len(), "{key}");
    }
    for (alert, severity) in alerts.iter().zip(values(&rules, "severity")) {
        assert!(["critical", "warning"].contains(&severity), "{alert}: {severity}");
        assert!(
            page.contains(&format!("| `{alert}` | {severity} |")),
            "{alert} is not in docs/monitoring.md"
        );
        assert!(tests.contains(&format!("\"{alert}\"")), "{alert} has no test");
    }
}

/// The dashboard can be imported anywhere: the data source is a variable, and no panel has the place of another.
#[test]
fn the_dashboard_fits_any_grafana() {
    let dashboard: Value = serde_json::from_str(&packed(DASHBOARD)).unwrap();
    assert_eq!(dashboard["id"], Value::Null);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["type"], "datasource");
    let mut places = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: a second panel with its id");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is too wide");
            for y in place("y")..place("y") + place("h") {
                assert!(places.insert((x, y)), "{title} covers another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
    }
}
