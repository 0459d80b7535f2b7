//! Parse equality: ours reads every configuration of the corpus as the original does, or an id explains why not.
//!
//! `tests/compat/record-corpus.py` records the original; `UPDATE_GOLDEN=1 cargo test corpus` writes ours for the cases
//! that have an id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ldirectord_rs::config::{
    self, Alert, AlertStatus, Answers, CheckType, Config, Globals, HttpMethod, LogTarget, NameQuestion,
    Netmask, Original, Severity, Virtual,
};
use ldirectord_rs::value::{Family, Protocol, VirtualId};

use crate::cases::{Case, File, quoted, short};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus")
}

/// The hosts and services with which the original was recorded.
struct Known {
    hosts: Vec<(std::net::IpAddr, String)>,
    services: Vec<(String, u16, Protocol)>,
}

impl Known {
    fn read() -> Known {
        let rows = |name: &str| -> Vec<Vec<String>> {
            let text = fs::read_to_string(directory().join(name)).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        let mut known = Known { hosts: Vec::new(), services: Vec::new() };
        for row in rows("hosts") {
            let address = row[0].parse().unwrap();
            known.hosts.extend(row[1..].iter().map(|name| (address, name.clone())));
        }
        for row in rows("services") {
            let (port, protocol) = row[1].split_once('/').unwrap();
            let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
            let names = row.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, name)| name);
            known.services.extend(names.map(|name| (name.clone(), port.parse().unwrap(), protocol)));
        }
        known
    }

    /// The answers to all questions of a text.
    fn answers(&self, text: &[u8]) -> Answers {
        let mut answers = Answers::new("director.example");
        for question in config::questions(text) {
            match question {
                // The original has no directives for such files, so the corpus names none.
                NameQuestion::File(_) => {}
                NameQuestion::Host { name, family } => {
                    let found = self.hosts.iter().find(|(address, known)| {
                        known.eq_ignore_ascii_case(&name) && Family::of(*address) == family
                    });
                    found.iter().for_each(|(address, _)| answers.add_host(name.clone(), family, *address));
                }
                NameQuestion::Port { name, protocol } => {
                    let found = self
                        .services
                        .iter()
                        .find(|(known, _, of)| *known == name && protocol.is_none_or(|wanted| wanted == *of));
                    found.iter().for_each(|(_, port, _)| answers.add_port(name.clone(), protocol, *port));
                }
            }
        }
        answers
    }
}

/// How ours reads a text, in the notation of the corpus.
fn ours(text: &[u8], known: &Known) -> Vec<String> {
    let loaded = config::load(text, &known.answers(text));
    let first = loaded.diagnostics.iter().find(|found| found.severity == Severity::Error);
    let Some(config) = loaded.config else {
        let error = first.unwrap();
        return vec![short(&format!("refused {}: {}", error.line, escape(&error.message)))];
    };
    let mut out = vec!["accepted".to_owned()];
    for found in loaded.diagnostics.iter().filter(|found| found.original == Original::Warns) {
        // The original names no line for this error.
        let lineless = found.one_line(1, "x").starts_with("Warning [1]: ");
        let line = if lineless { "-".to_owned() } else { found.line.to_string() };
        out.push(format!(" warning {line}: {}", escape(&found.message)));
    }
    out.extend(canonical(&config));
    out
}

fn escape(text: &str) -> String {
    let quoted = quoted(text.as_bytes()).replace("\\x22", "\"");
    quoted[1..quoted.len() - 1].to_owned()
}

/// A configuration in the notation of the corpus, without defaults.
fn canonical(config: &Config) -> Vec<String> {
    let mut out = globals(&config.globals);
    for v in &config.virtuals {
        out.extend(virtual_service(v));
    }
    out
}

