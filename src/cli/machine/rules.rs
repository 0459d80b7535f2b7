//! The rules of the firewall: which marks they set. `nft` and `iptables-save` print them. Both only read.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::diagnosis::{Marks, Seen};
use crate::net::cause;
use crate::sys::command;

/// The time limit of one program.
const LIMIT: Duration = Duration::from_secs(3);

/// The longest output that is read.
const LONGEST: usize = 4 * 1024 * 1024;

/// Where the programs are. `PATH` is not used: this process may be root's.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Reads the output of a program. Returns false if it has another form.
type Reader = fn(&str, &mut Marks) -> bool;

/// Without `-t` iptables-save prints the tables that exist. With it, it would load a module.
const PROGRAMS: [(&str, &[&str], Reader); 3] = [
    ("nft", &["-j", "list", "ruleset"], of_nft),
    ("iptables-save", &[], of_iptables),
    ("ip6tables-save", &[], of_iptables),
];

/// Asks every program that is installed.
pub(super) async fn look() -> Seen<Marks> {
    let mut marks = Marks::default();
    let mut failed = Vec::new();
    for (program, arguments, read) in PROGRAMS {
        let paths = DIRECTORIES.into_iter().map(|directory| Path::new(directory).join(program));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else { continue };
        let words =
            [path.display().to_string()].into_iter().chain(arguments.iter().map(|word| (*word).to_owned()));
        match output(&words.collect::<Vec<String>>()).await {
            Ok(text) if read(&text, &mut marks) => marks.asked.push(program.to_owned()),
            Ok(_) => failed.push(format!("{program} printed something unknown")),
            Err(why) => failed.push(format!("{program}: {why}")),
        }
    }
    match (marks.asked.is_empty(), failed.is_empty()) {
        (false, true) => Ok(marks),
        // A program that failed may have the rule.
        (false, false) if marks.is_empty() => Err(failed.join("; ")),
        (false, false) => Ok(marks),
        (true, true) => Err("neither nft nor iptables-save is installed".to_owned()),
        (true, false) => Err(failed.join("; ")),
    }
}

/// The output of a program.
async fn output(words: &[String]) -> Result<String, String> {
    let mut output = Vec::new();
    let run = async {
        let running = command::start(words, None, || {}).await.map_err(|error| cause(&error).to_string())?;
        let ended = running.end(|piece| {
            let room = (LONGEST + 1).saturating_sub(output.len());
            output.extend_from_slice(&piece[..piece.len().min(room)]);
        });
        let status = ended.await.map_err(|error| cause(&error).to_string())?.status;
        if status.success() { Ok(()) } else { Err(format!("{status}; run check as root")) }
    };
    match timeout(LIMIT, run).await {
        Ok(result) => result?,
        Err(_) => return Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
    if output.len() > LONGEST {
        return Err(format!("more than {} MiB of rules", LONGEST / 1024 / 1024));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Reads the output of `nft -j list ruleset`. False if it is not JSON.
fn of_nft(text: &str, marks: &mut Marks) -> bool {
    let json = text.lines().find(|line| line.starts_with('{')).map(serde_json::from_str::<Value>);
    match json {
        Some(Ok(rules)) => {
            walk(&rules, marks);
            true
        }
        _ => false,
    }
}

/// Finds the statements of nftables (libnftables-json(5)) that set a mark or change the source of packets.
fn walk(value: &Value, marks: &mut Marks) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, marks)),
        Value::Object(fields) => {
            if let Some(statement) = fields.get("mangle") {
                let key = &statement["key"];
                let is_mark = [&key["meta"]["key"], &key["ct"]["key"]].into_iter().any(|key| key == "mark");
                match statement["value"].as_u64().map(u32::try_from) {
                    _ if !is_mark => {}
                    Some(Ok(mark)) => drop(marks.set.insert(mark)),
                    _ => marks.computed = true,
                }
            }
            marks.changes_source |= fields.contains_key("masquerade") || fields.contains_key("snat");
            fields.values().for_each(|value| walk(value, marks));
        }
        _ => {}
    }
}

