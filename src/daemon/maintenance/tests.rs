//! Files named after servers, resolvers that do not answer, and directories that cannot be read.

use super::*;

fn rules(directory: &Path, names: &[(&str, &str)]) -> MaintenanceDir {
    let servers = ["10.0.0.2:80", "10.0.0.2:81", "10.0.0.3:80", "[fd00::2]:80"];
    let learned = Learned {
        names: names.iter().map(|(ip, name)| (ip.parse().unwrap(), (*name).to_owned())).collect(),
        silent: BTreeSet::new(),
        // No names are looked up in this test.
        asked: Some(far_future()),
        reported: BTreeSet::new(),
    };
    MaintenanceDir {
        directory: directory.to_owned(),
        servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
        learned: Arc::new(Mutex::new(learned)),
        look_up: silent,
    }
}

fn silent(address: IpAddr) -> Result<String, ResolveError> {
    Err(ResolveError::Failed { name: address.to_string(), cause: "try again".to_owned() })
}

/// The rules of a spec with the given resolver.
fn rules_of(text: &str, known: ServerNames, look_up: LookUp) -> MaintenanceDir {
    let known = Learned { names: known, ..Learned::default() };
    MaintenanceDir { look_up, ..MaintenanceDir::of(&crate::daemon::harness::spec(text), [], known).unwrap() }
}

#[test]
fn known_names_stay_known_while_the_resolver_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web2"), "").unwrap();
    let text = format!(
        "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
        directory.path().display()
    );
    let before = rules_of(&text, ServerNames::new(), |address| {
        Ok(format!("web{}.example.net", &address.to_string()[7..]))
    });
    let found = before.look().unwrap();
    assert_eq!(found.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2:80"]);
    let after = rules_of(&text, lock(&before.learned).names.clone(), silent);
    assert_eq!(after.look().unwrap(), found);
    let fewer =
        rules_of(&text.replace("\treal=10.0.0.2:80 masq\n", ""), lock(&before.learned).names.clone(), silent);
    assert_eq!(lock(&fewer.learned).names.len(), 1);
}

#[test]
fn a_silent_resolver_gets_one_round_then_others_come_first() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web"), "").unwrap();
    let text = format!(
        "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.1.1->10.0.1.200:80 masq\n",
        directory.path().display()
    );
    let rules = rules_of(&text, ServerNames::new(), silent);
    assert_eq!(rules.look().unwrap(), MaintainedServers::new());
    let asked = lock(&rules.learned).silent.clone();
    // A worker that started just before the last failure adds to the number.
    assert!((resolve::AT_ONCE..2 * resolve::AT_ONCE).contains(&asked.len()), "{}", asked.len());
    lock(&rules.learned).asked = None;
    assert_eq!(rules.look().unwrap(), MaintainedServers::new());
    let both = lock(&rules.learned).silent.clone();
    assert!(both.is_superset(&asked) && both.len() >= asked.len() + resolve::AT_ONCE, "{}", both.len());
}

/// A mistyped address matches no server, whatever the names of the servers are.
#[test]
fn a_foreign_address_is_reported_while_names_are_unknown() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["10.0.0.2", "10.0.0.77", "10.0.0.3:81", "[fd00::7]", "web3"] {
        fs::write(directory.path().join(file), "").unwrap();
    }
    let text = format!(
        "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
        directory.path().display()
    );
    let rules = rules_of(&text, ServerNames::new(), silent);
    rules.look().unwrap();
    let reported: Vec<String> = lock(&rules.learned).reported.iter().cloned().collect();
    assert_eq!(reported, ["10.0.0.3:81", "10.0.0.77", "[fd00::7]"]);
}

#[tokio::test]
async fn a_silent_resolver_does_not_delay_a_file_by_address() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["10.0.0.2", "web3"] {
        fs::write(directory.path().join(file), "").unwrap();
    }
    let text = format!(
        "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
        directory.path().display()
    );
    let rules = rules_of(&text, ServerNames::new(), |_| {
        std::thread::sleep(Duration::from_secs(1));
        Ok("web3.example.net".to_owned())
    });
    let keys = |found: MaintainedServers| found.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(rules.look_within(Duration::from_millis(50)).await.unwrap()), ["10.0.0.2:80"]);
    // Later calls find the names that were looked up in the meantime.
    let mut found = keys(rules.look().unwrap());
    for _ in 0..200 {
        if found.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = keys(rules.look().unwrap());
    }
    assert_eq!(found, ["10.0.0.2:80", "10.0.0.3:80"]);
}