fn globals(globals: &Globals) -> Vec<String> {
    let mut out = Vec::new();
    let mut line = |name: &str, value: String, default: &str| {
        if value != default {
            out.push(format!(" global {name} {value}"));
        }
    };
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    line("checkinterval", globals.checkinterval.as_secs().to_string(), "10");
    line("autoreload", word(globals.autoreload), "no");
    line("callback", globals.callback.as_ref().map(|text| quoted(text.as_bytes())).unwrap_or_default(), "");
    let target = match &globals.logfile {
        LogTarget::File(path) => path.to_string_lossy().into_owned(),
        LogTarget::Syslog(facility) => facility.clone(),
    };
    line("logfile", quoted(target.as_bytes()), "\"/var/log/ldirectord.log\"");
    for name in &globals.execute {
        line("execute", quoted(name.as_bytes()), "");
    }
    line("fork", word(globals.fork), "no");
    line("supervised", word(globals.supervised), "no");
    line("readdquiescent", word(globals.readdquiescent), "no");
    let optional = |text: Option<String>| text.map(|text| quoted(text.as_bytes())).unwrap_or_default();
    line("emailalertfrom", optional(globals.emailalertfrom.clone()), "");
    let directory = globals.maintenancedir.as_ref().map(|path| path.to_string_lossy().into_owned());
    line("maintenancedir", optional(directory), "");
    out
}

fn virtual_service(v: &Virtual) -> Vec<String> {
    let place = match v.id {
        VirtualId::Address { protocol, address } => format!("{protocol} {address}"),
        VirtualId::Mark { mark, family: Family::V4 } => format!("fwm {mark}"),
        VirtualId::Mark { mark, family: Family::V6 } => format!("fwm6 {mark}"),
    };
    let mut head = format!(" virtual {place} {}", v.scheduling.scheduler);
    if let Some(seconds) = v.scheduling.persistent {
        let _ = write!(head, " persistent {seconds}");
    }
    match v.scheduling.netmask {
        Some(Netmask::V4(mask)) => _ = write!(head, " netmask {mask}"),
        Some(Netmask::V6(prefix)) => _ = write!(head, " netmask {prefix}"),
        None => {}
    }
    if v.scheduling.ops {
        head.push_str(" ops");
    }
    if let Some(flags) = &v.scheduling.schedflags {
        let _ = write!(head, " schedflags {}", quoted(flags.as_bytes()));
    }
    let mut out = vec![head, check(v)];
    out.extend(settings(v));
    for real in &v.reals {
        let mut line = format!("  real {} {} {}", real.address, real.method, real.weight);
        for (name, threshold) in [("l", real.lower), ("u", real.upper)] {
            if threshold != 0 {
                let _ = write!(line, " {name} {threshold}");
            }
        }
        if let Some(request) = &real.request {
            let receive = real.receive.as_ref().map(|pattern| pattern.source()).unwrap_or_default();
            let (request, receive) = (quoted(request.as_bytes()), quoted(receive.as_bytes()));
            let _ = write!(line, " request {request} receive {receive}");
        }
        out.push(line);
    }
    if let Some(fallback) = v.fallback {
        let port = fallback.port.or(v.id.port()).unwrap_or(0);
        let address = std::net::SocketAddr::new(fallback.address, port);
        out.push(format!("  fallback {address} {}", fallback.method));
    }
    out
}

fn check(v: &Virtual) -> String {
    let kind = match v.check.checktype {
        CheckType::Connect => "connect".to_owned(),
        CheckType::Negotiate => "negotiate".to_owned(),
        CheckType::Ping => "ping".to_owned(),
        CheckType::Off => "off".to_owned(),
        CheckType::On => "on".to_owned(),
        CheckType::External => "external".to_owned(),
        CheckType::ExternalPerl => "external-perl".to_owned(),
        CheckType::Combined(count) => format!("combined {count}"),
    };
    let (check, negotiate) = (v.timing.checktimeout.as_secs(), v.timing.negotiatetimeout.as_secs());
    format!("  check {kind} {} {check} {negotiate}", v.check.service.as_str())
}

