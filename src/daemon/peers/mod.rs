//! Divides virtual services between the daemons on this kernel's table.
//!
//! A virtual service has one owner: the daemon whose note has the service, as long as that daemon runs. Another
//! daemon with the service in its configuration does not touch it, notes that it wants it, and takes it when it is
//! free. If a reload removes a service from the configuration of its owner while another daemon claims it, the
//! owner continues to check it, notes that it offers it, and releases it when the other daemon has taken it. So the
//! service is always checked, and no daemon removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::addresses::Hosts;
use super::directory::{Claims, DaemonNote, Life, Sight, StateDirectory, keys};
use super::owned::Owned;
use crate::desired;
use crate::spec::{Config, Spec, Virtual};
use crate::sys::process::Process;
use crate::value::shown::escaped;

/// Time between two reads of the notes of others while a service is wanted, offered or held.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time between two reads otherwise. They find two notes with the same service that were written at the same moment
/// on a machine that hung.
const CALM_INTERVAL: Duration = Duration::from_secs(10);
/// After a change of our own note, the notes are read every [`INTERVAL`] for this time, because another daemon may
/// have taken the same service at the same moment.
const COLLISION: Duration = Duration::from_secs(10);
/// A daemon that ended without removing its note keeps its services for this time: it may be restarted, for example
/// by systemd.
const LINGER: Duration = Duration::from_secs(15);
/// Time between two reads of the configurations of others while a service is offered.
const FILES_INTERVAL: Duration = Duration::from_secs(5);
/// How long a look waits for the configurations of other daemons.
pub(super) const FILES_LIMIT: Duration = Duration::from_secs(5);

/// The whole configuration, and which of its services other daemons own.
pub struct Peers {
    directory: StateDirectory,
    whole: Arc<Config>,
    /// The services of the whole configuration.
    all: BTreeSet<ServiceKey>,
    elsewhere: Claims,
    /// Services that the configuration no longer has, but that of another daemon has.
    offered: BTreeMap<ServiceKey, Offer>,
    /// When to check whether other daemons still claim the offered services.
    files_at: Instant,
    /// Services of an earlier run of this daemon that another daemon may claim. They stay in the table, without checks.
    held: HeldServices,
    /// When each daemon was last seen running.
    seen: BTreeMap<String, Instant>,
    next_look: Instant,
    collision_until: Instant,
    looking: Option<BoxFuture<'static, Sight>>,
    /// Whether the last look failed, which was reported.
    is_blind: bool,
}

/// A service that another daemon may take.
#[derive(Clone)]
struct Offer {
    service: Virtual,
    /// Since when no other daemon claims it.
    unwanted_since: Option<Instant>,
}

#[derive(Clone, Default)]
struct HeldServices {
    services: BTreeSet<ServiceKey>,
    /// When to check whether another daemon still claims them.
    until: Option<Instant>,
    /// Whether our note still has services that are no longer held.
    is_note_due: bool,
}

/// The part of the services that belongs to this daemon.
pub struct Share {
    /// The spec of this daemon. `None` if it is unchanged.
    pub spec: Option<Spec>,
    /// Services that leave the spec but stay in the table, because another daemon owns them now.
    pub handed_over: BTreeSet<ServiceKey>,
    /// Services of an earlier run that are still in the table and that no daemon claims.
    pub abandoned: BTreeSet<ServiceKey>,
}

impl Share {
    /// The whole configuration, if there are no other daemons.
    #[must_use]
    pub fn whole(spec: Spec) -> Share {
        Share { spec: Some(spec), handed_over: BTreeSet::new(), abandoned: BTreeSet::new() }
    }
}

/// The initial division, for a daemon that starts.
pub struct Beginning {
    /// Its view of the other daemons.
    pub peers: Peers,
    /// The part of its configuration that it owns.
    pub spec: Spec,
    /// Services of an earlier run that no other daemon owns. Those that the spec does not have are removed.
    pub previously_owned: BTreeSet<ServiceKey>,
}

