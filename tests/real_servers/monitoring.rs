//! Debian's promtool judges the metrics of a running daemon, the alert rules with their tests, and each query of the
//! dashboard (`packaging/monitoring`).

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring").join(name)
}

/// Runs promtool in the folder of the rules, with this input. It must succeed, and without a word of complaint.
fn promtool(words: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(words)
        .current_dir(packaged(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A virtual service of each kind, a server that is up and a server that is down. `check metrics` finds names against
/// the conventions, counters without `_total`, missing help, and series that occur twice.
#[test]
fn metrics_of_a_daemon_are_as_prometheus_wants_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let up = TcpListener::bind("127.0.0.1:0").unwrap();
    let up = up.local_addr().unwrap();
    let config = format!(
        "checkinterval=1\nlogfile=\"{}\"\nvirtual=192.0.2.1:80\n\treal={up} masq\n\treal=127.0.0.1:1 masq\n\
         \tfallback=127.0.0.9:80 masq\n\tchecktype=connect\nvirtual=192.0.2.1:53\n\tprotocol=udp\n\treal=127.0.0.1:2 masq\n\
         \tchecktype=on\nvirtual=5\n\treal=127.0.0.1:3 masq\n\tchecktype=on\nvirtual6=5\n\treal6=[::1]:3 masq\n\tchecktype=on\n",
        path("log")
    );
    fs::write(path("web.cf"), config).unwrap();
    let settings = format!(
        "[table]\nbackend = \"memory\"\n[metrics]\nper_server = true\n[paths]\nrun = \"{0}\"\nstate = \"{0}\"\n",
        folder.path().display()
    );
    fs::write(path("settings.toml"), settings).unwrap();
    let (config, settings) = (path("web.cf"), path("settings.toml"));
    let ours = |words: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_ldirectord-rs"))
            .args(["--settings", &settings])
            .args(words)
            .output()
            .unwrap()
    };
    let started = ours(&[&config, "start"]);
    assert!(started.status.success(), "{started:?}");
    let metrics = ours(&["metrics", "-c", &config]);
    let stopped = ours(&[&config, "stop"]);
    assert!(metrics.status.success() && stopped.status.success(), "{metrics:?} {stopped:?}");
    let text = String::from_utf8(metrics.stdout).unwrap();
    for line in ["ldirectord_server_up{", "ldirectord_virtual_servers{", "ldirectord_checks_total{"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(promtool(&["check", "metrics"], &text), "");
}

#[test]
fn alert_rules_are_valid_and_pass_their_tests() {
    promtool(&["check", "rules", "ldirectord.rules.yml"], "");
    let told = promtool(&["test", "rules", "ldirectord.rules-test.yml"], "");
    assert!(told.contains("SUCCESS"), "{told}");
}

/// Each query of the dashboard, as a recording rule with all variables filled in.
#[test]
fn queries_of_the_dashboard_are_valid() {
    let text = fs::read_to_string(packaged("ldirectord.dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut rules = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            let query =
                ["$instance", "$address", "$port"].iter().fold(query, |q, name| q.replace(name, ".*"));
            assert!(!query.contains('$'), "{query} has a variable that the dashboard does not have");
            rules.push(serde_json::json!({ "record": format!("query:{}", rules.len()), "expr": query }));
        }
    }
    assert!(rules.len() >= 20, "{}", rules.len());
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], "");
}