#[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn check(files: &[&str], expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(directory.path().join(file), "").unwrap();
    }
    let names =
        [("10.0.0.2", "web2.example.net"), ("10.0.0.3", "X.example.net"), ("fd00::2", "six.example.net")];
    let found = rules(directory.path(), &names).look().unwrap();
    let found: Vec<String> = found.keys().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{files:?}");
}

#[test]
fn files_name_servers_by_address_and_by_name() {
    check(&[], &[]);
    check(&["10.0.0.2"], &["10.0.0.2:80", "10.0.0.2:81"]);
    check(&["10.0.0.2:81", "README"], &["10.0.0.2:81"]);
    check(&["[fd00::2]"], &["[fd00::2]:80"]);
    check(&["fd00::2"], &[]);
    check(&["web2.example.net"], &["10.0.0.2:80", "10.0.0.2:81"]);
    check(&["web2.example.net:80"], &["10.0.0.2:80"]);
    check(&["web2:81"], &["10.0.0.2:81"]);
    check(&["six", "web2"], &["10.0.0.2:80", "10.0.0.2:81", "[fd00::2]:80"]);
    // A short name has at least two characters, all of them lower case.
    check(&["X"], &[]);
    check(&["X.example.net"], &["10.0.0.3:80"]);
}

#[test]
fn no_directory_is_no_maintenance() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(rules(&directory.path().join("absent"), &[]).look().unwrap(), MaintainedServers::new());
}

#[tokio::test]
async fn a_file_that_comes_and_goes_is_seen_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let never = Duration::from_secs(3600);
    let mut maintenance = MaintenanceWatcher::observe(
        Some(rules(directory.path(), &[])),
        MaintainedServers::new(),
        never,
        false,
    );
    let path = directory.path().join("10.0.0.3");
    // The watch is active once the task has run for the first time.
    tokio::task::yield_now().await;
    fs::write(&path, "").unwrap();
    let found = next(&mut maintenance).await;
    assert_eq!(
        found.into_values().collect::<Vec<_>>(),
        [format!("Server in maintenance: {} exists", path.display())]
    );
    fs::remove_file(&path).unwrap();
    assert!(next(&mut maintenance).await.is_empty());
}

async fn next(maintenance: &mut MaintenanceWatcher) -> MaintainedServers {
    tokio::time::timeout(Duration::from_secs(5), maintenance.next()).await.unwrap()
}

/// The directory of the next test, for its resolver.
static SLOW_DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

#[test]
fn b1_files_that_come_while_names_are_asked_for_count() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web2"), "").unwrap();
    *SLOW_DIRECTORY.lock().unwrap() = Some(directory.path().to_owned());
    let text = format!(
        "maintenancedir={}\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n",
        directory.path().display()
    );
    let rules = rules_of(&text, ServerNames::new(), |address| {
        let directory = SLOW_DIRECTORY.lock().unwrap().clone().unwrap();
        let _ = fs::remove_file(directory.join("web2"));
        fs::write(directory.join("10.0.0.3"), "").unwrap();
        Ok(format!("web{}.example.net", &address.to_string()[7..]))
    });
    let found = rules.look().unwrap();
    assert_eq!(found.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.3:80"]);
}

#[test]
fn b1_a_file_that_names_no_server_is_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let rules = rules(directory.path(), &[("10.0.0.2", "web2.example.net")]);
    let reported = || lock(&rules.learned).reported.iter().cloned().collect::<Vec<_>>();
    for file in ["10.0.0.2", "web2", "README", "10.0.0.9"] {
        fs::write(directory.path().join(file), "").unwrap();
    }
    rules.look().unwrap();
    assert_eq!(reported(), ["10.0.0.9", "README"]);
    // A known file is not reported again, and a removed one is forgotten.
    fs::remove_file(directory.path().join("README")).unwrap();
    rules.look().unwrap();
    assert_eq!(reported(), ["10.0.0.9"]);
    // While a name is not known, a file may be named after it.
    lock(&rules.learned).silent.insert("10.0.0.3".parse().unwrap());
    fs::write(directory.path().join("web3"), "").unwrap();
    rules.look().unwrap();
    assert_eq!(reported(), ["10.0.0.9"]);
}