impl Peers {
    /// Divides the configuration of a daemon that starts, and the services that its earlier run left.
    #[must_use]
    pub fn begin(
        directory: StateDirectory,
        whole: Spec,
        previously_owned: BTreeSet<ServiceKey>,
        sight: Sight,
        now: Instant,
    ) -> Beginning {
        let mut peers = Peers {
            directory,
            all: keys(whole.config()),
            whole: Arc::clone(whole.config()),
            elsewhere: Claims::new(),
            offered: BTreeMap::new(),
            files_at: now,
            held: HeldServices::default(),
            seen: BTreeMap::new(),
            next_look: now + INTERVAL,
            collision_until: now + COLLISION,
            looking: None,
            is_blind: false,
        };
        peers.report_sight(&sight);
        // Another daemon may be starting, with services that our configuration no longer has.
        let is_moving = !sight.is_whole || sight.notes.iter().any(|note| note.state != Life::Runs);
        let notes = peers.living(sight.notes, now);
        let elsewhere = peers.theirs(&notes, &BTreeSet::new());
        peers.report(&elsewhere);
        peers.elsewhere = elsewhere;
        let mut ours = BTreeSet::new();
        for key in previously_owned.into_iter().filter(|key| !notes.iter().any(|note| note.keeps(key))) {
            let may_be_wanted = is_moving || sight.claims.contains_key(&key);
            if peers.all.contains(&key) || !may_be_wanted {
                ours.insert(key);
                continue;
            }
            warn!(
                "Virtual server {} stays in the table without checks for now: {}",
                desired::virtual_id(key),
                match sight.claims.get(&key) {
                    Some(other) => format!(
                        "it is in the configuration of the daemon {}; reload that daemon if it has not loaded it yet",
                        escaped(other)
                    ),
                    None => "another daemon that is not ready yet may take it".to_owned(),
                }
            );
            peers.held.services.insert(key);
            peers.held.until = Some(now + LINGER);
        }
        let spec = peers.spec(Some(whole));
        Beginning { peers, spec, previously_owned: ours }
    }

    /// A copy to try a reload on. It has no look in progress.
    #[must_use]
    pub fn copy(&self) -> Peers {
        Peers {
            directory: self.directory.clone(),
            whole: Arc::clone(&self.whole),
            all: self.all.clone(),
            elsewhere: self.elsewhere.clone(),
            offered: self.offered.clone(),
            held: self.held.clone(),
            seen: self.seen.clone(),
            looking: None,
            ..*self
        }
    }

    /// Divides a new configuration.
    pub fn apply_reload(&mut self, whole: Spec, running: &Spec, sight: Sight, now: Instant) -> Share {
        self.all = keys(whole.config());
        self.whole = Arc::clone(whole.config());
        self.offered.clear();
        self.held.services.retain(|key| !self.all.contains(key));
        self.report_sight(&sight);
        self.offer(running, &sight, now);
        let is_readable = sight.is_readable();
        let (mine, notes) = (keys(running.config()), self.living(sight.notes, now));
        let elsewhere = match is_readable {
            true => self.theirs(&notes, &mine),
            // Services of other daemons remain theirs until more is known.
            false => self.elsewhere.clone().into_iter().filter(|(key, _)| self.all.contains(key)).collect(),
        };
        self.share(Some(whole), elsewhere, &notes, &mine, now)
    }

    /// Evaluates a look at the other daemons. Returns the new share if a service has a new owner.
    pub fn look(&mut self, sight: Sight, running: &Spec, now: Instant) -> Option<Share> {
        self.report_sight(&sight);
        if !sight.is_readable() {
            // Without knowledge nothing changes.
            self.plan_look(now);
            return None;
        }
        let is_certain = !sight.has_wrong_file;
        let claims = sight.is_whole.then_some(sight.claims);
        let (mine, notes) = (keys(running.config()), self.living(sight.notes, now));
        let elsewhere = self.theirs(&notes, &mine);
        let is_taken = self.offered.keys().any(|key| is_taken(&notes, key));
        let abandoned = self.judge_held(&notes, claims.as_ref(), now);
        let has_lapsed = self.judge_offered(claims.as_ref().filter(|_| is_certain), now);
        let share = if is_taken || has_lapsed || !elsewhere.keys().eq(self.elsewhere.keys()) {
            Some(Share { abandoned, ..self.share(None, elsewhere, &notes, &mine, now) })
        } else {
            self.elsewhere = elsewhere;
            let nothing_else = Share { spec: None, handed_over: BTreeSet::new(), abandoned };
            (!nothing_else.abandoned.is_empty()).then_some(nothing_else)
        };
        self.plan_look(now);
        share
    }

