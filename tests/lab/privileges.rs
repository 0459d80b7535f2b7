//! The privileges of the daemon and its commands, as the kernel reports them: as root, as a user of its own, and in
//! the sandbox. In each case the daemon does all of its work.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::director::{Director, Scene};
use crate::network::{Family, Path, Spec};
use crate::table::Table;
use crate::wait::until;

const SOON: Duration = Duration::from_secs(60);

/// Bits of capability(7).
const DAC_OVERRIDE: u64 = 1 << 1;
const KILL: u64 = 1 << 5;
const SETPCAP: u64 = 1 << 8;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;

/// A user that every Debian has.
const NOBODY: &str = "65534";

/// Records the privileges of a command, and whether it can write where it must not. Starting programs is slow in an
/// emulated machine, so the shell does it alone.
const COMMAND: &str = "#!/bin/sh\n\
    note=/run/ldirectord-rs/${0##*/}\n\
    while read -r line; do echo \"$line\"; done < /proc/self/status > $note.$$\n\
    if (: > /var/tmp/written-by-a-command) 2> /dev/null; then echo Elsewhere: yes; else echo Elsewhere: no; fi >> $note.$$\n\
    [ -e $note ] || mv $note.$$ $note\n";

/// The lines of a status file of proc(5), the first value of each.
fn status(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, values) = line.split_once(':')?;
        Some((name.to_owned(), values.split_whitespace().next().unwrap_or_default().to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

fn capabilities(status: &BTreeMap<String, String>, set: &str) -> u64 {
    u64::from_str_radix(&status[set], 16).unwrap()
}

/// The daemon's privileges.
fn daemon(director: &Director) -> BTreeMap<String, String> {
    let pid = director.pid().unwrap();
    status(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap())
}

/// What a command recorded.
fn noted(director: &Director, name: &str) -> BTreeMap<String, String> {
    let path = director.file("run").join("ldirectord-rs").join(name);
    until(&format!("what {name} notes"), SOON, || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("Elsewhere") { Ok(status(&text)) } else { Err(director.log()) }
    })
}

/// A director that checks by HTTP, ping and command, and has a fallbackcommand.
struct Fixture {
    scene: Scene,
    up: Table,
    one: Table,
    none: Table,
}

impl Fixture {
    fn new(settings: &[(&'static str, &str)]) -> Fixture {
        let mut scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
        for server in &scene.network.servers {
            server.web.page("/", "fine");
        }
        let director = &mut scene.directors[0];
        director.settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        for name in ["check", "fallback"] {
            let path = director.file("ha.d").join(name);
            fs::write(&path, COMMAND).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let [a, b] = [0, 1].map(|number: usize| scene.network.servers[number].address);
        let services = [80, 81, 82].map(|port| scene.network.service(port));
        let servers = format!("\treal={a} gate\n\treal={b} gate\n");
        director_text(&scene, &services, &servers);
        let table = |weights: [u32; 2]| {
            services.iter().enumerate().fold(Table::default(), |table, (index, service)| {
                let weights = if index == 0 { weights } else { [1, 1] };
                let port = |mut server: std::net::SocketAddr| {
                    server.set_port(service.port());
                    server
                };
                let table = table.service(*service, "wrr");
                table.server(*service, port(a), "-g", weights[0]).server(*service, port(b), "-g", weights[1])
            })
        };
        let (up, one, none) = (table([1, 1]), table([0, 1]), table([0, 0]));
        Fixture { scene, up, one, none }
    }

    fn director(&self) -> &Director {
        &self.scene.directors[0]
    }

    /// A whole life: servers fail and return, the file is reloaded, the daemon is replaced and stops.
    fn live(&mut self) {
        self.director().comes_to(&self.up, SOON);
        self.scene.network.servers[0].web.stop();
        self.director().comes_to(&self.one, SOON);
        self.director().must("reload");
        self.scene.network.servers[1].web.stop();
        self.director().comes_to(&self.none, SOON);
        self.scene.network.servers.iter_mut().for_each(|server| server.web.start());
        self.director().comes_to(&self.up, SOON);
        self.director().must("restart");
        self.director().comes_to(&self.up, SOON);
    }

    fn end(&self) {
        self.director().must("stop");
        self.director().comes_to(&Table::default(), SOON);
        let said = self.director().say("status");
        assert_eq!(said.status.code(), Some(3), "{said:?}");
    }
}

fn director_text(scene: &Scene, services: &[std::net::SocketAddr; 3], servers: &str) {
    let servers = servers.replace(":80", "");
    let mut text = "checkinterval=2\nchecktimeout=10\nquiescent=yes\nfallbackcommand=/etc/ha.d/fallback\n\
                    logfile=\"/var/log/ldirectord.log\"\n"
        .to_owned();
    let checks = [
        "service=http\n\tchecktype=negotiate",
        "checktype=ping",
        "checktype=external\n\tcheckcommand=/etc/ha.d/check",
    ];
    for (service, check) in services.iter().zip(checks) {
        text += &format!("virtual={service}\n{servers}\t{check}\n");
    }
    scene.directors[0].configure(&text);
}

/// R53
#[test]
fn root_keeps_what_it_needs_and_its_commands_are_as_ever() {
    let mut fixture = Fixture::new(&[]);
    fixture.director().must("start");
    fixture.live();
    let daemon = daemon(fixture.director());
    let kept = NET_ADMIN | DAC_OVERRIDE | KILL | SETPCAP;
    assert_eq!((daemon["Uid"].as_str(), capabilities(&daemon, "CapEff")), ("0", kept));
    assert_eq!(capabilities(&daemon, "CapPrm"), kept);
    for name in ["check", "fallback"] {
        let command = noted(fixture.director(), name);
        assert_eq!(capabilities(&command, "CapEff"), capabilities(&daemon, "CapBnd"), "{name}: {command:?}");
        assert_eq!(command["Elsewhere"], "yes");
    }
    fixture.end();
}

#[test]
fn a_user_of_its_own_does_the_whole_work() {
    let mut fixture = Fixture::new(&[("LDIRECTORD_RS_PRIVILEGES__USER", "nobody")]);
    fixture.director().must("start");
    fixture.live();
    let daemon = daemon(fixture.director());
    assert_eq!((daemon["Uid"].as_str(), capabilities(&daemon, "CapEff")), (NOBODY, NET_ADMIN));
    assert_eq!(capabilities(&daemon, "CapPrm"), NET_ADMIN);
    assert_eq!(capabilities(&daemon, "CapBnd"), NET_ADMIN | NET_RAW);
    for name in ["check", "fallback"] {
        let command = noted(fixture.director(), name);
        assert_eq!((command["Uid"].as_str(), capabilities(&command, "CapPrm")), (NOBODY, 0), "{command:?}");
    }
    fixture.end();
}

#[test]
fn in_the_sandbox_nothing_is_written_elsewhere() {
    let mut fixture = Fixture::new(&[("LDIRECTORD_RS_PRIVILEGES__SANDBOX", "true")]);
    fixture.director().must("start");
    fixture.live();
    let daemon = daemon(fixture.director());
    assert_eq!(daemon["NoNewPrivs"], "1");
    for name in ["check", "fallback"] {
        assert_eq!(noted(fixture.director(), name)["Elsewhere"], "no", "{name}");
    }
    fixture.end();
}

#[test]
fn a_user_that_cannot_be_is_refused_and_says_why() {
    let fixture = Fixture::new(&[("LDIRECTORD_RS_PRIVILEGES__USER", "no-such-user")]);
    let said = fixture.director().say("start");
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.text.contains("no-such-user") && said.text.contains("create it"), "{said:?}");
    assert!(fixture.director().table().is_empty());

    let fixture = Fixture::new(&[("LDIRECTORD_RS_PRIVILEGES__USER", "nobody")]);
    let file = fixture.director().file("ha.d").join("lab.cf");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let said = fixture.director().say("start");
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.text.contains("lab.cf cannot be read by nobody") && said.text.contains("chgrp"), "{said:?}");
    assert!(fixture.director().table().is_empty());
}