/// R71
#[tokio::test]
async fn b1_unreadable_at_start_keeps_weight_0_out() {
    use ipvs_rs::Operation;
    let directory = tempfile::tempdir().unwrap();
    // What is not a directory cannot be read, even by root.
    let path = directory.path().join("maintenance");
    fs::write(&path, "").unwrap();
    let text = format!(
        "maintenancedir={}\nquiescent=yes\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\
         virtual=10.0.0.1:81\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.4:80 masq 0\n",
        path.display()
    );
    let spec = crate::daemon::harness::spec(&text);
    let health = crate::health::Health::new(&spec, &BTreeSet::new(), far_future());
    let mut ipvs = ipvs_rs::Memory::new();
    // Nothing is up: all weights are 0.
    let table = desired::wanted(&spec, &health);
    for result in ipvs.apply(&ipvs_rs::diff(&ipvs_rs::Table::default(), &table)) {
        result.unwrap();
    }
    let rules = MaintenanceDir::of(&spec, [], Learned::default()).unwrap();
    let (held, note) = at_start(Some(&rules), &spec, &mut ipvs).await;
    let held: Vec<String> = held.keys().map(ToString::to_string).collect();
    // A configured weight of 0 does not mean maintenance.
    assert_eq!(held, ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(note.contains("cannot be read: not a directory; 2 real servers"), "{note}");
    // A server that is in rotation in any service is not in maintenance.
    let (service, found) = table.services.iter().next().unwrap();
    let (key, config) = found.destinations.iter().next().unwrap();
    let config = ipvs_rs::DestinationConfig { weight: 1, ..*config };
    ipvs.apply(&[Operation::EditDestination { service: *service, key: *key, config }]);
    let (held, _) = at_start(Some(&rules), &spec, &mut ipvs).await;
    assert_eq!(held.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.3:80"]);
    // As soon as the directory can be read, only its files count.
    let mut maintenance = MaintenanceWatcher::observe(Some(rules), held, Duration::from_millis(10), true);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(next(&mut maintenance).await.is_empty());
}

/// R71: with `quiescent=no` a server in maintenance is not in the table.
#[tokio::test]
async fn b1_unreadable_at_start_keeps_the_absent_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maintenance");
    fs::write(&path, "").unwrap();
    let text = format!(
        "maintenancedir={}\nquiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\
         virtual=10.0.0.1:81\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.4:80 masq\n\
         virtual=10.0.0.1:82\n\treal=10.0.0.5:80 masq\n",
        path.display()
    );
    let spec = crate::daemon::harness::spec(&text);
    let server = |host: u8| format!("10.0.0.{host}:80").parse::<SocketAddr>().unwrap();
    // An earlier run had these in rotation, and did not have the third service.
    let (v80, v81) = (spec.virtuals()[0].id, spec.virtuals()[1].id);
    let up = BTreeSet::from([(v80, server(2)), (v81, server(2))]);
    let mut present = desired::wanted(&spec, &crate::health::Health::new(&spec, &up, far_future()));
    present.services.remove(&desired::service_key(spec.virtuals()[2].id));
    let mut ipvs = ipvs_rs::Memory::new();
    for result in ipvs.apply(&ipvs_rs::diff(&ipvs_rs::Table::default(), &present)) {
        result.unwrap();
    }
    let rules = MaintenanceDir::of(&spec, [], Learned::default()).unwrap();
    let (held, note) = at_start(Some(&rules), &spec, &mut ipvs).await;
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [server(3), server(4)]);
    assert!(note.contains("cannot be read: not a directory; 2 real servers"), "{note}");
    // They stay out although their checks pass. A new service does not mean that its servers are in maintenance.
    let now = far_future();
    let mut director = crate::director::Director::new(spec, present, &BTreeSet::new(), None, now);
    director.maintain(&held, now);
    for moment in (0..100).map(|tenths| now + Duration::from_millis(100 * tenths)) {
        let mut verdicts = Vec::new();
        director.due(moment, |due| {
            verdicts.push((due.id, crate::value::Verdict::up("fine")));
            true
        });
        director.verdicts(verdicts, moment);
    }
    let (spec, health) = (director.spec(), director.health());
    let in_rotation: Vec<SocketAddr> = spec
        .members()
        .filter(|member| health.is_in(spec, *member))
        .map(|member| spec.member(member).1.address)
        .collect();
    assert_eq!(in_rotation, [server(2), server(2), server(5)]);
}

#[test]
fn b4_a_directory_that_goes_away_is_reported_once() {
    let mut presence = Presence::default();
    let seen = [false, true, true, false, false, true, false].map(|there| presence.goes(there));
    assert_eq!(seen, [false, false, false, true, false, false, true]);
    let text = describe_gone(Path::new("/m"), 1);
    assert!(text.starts_with("maintenancedir /m is gone: 1 real server in maintenance can"), "{text}");
}