/// The settings between the check and the real servers, in the order of the recorder.
fn settings(v: &Virtual) -> Vec<String> {
    let mut out = Vec::new();
    let mut line = |name: &str, value: String, default: &str| {
        if value != default {
            out.push(format!("  {name} {value}"));
        }
    };
    let text = |text: &str| quoted(text.as_bytes());
    let optional = |value: &Option<String>| value.as_deref().map(text).unwrap_or_default();
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    line("interval", v.timing.checkinterval.as_secs().to_string(), "10");
    line("checkcount", v.timing.checkcount.to_string(), "1");
    line("failurecount", v.failurecount.to_string(), "1");
    line("checkport", v.check.checkport.map(|port| port.to_string()).unwrap_or_default(), "");
    line("checkcommand", text(&v.check.checkcommand), "\"/bin/true\"");
    line("request", text(&v.check.request), "\"/\"");
    line(
        "receive",
        text(v.check.receive.as_ref().map(|pattern| pattern.source()).unwrap_or_default()),
        "\"\"",
    );
    line("login", text(&v.check.credentials.login), "\"\"");
    line("passwd", text(v.check.credentials.password().reveal()), "\"\"");
    line("database", text(&v.check.credentials.database), "\"\"");
    line("secret", text(v.check.credentials.shared_secret().reveal()), "\"\"");
    line("httpmethod", if v.check.httpmethod == HttpMethod::Head { "HEAD" } else { "GET" }.to_owned(), "GET");
    line("quiescent", word(v.quiescent), "no");
    line("cleanstop", word(v.cleanstop), "yes");
    alert(&v.alert, &mut line);
    line("fallbackcommand", optional(&v.fallbackcommand), "");
    line("virtualhost", optional(&v.check.virtualhost), "");
    let file = v.notes.monitorfile.as_ref().map(|path| path.to_string_lossy().into_owned());
    line("monitorfile", optional(&file), "");
    line("servicename", optional(&v.notes.servicename), "");
    line("comment", optional(&v.notes.comment), "");
    out
}

fn alert(alert: &Alert, line: &mut dyn FnMut(&str, String, &str)) {
    let AlertStatus { starting, running, stopping, reloading } = alert.status;
    let states =
        [(starting, "starting"), (running, "running"), (stopping, "stopping"), (reloading, "reloading")];
    let states: Vec<&str> = states.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let states = if states.is_empty() { "none".to_owned() } else { states.join(",") };
    line("emailalert", quoted(alert.recipients.as_bytes()), "\"\"");
    line("emailalertfreq", alert.frequency.as_secs().to_string(), "0");
    line("emailalertstatus", states, "starting,running,stopping,reloading");
    line(
        "smtp",
        alert.smtp.as_ref().map(|relay| quoted(relay.to_string().as_bytes())).unwrap_or_default(),
        "",
    );
}

/// Whether ours agrees with the original. Of a refusal only the line counts: our message may be better.
fn same(original: &[String], ours: &[String]) -> bool {
    let line = |verdict: &String| verdict.split(':').next().unwrap_or_default().to_owned();
    // The original opens a file without the blanks at the end of its name, and keeps them in memory.
    let as_opened = |line: &String| match line.strip_prefix("  monitorfile ") {
        Some(_) => format!("{}\"", line.trim_end_matches('"').trim_end()),
        None => line.clone(),
    };
    let original: Vec<String> = original.iter().map(as_opened).collect();
    match (&*original, ours) {
        ([original], [ours]) if ours.starts_with("refused") => {
            line(original) == format!("original {}", line(ours))
        }
        _ => {
            let original = original.iter().map(|line| line.strip_prefix("original ").unwrap_or(line));
            original.eq(ours.iter().map(String::as_str))
        }
    }
}

