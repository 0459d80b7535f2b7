//! Looks up the host names of redirects while checks run.
//!
//! Uses the system's resolver, so that `nsswitch.conf` applies. The resolver blocks, cannot be stopped, and may
//! hang for a minute. So there are limits: one lookup at a time per server, a few per zone, and a total. A name is
//! never looked up twice at the same time. Names in `/etc/hosts` are exempt from the limits.
#![expect(clippy::disallowed_methods, reason = "an answer has an age")]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use super::resolve::{self, ResolveError};

/// The most lookups at the same time: each occupies a thread until the resolver answers.
const MAX_LOOKUPS: usize = 64;
/// The most lookups at the same time in one zone, the last two labels of a name: all its name servers may hang.
const MAX_OF_ZONE: usize = 8;
/// How long the last good answer is used for a name that no longer exists.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// The most names whose answers are remembered. A hostile server may redirect to new names without end.
const MAX_REMEMBERED: usize = 4096;
const SWEPT_EVERY: Duration = Duration::from_secs(10);

type LookupResult = Result<Vec<IpAddr>, ResolveError>;

/// Asks the resolver. Blocks until it answers.
pub type Ask = dyn Fn(&str) -> LookupResult + Send + Sync;

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAddresses {
    /// The addresses to try, in this order.
    pub addresses: Vec<IpAddr>,
    /// Whether the resolver reports that the name does not exist, and these are from its previous answer.
    pub stale: bool,
}

/// All lookups of this process. Clones share their state.
#[derive(Clone)]
pub struct Lookups(Arc<Inner>);

struct Inner {
    ask: Box<Ask>,
    hosts: PathBuf,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    running: BTreeMap<String, RunningLookup>,
    /// The last good answer of each name.
    known: BTreeMap<String, (Instant, Vec<IpAddr>)>,
    /// When old answers were last removed because there were too many.
    swept: Option<Instant>,
}

struct RunningLookup {
    server: SocketAddr,
    answer: watch::Receiver<Option<LookupResult>>,
}

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups::new(Box::new(resolve::any_host), Path::new("/etc/hosts"))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}

impl Lookups {
    /// Lookups with this resolver and this hosts file.
    #[must_use]
    pub fn new(ask: Box<Ask>, hosts: &Path) -> Lookups {
        let (hosts, state) = (hosts.to_owned(), Mutex::default());
        Lookups(Arc::new(Inner { ask, hosts, state, ended: Notify::new() }))
    }

    /// The addresses of a name, for a check of this server. May wait long for the resolver or a free place: the
    /// caller needs a deadline.
    ///
    /// # Errors
    /// [`ResolveError::NotFound`] when the name does not exist, [`ResolveError::Failed`] when the resolver does not
    /// answer.
    pub async fn addresses(&self, name: &str, server: SocketAddr) -> Result<ResolvedAddresses, ResolveError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let inner = Arc::clone(&self.0);
        let wanted = name.clone();
        let listed = spawn_blocking(move || listed(&inner.hosts, &wanted)).await.unwrap_or_default();
        if !listed.is_empty() {
            return Ok(ResolvedAddresses { addresses: listed, stale: false });
        }
        let mut running = loop {
            let ended = self.0.ended.notified();
            if let Some(running) = self.start(&name, server) {
                break running;
            }
            ended.await;
        };
        let answer = running.wait_for(Option::is_some).await.map(|answer| answer.clone());
        self.judge(&name, answer.ok().flatten())
    }

    /// Starts a lookup, or joins the running one for the same name. None if a limit is reached.
    fn start(&self, name: &str, server: SocketAddr) -> Option<watch::Receiver<Option<LookupResult>>> {
        let mut state = self.0.lock();
        if let Some(running) = state.running.get(name) {
            return Some(running.answer.clone());
        }
        let of_zone = state.running.keys().filter(|other| zone(other) == zone(name)).count();
        let of_server = state.running.values().any(|running| running.server == server);
        if of_server || of_zone >= MAX_OF_ZONE || state.running.len() >= MAX_LOOKUPS {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        state.running.insert(name.to_owned(), RunningLookup { server, answer: answer.clone() });
        let place = LookupSlot { inner: Arc::clone(&self.0), name: name.to_owned() };
        spawn_blocking(move || {
            let answer = (place.inner.ask)(&place.name);
            // Free the place before the answer is published.
            drop(place);
            sender.send_replace(Some(answer));
        });
        Some(answer)
    }

    fn judge(&self, name: &str, answer: Option<LookupResult>) -> Result<ResolvedAddresses, ResolveError> {
        let mut state = self.0.lock();
        match answer {
            Some(Ok(addresses)) => {
                state.remember(name, &addresses);
                Ok(ResolvedAddresses { addresses, stale: false })
            }
            Some(Err(missing @ ResolveError::NotFound(_))) => match state.known.get(name) {
                Some((when, addresses)) if when.elapsed() < REMEMBERED => {
                    Ok(ResolvedAddresses { addresses: addresses.clone(), stale: true })
                }
                _ => Err(missing),
            },
            Some(Err(failed)) => Err(failed),
            None => {
                let cause = "the lookup ended without an answer, which is a bug in this program".to_owned();
                Err(ResolveError::Failed { name: name.to_owned(), cause })
            }
        }
    }
}

impl Inner {
    /// Ignores poisoning: the list of lookups is valid even after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, name: &str, addresses: &[IpAddr]) {
        let is_full = self.known.len() >= MAX_REMEMBERED;
        if is_full && self.swept.is_none_or(|when| when.elapsed() > SWEPT_EVERY) {
            self.known.retain(|_, (when, _)| when.elapsed() < REMEMBERED);
            self.swept = Some(Instant::now());
        }
        if self.known.len() < MAX_REMEMBERED || self.known.contains_key(name) {
            self.known.insert(name.to_owned(), (Instant::now(), addresses.to_vec()));
        }
    }
}

/// The place of a running lookup. It is freed when the resolver answers, even if no check waits for the answer any
/// more.
struct LookupSlot {
    inner: Arc<Inner>,
    name: String,
}

impl Drop for LookupSlot {
    fn drop(&mut self) {
        self.inner.lock().running.remove(&self.name);
        self.inner.ended.notify_waiters();
    }
}

/// The last two labels of a name.
fn zone(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).map_or(name, |(dot, _)| &name[dot + 1..])
}

/// The addresses of a name in a hosts file (hosts(5)).
fn listed(hosts: &Path, name: &str) -> Vec<IpAddr> {
    let text = std::fs::read(hosts).unwrap_or_default();
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests;
