//! Writes the files of docs/first-hour.md and runs its commands in order, each on its machine. The output that the
//! page shows must appear.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::netns::NetNs;
use crate::wait::until;

const GUIDE: &str = include_str!("../../docs/first-hour.md");

/// The machines of the guide: name, network and address of each interface.
const MACHINES: [(&str, &[(&str, &str)]); 6] = [
    ("director", &[("front", "192.168.12.130/24"), ("back", "10.0.0.1/24")]),
    ("real1", &[("front", "192.168.12.132/24")]),
    ("real2", &[("front", "192.168.12.133/24")]),
    ("real3", &[("back", "10.0.0.3/24")]),
    ("real4", &[("back", "10.0.0.4/24")]),
    ("client", &[("front", "192.168.12.10/24")]),
];

/// The folders of each machine.
const FOLDERS: [&str; 7] =
    ["/etc/ha.d", "/run", "/var/log", "/srv", "/usr/local/sbin", "/etc/sysctl.d", "/etc/modules-load.d"];

/// The book checks every 10 s with a limit of 20 s.
const SOON: Duration = Duration::from_secs(60);

/// A step of the guide.
#[derive(Debug)]
enum Step {
    /// A block `text MACHINE,MACHINE:/PATH`: a file.
    File { machines: Vec<String>, path: String, text: String },
    /// A line `MACHINE# COMMAND` or `MACHINE$ COMMAND` of a block `console`, and the lines that its output must
    /// contain.
    Command { machine: String, line: String, shown: Vec<String> },
}

/// The machines and their network.
struct Site {
    machines: BTreeMap<&'static str, NetNs>,
    files: TempDir,
    /// Held, because it ends with its last holder.
    _switch: NetNs,
}

#[test]
fn the_first_hour() {
    let steps = steps(GUIDE);
    assert!(steps.len() > 40, "{steps:?}");
    let site = Site::new();
    for step in &steps {
        match step {
            Step::File { machines, path, text } => {
                for machine in machines {
                    fs::write(site.place(machine, path), text).unwrap();
                }
            }
            Step::Command { machine, line, shown } if shown.is_empty() => {
                site.run(machine, line).unwrap_or_else(|said| panic!("{machine}: {line}\n{said}"));
            }
            // The expected output may take its time to appear; commands that show something change nothing.
            Step::Command { machine, line, shown } => until(&format!("{machine}: {line}"), SOON, || {
                let said = site.run(machine, line)?;
                shows(&said, shown).map_err(|missing| format!("missing: {missing}\noutput:\n{said}"))
            }),
        }
    }
}

#[test]
fn the_guide_has_the_samples_as_they_are() {
    for sample in [
        include_str!("../data/samples/book/ldirectord.cf"),
        include_str!("../data/samples/book/lvsrs"),
        include_str!("../data/samples/school/ldirectord.cf"),
    ] {
        let has = |step: &Step| matches!(step, Step::File { text, .. } if text == sample);
        assert!(steps(GUIDE).iter().any(has), "not in the guide:\n{sample}");
    }
}

#[test]
fn what_is_shown_must_be_said() {
    let said = "head\n  -> 10.0.0.1:80   Route   1  0 0\nlast\n";
    let check =
        |shown: &[&str]| shows(said, &shown.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
    assert_eq!(check(&["-> 10.0.0.1:80 Route 1 …", "last"]), Ok(()));
    assert_eq!(check(&["…Route 1…"]), Ok(()));
    assert!(check(&["last", "head"]).is_err(), "another order");
    assert!(check(&["-> 10.0.0.1:80 Route"]).is_err(), "half a line");
    assert!(check(&["-> 10.0.0.1:80 Route 2 …"]).is_err());
}

fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let words: Vec<&str> = mark.split_whitespace().collect();
        match words[..] {
            ["console"] => steps.extend(commands(&block)),
            // Run by `make package-test`.
            ["console", "install"] => {}
            [_, place] => {
                let (machines, path) =
                    place.split_once(':').unwrap_or_else(|| panic!("no machine and path: {line}"));
                let machines = machines.split(',').map(str::to_owned).collect();
                let text = block.iter().flat_map(|line| [line, "\n"]).collect();
                steps.push(Step::File { machines, path: path.to_owned(), text });
            }
            _ => panic!("unknown kind of block: {line}"),
        }
    }
    steps
}

