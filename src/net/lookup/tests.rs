//! Lookups with a fake resolver, which may hang.

use std::io::Write as _;
use std::sync::Condvar;

use tokio::time::timeout;

use super::*;

/// Long enough for every answer that arrives.
const PATIENCE: Duration = Duration::from_secs(5);
/// Short enough to wait for in a test.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// Controls the fake resolver: a name that begins with `hang` waits until it is released. `gone` exists as long as the
/// test wants.
#[derive(Default)]
struct Script {
    released: Mutex<bool>,
    changed: Condvar,
    gone: Mutex<Option<ResolveError>>,
    asked: Mutex<Vec<String>>,
}

fn lookups(hosts: &Path) -> (Lookups, Arc<Script>) {
    let script = Arc::new(Script::default());
    let own = Arc::clone(&script);
    let ask = move |name: &str| {
        own.asked.lock().unwrap().push(name.to_owned());
        if name.starts_with("hang") {
            drop(own.changed.wait_while(own.released.lock().unwrap(), |released| !*released));
        }
        match (name, own.gone.lock().unwrap().clone()) {
            ("gone.example", Some(error)) => Err(error),
            _ => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        }
    };
    (Lookups::new(Box::new(ask), hosts), script)
}

/// Releases the hanging names when it is dropped.
struct Held(Arc<Script>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.released.lock().unwrap() = true;
        self.0.changed.notify_all();
    }
}

fn server(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 80).into()
}

fn nowhere() -> &'static Path {
    Path::new("/nonexistent/hosts")
}

#[tokio::test]
async fn a3_a_hung_name_delays_no_other_server() {
    let (lookups, script) = lookups(nowhere());
    let held = Held(Arc::clone(&script));
    assert!(timeout(IMPATIENCE, lookups.addresses("hang.example", server(1))).await.is_err());
    // The same name is not looked up again, not even for another server.
    assert!(timeout(IMPATIENCE, lookups.addresses("HANG.example.", server(2))).await.is_err());
    assert_eq!(*script.asked.lock().unwrap(), ["hang.example"]);
    // The server with the hanging lookup gets no second place; other servers do.
    assert!(timeout(IMPATIENCE, lookups.addresses("good.example", server(1))).await.is_err());
    assert!(timeout(PATIENCE, lookups.addresses("good.example", server(2))).await.unwrap().is_ok());
    let waiting = tokio::spawn({
        let lookups = lookups.clone();
        async move { lookups.addresses("good.example", server(1)).await }
    });
    drop(held);
    assert!(timeout(PATIENCE, waiting).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a3_a_hung_zone_starves_no_other() {
    let (lookups, script) = lookups(nowhere());
    let held = Held(Arc::clone(&script));
    for number in 0..100 {
        let (lookups, name) = (lookups.clone(), format!("hang{number}.hung.example"));
        tokio::spawn(async move { lookups.addresses(&name, server(number)).await });
    }
    let asked = || script.asked.lock().unwrap().len();
    timeout(PATIENCE, async {
        while asked() < MAX_OF_ZONE {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(timeout(PATIENCE, lookups.addresses("good.example.net", server(200))).await.unwrap().is_ok());
    assert_eq!(asked(), MAX_OF_ZONE + 1);
    drop(held);
}

#[tokio::test]
async fn a3_the_file_of_hosts_needs_no_place() {
    let mut hosts = tempfile::NamedTempFile::new().unwrap();
    hosts.write_all(b"# 192.0.2.9 web\n192.0.2.7 other Web # web2\n::1 web\n").unwrap();
    let (lookups, script) = lookups(hosts.path());
    let held = Held(Arc::clone(&script));
    assert!(timeout(IMPATIENCE, lookups.addresses("hang.example", server(1))).await.is_err());
    let found = timeout(PATIENCE, lookups.addresses("web", server(1))).await.unwrap().unwrap();
    assert_eq!(found.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(*script.asked.lock().unwrap(), ["hang.example"]);
    drop(held);
}

#[tokio::test]
async fn a3_a_name_that_is_gone_keeps_its_last_answer() {
    let (lookups, script) = lookups(nowhere());
    let missing = ResolveError::NotFound("gone.example".to_owned());
    let failed = ResolveError::Failed { name: "gone.example".to_owned(), cause: "try again".to_owned() };
    *script.gone.lock().unwrap() = Some(missing.clone());
    assert_eq!(lookups.addresses("gone.example", server(1)).await, Err(missing.clone()));
    *script.gone.lock().unwrap() = None;
    assert!(!lookups.addresses("gone.example", server(1)).await.unwrap().stale);
    *script.gone.lock().unwrap() = Some(missing.clone());
    assert!(lookups.addresses("gone.example", server(2)).await.unwrap().stale);
    // A failure of the resolver is not an answer.
    *script.gone.lock().unwrap() = Some(failed.clone());
    assert_eq!(lookups.addresses("gone.example", server(1)).await, Err(failed));
    // After five minutes the previous answer is no longer used.
    let long_ago = Instant::now().checked_sub(REMEMBERED).unwrap();
    lookups.0.lock().known.get_mut("gone.example").unwrap().0 = long_ago;
    *script.gone.lock().unwrap() = Some(missing.clone());
    assert_eq!(lookups.addresses("gone.example", server(1)).await, Err(missing));
}

#[test]
fn a3_what_is_remembered_is_bounded() {
    let mut state = State::default();
    for number in 0..10_000 {
        state.remember(&format!("x{number}.example"), &[IpAddr::from([192, 0, 2, 1])]);
    }
    assert_eq!(state.known.len(), MAX_REMEMBERED);
    assert_eq!((zone("a.b.c.d"), zone("c.d"), zone("d")), ("c.d", "c.d", "d"));
}