/// Reads the output of `iptables-save` (iptables-extensions(8)). True: any text is one, also an empty one.
fn of_iptables(text: &str, marks: &mut Marks) -> bool {
    for line in text.lines().filter(|line| line.starts_with("-A ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(target) = words.iter().position(|word| *word == "-j").and_then(|at| words.get(at + 1))
        else {
            continue;
        };
        match *target {
            "MASQUERADE" | "SNAT" => marks.changes_source = true,
            "MARK" | "CONNMARK" => {
                let option = words.iter().position(|word| matches!(*word, "--set-xmark" | "--set-mark"));
                match option.and_then(|at| number(words.get(at + 1)?)) {
                    Some(mark) => drop(marks.set.insert(mark)),
                    None if words.contains(&"--save-mark") => {}
                    None => marks.computed = true,
                }
            }
            _ => {}
        }
    }
    true
}

/// A mark as `iptables-save` prints it, such as `0x5/0xffffffff`.
fn number(text: &str) -> Option<u32> {
    let value = text.split('/').next()?;
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(set: &[u32], computed: bool, changes_source: bool) -> Marks {
        Marks { asked: Vec::new(), set: set.iter().copied().collect(), computed, changes_source }
    }

    #[test]
    fn marks_of_nftables_are_found() {
        let rule = |statement: &str| {
            format!(
                "# Warning: a table is managed by iptables\n{{\"nftables\":[{{\"metainfo\":{{}}}},{{\"rule\":{{\"expr\":[{statement}]}}}}]}}\n"
            )
        };
        for (statement, expected) in [
            (r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":5}}"#, marks(&[5], false, false)),
            (r#"{"mangle":{"key":{"ct":{"key":"mark"}},"value":7}}"#, marks(&[7], false, false)),
            (r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"map":{}}}}"#, marks(&[], true, false)),
            (r#"{"mangle":{"key":{"meta":{"key":"priority"}},"value":5}}"#, marks(&[], false, false)),
            (r#"{"masquerade":null}"#, marks(&[], false, true)),
            (r#"{"match":{"left":{"meta":{"key":"mark"}},"right":5}}"#, marks(&[], false, false)),
        ] {
            let mut found = Marks::default();
            assert!(of_nft(&rule(statement), &mut found), "{statement}");
            assert_eq!(found, expected, "{statement}");
        }
        assert!(!of_nft(
            "netlink: Error: cache initialization failed: Operation not permitted\n",
            &mut Marks::default()
        ));
    }

    #[test]
    fn marks_of_iptables_are_found() {
        let text = "*mangle\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x5/0xffffffff\n\
            -A PREROUTING -d 192.0.2.2/32 -j CONNMARK --set-xmark 0x10/0xffffffff\n\
            -A PREROUTING -m mark --mark 0x63 -j ACCEPT\n\
            -A POSTROUTING -j CONNMARK --save-mark\nCOMMIT\n";
        let mut found = Marks::default();
        assert!(of_iptables(text, &mut found));
        assert_eq!(found, marks(&[5, 16], false, false));
        assert!(of_iptables(
            "-A PREROUTING -j CONNMARK --restore-mark\n-A POSTROUTING -j MASQUERADE\n",
            &mut found
        ));
        assert_eq!(found, marks(&[5, 16], true, true));
    }

    #[tokio::test]
    async fn a_program_is_limited_in_time_and_its_failure_has_a_reason() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
        assert_eq!(output(&words("/bin/echo one two")).await.unwrap(), "one two\n");
        assert!(output(&words("/bin/false")).await.unwrap_err().contains("run check as root"));
        assert!(output(&words("/no/such/program")).await.is_err());
        assert!(output(&words("/bin/sleep 60")).await.unwrap_err().contains("within 3 s"));
        assert!(output(&words("/usr/bin/head -c 5000000 /dev/zero")).await.unwrap_err().contains("4 MiB"));
    }
}