fn commands(block: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        let prompt = line.split_once("# ").or_else(|| line.split_once("$ "));
        let known = prompt.filter(|(name, _)| MACHINES.iter().any(|(machine, _)| machine == name));
        match (known, steps.last_mut()) {
            (Some((machine, line)), _) => steps.push(Step::Command {
                machine: machine.to_owned(),
                line: line.to_owned(),
                shown: Vec::new(),
            }),
            (None, Some(Step::Command { shown, .. })) => shown.push((*line).to_owned()),
            (None, _) => panic!("output without a command: {line}"),
        }
    }
    steps
}

/// Whether the output contains all shown lines in this order. Blanks count once, and `…` matches anything.
fn shows(said: &str, shown: &[String]) -> Result<(), String> {
    let normal = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said = said.lines().map(normal);
    for line in shown {
        let pattern = normal(line);
        if !said.any(|line| matches(&line, &pattern)) {
            return Err(line.clone());
        }
    }
    Ok(())
}

fn matches(line: &str, pattern: &str) -> bool {
    let Some((first, others)) = pattern.split_once('…') else { return line == pattern };
    let Some(mut rest) = line.strip_prefix(first.trim_end()) else { return false };
    let parts: Vec<&str> = others.split('…').map(str::trim).collect();
    let (last, middle) = parts.split_last().unwrap_or((&"", &[]));
    for part in middle {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Site {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        fs::create_dir(files.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_ldirectord-rs"), files.path().join("bin/ldirectord-rs")).unwrap();
        let switch = NetNs::new("switch");
        let mut wiring = String::new();
        for bridge in ["front", "back"] {
            wiring
                .push_str(&format!("link add {bridge} type bridge forward_delay 0\nlink set {bridge} up\n"));
        }
        let mut machines = BTreeMap::new();
        for (name, cables) in MACHINES {
            let binds: Vec<(PathBuf, &Path)> = FOLDERS
                .iter()
                .map(|folder| {
                    let source = files.path().join(name).join(&folder[1..]);
                    fs::create_dir_all(&source).unwrap();
                    fs::create_dir_all(folder).unwrap();
                    (source, Path::new(*folder))
                })
                .collect();
            let binds: Vec<_> = binds.iter().map(|(source, target)| (source.as_path(), *target)).collect();
            let netns = NetNs::with_mounts(name, &binds);
            for (number, (bridge, _)) in cables.iter().enumerate() {
                let (end, path) = (format!("{name}-{number}"), netns.path());
                wiring.push_str(&format!(
                    "link add {end} type veth peer name eth{number} netns {path}\nlink set {end} master {bridge} up\n"
                ));
            }
            machines.insert(name, netns);
        }
        switch.ip(&wiring);
        for (name, cables) in MACHINES {
            for (number, (_, address)) in cables.iter().enumerate() {
                machines[name].ip(&format!("addr add {address} dev eth{number}\nlink set eth{number} up"));
            }
        }
        Self { machines, files, _switch: switch }
    }

    /// The path at which the test sees a machine's file.
    fn place(&self, machine: &str, path: &str) -> PathBuf {
        self.files.path().join(machine).join(&path[1..])
    }

    /// Runs a line with bash and returns its output, also if it fails.
    fn run(&self, machine: &str, line: &str) -> Result<String, String> {
        // A file, not a pipe: a pipe would also wait for background processes.
        let path = self.files.path().join("said");
        let file = File::create(&path).unwrap();
        let own = self.files.path().join("bin");
        let search = format!("{}:{}", own.display(), "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin");
        let status = self.machines[machine].run(|| {
            Command::new("bash")
                .args(["-c", line])
                .env("PATH", search)
                .env("LC_ALL", "C.UTF-8")
                .stdin(Stdio::null())
                .stdout(file.try_clone().unwrap())
                .stderr(file)
                .status()
                .unwrap()
        });
        let said = fs::read_to_string(path).unwrap();
        if status.success() { Ok(said) } else { Err(format!("{status}\n{said}")) }
    }
}

impl Drop for Site {
    /// Ends all processes on the machines.
    fn drop(&mut self) {
        let number = |path: &Path| fs::metadata(path).ok().map(|meta| meta.ino());
        let networks: Vec<_> = self.machines.values().map(|netns| number(Path::new(&netns.path()))).collect();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && networks.contains(&number(&entry.path().join("ns/net")))
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