    /// When to call [`Peers::start_look`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.looking.is_none().then_some(self.next_look)
    }

    /// Starts a look at the other daemons on another thread.
    pub fn start_look(&mut self, hosts: &Hosts, now: Instant) {
        let directory = self.directory.clone();
        let is_offer_due = !self.offered.is_empty() && self.files_at <= now;
        if is_offer_due {
            self.files_at = now + FILES_INTERVAL;
        }
        self.looking = Some(if is_offer_due || self.held.until.is_some_and(|until| until <= now) {
            directory.look_aside(hosts.clone(), FILES_LIMIT).boxed()
        } else {
            directory.notes_aside().boxed()
        });
    }

    /// Waits for the result of a look. Waits forever if none is in progress. Safe to cancel.
    async fn sight(&mut self) -> Sight {
        let Some(looking) = &mut self.looking else { return std::future::pending().await };
        let sight = looking.await;
        self.looking = None;
        sight
    }

    /// Records that our note was written. Another daemon may have written its own at the same moment.
    pub fn noted_at(&mut self, now: Instant) {
        self.collision_until = now + COLLISION;
        self.plan_look(now);
    }

    /// The state directory.
    #[must_use]
    pub fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// The services of the configuration that other daemons own.
    #[must_use]
    pub fn elsewhere(&self) -> &Claims {
        &self.elsewhere
    }

    /// The servers of the offered services, by configured address.
    #[must_use]
    pub fn offered_servers(&self) -> BTreeSet<SocketAddr> {
        self.offered.values().flat_map(|offer| &offer.service.reals).map(|real| real.address).collect()
    }

    /// Completes our note with held, offered and wanted services.
    #[must_use]
    pub fn noted(&self, mut owned: Owned) -> Owned {
        owned.services.extend(&self.held.services);
        owned.offered.extend(self.offered.keys().chain(&self.held.services));
        owned.wanted = self.elsewhere.keys().copied().collect();
        owned
    }

    /// The services of an earlier run that another daemon may claim.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<ServiceKey> {
        &self.held.services
    }

    /// Returns the held services. They are no longer held.
    #[must_use]
    pub fn take_held(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.held).services
    }

    /// Schedules the next look after a look that was not evaluated.
    pub fn put_off(&mut self, now: Instant) {
        self.plan_look(now);
    }

    /// Whether the note has become outdated since the last call.
    pub fn take_note_due(&mut self) -> bool {
        std::mem::take(&mut self.held.is_note_due)
    }

    fn plan_look(&mut self, now: Instant) {
        let is_shared = !self.elsewhere.is_empty() || !self.offered.is_empty();
        let often = is_shared || self.held.until.is_some() || now < self.collision_until;
        self.next_look = now + if often { INTERVAL } else { CALM_INTERVAL };
    }

    /// Offers the services of the running spec that the new configuration no longer has and that another daemon claims.
    fn offer(&mut self, running: &Spec, sight: &Sight, now: Instant) {
        self.files_at = now + FILES_INTERVAL;
        for v in running.virtuals() {
            let key = desired::service_key(v.id);
            if self.all.contains(&key) || !sight.may_want(&key) {
                continue;
            }
            match sight.claims.get(&key) {
                Some(other) => warn!(
                    "Virtual server {} is checked until the daemon {} takes it, which has it in its configuration; reload that \
                     daemon if it has not loaded it yet",
                    v.id,
                    escaped(other)
                ),
                None => warn!(
                    "Virtual server {} is checked until it is known that no other daemon claims it; then it is removed",
                    v.id
                ),
            }
            self.offered.insert(key, Offer { service: v.clone(), unwanted_since: None });
        }
    }

    /// Withdraws the offered services that no other daemon claims any longer. Returns whether there were any.
    fn judge_offered(&mut self, claims: Option<&Claims>, now: Instant) -> bool {
        let Some(claims) = claims else { return false };
        let before = self.offered.len();
        self.offered.retain(|key, offer| {
            if claims.contains_key(key) {
                offer.unwanted_since = None;
                return true;
            }
            // Another daemon may be reloading or restarting at this moment.
            let stays = now < *offer.unwanted_since.get_or_insert(now) + LINGER;
            if !stays {
                info!(
                    "Virtual server {} is removed: no daemon has claimed it for {} s",
                    desired::virtual_id(*key),
                    LINGER.as_secs()
                );
            }
            stays
        });
        self.offered.len() < before
    }

    /// Reports once that the other daemons are unknown, and the end of that.
    fn report_sight(&mut self, sight: &Sight) {
        match &sight.trouble {
            Some(trouble) if !self.is_blind => error!(
                "{trouble}; the virtual services of other daemons are unknown: this daemon manages those of its configuration and \
                 removes no others until it can read them; give its user access to that directory"
            ),
            None if self.is_blind => info!("The notes of other daemons can be read again"),
            _ => {}
        }
        self.is_blind = !sight.is_readable();
    }

    /// Releases the held services that another daemon has taken. Returns those that no daemon claims.
    fn judge_held(
        &mut self,
        notes: &[DaemonNote],
        claims: Option<&Claims>,
        now: Instant,
    ) -> BTreeSet<ServiceKey> {
        let before = self.held.services.len();
        self.held.services.retain(|key| !notes.iter().any(|note| note.keeps(key)));
        self.held.is_note_due |= self.held.services.len() < before;
        let abandoned = match (self.held.until, claims) {
            (Some(until), Some(claims)) if until <= now => {
                let (wanted, abandoned) = std::mem::take(&mut self.held.services)
                    .into_iter()
                    .partition(|key| claims.contains_key(key));
                self.held.services = wanted;
                self.held.until = Some(now + LINGER);
                abandoned
            }
            _ => BTreeSet::new(),
        };
        if self.held.services.is_empty() {
            self.held.until = None;
        }
        abandoned
    }

    /// The notes of running daemons, and of those that ended less than [`LINGER`] ago and may be restarted.
    fn living(&mut self, mut notes: Vec<DaemonNote>, now: Instant) -> Vec<DaemonNote> {
        for note in notes.iter().filter(|note| note.is_alive()) {
            self.seen.insert(note.name.clone(), now);
        }
        notes.retain(|note| self.seen.get(&note.name).is_some_and(|at| *at + LINGER > now));
        notes
    }

    /// The services of the configuration that other daemons own. A service that this daemon has, too, belongs to
    /// the daemon that started first.
    fn theirs(&self, notes: &[DaemonNote], mine: &BTreeSet<ServiceKey>) -> Claims {
        let own = (Process::own().started, self.directory.own_name());
        let belongs = |note: &DaemonNote, key: &ServiceKey| {
            let is_first = note.state == Life::Runs
                && note.daemon.is_some_and(|daemon| (daemon.started, note.name.as_str()) < own);
            note.keeps(key) && (is_first || !mine.contains(key))
        };
        let owner =
            |key: ServiceKey| Some((key, notes.iter().find(|note| belongs(note, &key))?.name.clone()));
        self.all.iter().copied().filter_map(owner).collect()
    }

    /// Divides the configuration. `whole`: its spec, if already made.
    fn share(
        &mut self,
        whole: Option<Spec>,
        elsewhere: Claims,
        notes: &[DaemonNote],
        mine: &BTreeSet<ServiceKey>,
        now: Instant,
    ) -> Share {
        self.report(&elsewhere);
        self.elsewhere = elsewhere;
        self.offered.retain(|key, _| !is_taken(notes, key));
        self.collision_until = now + COLLISION;
        self.plan_look(now);
        let spec = self.spec(whole);
        let goes = mine.difference(&keys(spec.config())).copied().collect::<BTreeSet<_>>();
        let is_theirs = |key: &ServiceKey| self.elsewhere.contains_key(key) || is_taken(notes, key);
        let handed_over = goes.into_iter().filter(is_theirs).collect();
        Share { spec: Some(spec), handed_over, abandoned: BTreeSet::new() }
    }

    fn spec(&self, whole: Option<Spec>) -> Spec {
        match whole {
            Some(spec) if self.elsewhere.is_empty() && self.offered.is_empty() => spec,
            _ => {
                let elsewhere = self.elsewhere.keys().map(|key| desired::virtual_id(*key)).collect();
                Spec::shared(
                    &self.whole,
                    &elsewhere,
                    self.offered.values().map(|offer| offer.service.clone()),
                )
            }
        }
    }

    /// Reports services that other daemons have taken or released.
    fn report(&self, elsewhere: &Claims) {
        for (key, owner) in elsewhere.iter().filter(|(key, _)| !self.elsewhere.contains_key(*key)) {
            error!(
                "Virtual server {} is owned by the daemon {} and not managed here; remove it from one of the two configurations",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
        for (key, owner) in self.elsewhere.iter().filter(|(key, _)| !elsewhere.contains_key(*key)) {
            info!(
                "Virtual server {} is no longer owned by the daemon {}",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
    }
}

/// Waits for the result of a look at the other daemons. Waits forever if there is none.
pub(super) async fn sight(peers: &mut Option<Peers>) -> Sight {
    match peers {
        Some(peers) => peers.sight().await,
        None => std::future::pending().await,
    }
}

/// Whether a running daemon has taken this service.
fn is_taken(notes: &[DaemonNote], key: &ServiceKey) -> bool {
    notes.iter().any(|note| note.state == Life::Runs && note.keeps(key))
}

#[cfg(test)]
mod tests;