/// What is wrong with a case, if anything.
fn judge(case: &Case, ours: &[String]) -> Option<String> {
    let equal = same(&case.original, ours);
    let recorded: Vec<&str> =
        case.ours.iter().map(|line| line.strip_prefix("ours ").unwrap_or(line)).collect();
    match &case.id {
        None if equal => None,
        None => Some(format!("differs\n{}\nours {}", case.original.join("\n"), ours.join("\n"))),
        Some(id) if equal => Some(format!("has the id {id}, but does not differ")),
        Some(_) if recorded == ours => None,
        Some(id) => Some(format!(
            "({id}) is not as recorded\nours {}\nrecorded {}",
            ours.join("\n"),
            recorded.join("\n")
        )),
    }
}

#[test]
fn corpus_is_judged_as_by_the_original() {
    let known = Known::read();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let reasons = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compat.md")).unwrap();
    let mut differ: BTreeMap<String, usize> = BTreeMap::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    let entries = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    for path in paths {
        let mut file = File::parse(&fs::read_to_string(&path).unwrap());
        let mut names = BTreeSet::new();
        for case in &mut file.cases {
            cases += 1;
            assert!(names.insert(case.name.clone()), "{} occurs twice in {}", case.name, path.display());
            let found = ours(&case.text, &known);
            if let Some(id) = &case.id {
                *differ.entry(id.clone()).or_default() += 1;
                if update {
                    case.ours = found.clone();
                    case.ours[0].insert_str(0, "ours ");
                }
            }
            if let Some(what) = judge(case, &found) {
                wrong.push(format!("{}: {} {what}\n", path.file_name().unwrap().display(), case.name));
            }
        }
        if update {
            fs::write(&path, file.render()).unwrap();
        }
    }
    let different: usize = differ.values().sum();
    let by_id: Vec<String> = differ.iter().map(|(id, count)| format!("{id} {count}")).collect();
    println!("{cases} cases, {} equal, {different} different: {}", cases - different, by_id.join(", "));
    for id in differ.keys().filter(|id| !reasons.contains(&format!("\n### {id} "))) {
        wrong.push(format!("docs/compat.md gives no reason for {id}"));
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// The configurations of the corpus, of the scenarios and of the samples, each with its name.
fn texts() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.is_file());
        paths.sort();
        paths
    };
    let mut texts = Vec::new();
    for path in files("tests/data/corpus").iter().filter(|path| path.extension().is_some()) {
        let cases = File::parse(&fs::read_to_string(path).unwrap()).cases;
        texts.extend(cases.into_iter().map(|case| (case.name, case.text)));
    }
    for path in files("tests/compat/scenarios") {
        let text = fs::read_to_string(&path).unwrap();
        for part in format!("\n{text}").split("\n%config").skip(1) {
            let body = part.split_once('\n').map_or("", |(_, body)| body);
            let body = format!("{}\n", body.split("\n%").next().unwrap_or_default());
            texts.push((path.display().to_string(), body.into_bytes()));
        }
    }
    let samples = ["tests/data/samples/book", "tests/data/samples/school", "etc"];
    let is_config = |path: &&PathBuf| path.extension().is_some_and(|end| end == "cf");
    for path in samples.iter().flat_map(|folder| files(folder)).filter(|path| is_config(&path)) {
        texts.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    texts
}

/// The configuration of a text, if it has no error, without the positions of its parts in the file.
fn without_lines(text: &[u8], answers: &Answers) -> Option<Config> {
    let mut config = config::load(text, answers).config?;
    for v in &mut config.virtuals {
        v.line = 0;
        v.reals.iter_mut().for_each(|real| real.line = 0);
    }
    Some(config)
}

#[test]
fn each_configuration_is_written_and_read_as_the_same() {
    let known = Known::read();
    let mut count = 0;
    for (name, text) in texts() {
        let Some(config) = without_lines(&text, &known.answers(&text)) else { continue };
        count += 1;
        let written = config::write(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Nothing in it needs a lookup.
        let again = without_lines(written.as_bytes(), &Answers::new("another.example"));
        assert_eq!(again, Some(config), "{name} is written as\n{written}");
        assert_eq!(config::questions(written.as_bytes()), [], "{name} is written as\n{written}");
    }
    assert!(count > 900, "{count}");
}
