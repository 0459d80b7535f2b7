//! The other daemons on this kernel's table. A virtual service has one owner: the daemon that noted it as its own, as long as that
//! lives. A daemon whose configuration has it, too, leaves it to its owner, notes that it wants it, and takes it when it is free. One
//! whose configuration has it no more, while that of another daemon has it, goes on with it, notes that it offers it, and lets go of it
//! when the other one has taken it: the service is checked at every moment, and no daemon removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipvs_rs::ServiceKey;
use tracing::{error, info, warn};

use super::addresses::Hosts;
use super::directory::{Claims, Directory, Life, Note, Sight, keys};
use super::owned::Owned;
use crate::desired;
use crate::plan::{Config, Plan, Virtual};
use crate::sys::process::Process;
use crate::value::shown::escaped;

/// Between two looks at the notes of others while a service is shared.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while none is: two notes of one service, written at the same moment on a machine that hung, are seen then.
const CALM_INTERVAL: Duration = Duration::from_secs(10);
/// They are looked at each second for so long after a change of our own, since another daemon may have taken the same service at the
/// same moment.
const COLLISION: Duration = Duration::from_secs(10);
/// So long a daemon that has gone without removing its note keeps its services: it may be on its way back, by a restart or by systemd.
const LINGER: Duration = Duration::from_secs(15);
/// Between two looks at the configurations of others while a service is offered.
const FILES_INTERVAL: Duration = Duration::from_secs(5);
/// How long a look waits for the configurations of other daemons.
pub(super) const FILES_LIMIT: Duration = Duration::from_secs(5);

/// The configuration as it was read, and what of it is left to others.
pub struct Peers {
    directory: Directory,
    whole: Arc<Config>,
    /// The services of the whole configuration.
    all: BTreeSet<ServiceKey>,
    elsewhere: Claims,
    /// What the configuration has no more, and another one has.
    offered: BTreeMap<ServiceKey, Offer>,
    /// When to see whether another daemon still wants what is offered.
    files_at: Instant,
    /// What an earlier run of this daemon left that another daemon may want: it stays in the table, without checks.
    held: Held,
    /// When a daemon was seen to live for the last time.
    seen: BTreeMap<String, Instant>,
    next_look: Instant,
    collision_until: Instant,
    looking: Option<BoxFuture<'static, Sight>>,
    /// Whether the last look saw nothing, which was reported.
    is_blind: bool,
}

/// A service that another daemon may take.
struct Offer {
    service: Virtual,
    /// Since when no other daemon wants it.
    unwanted_since: Option<Instant>,
}

#[derive(Default)]
struct Held {
    services: BTreeSet<ServiceKey>,
    /// When to see whether another daemon still wants them.
    until: Option<Instant>,
    /// Our note still has some that are held no longer.
    is_note_due: bool,
}

/// What a daemon has to do.
pub struct Share {
    /// Its plan; none where that is as before.
    pub plan: Option<Plan>,
    /// What goes from its plan and stays in the table: it is another one's.
    pub handed_over: BTreeSet<ServiceKey>,
    /// What stays in the table from an earlier run and is wanted by no daemon.
    pub abandoned: BTreeSet<ServiceKey>,
}

impl Share {
    /// All of a configuration, where there are no others.
    #[must_use]
    pub fn whole(plan: Plan) -> Share {
        Share { plan: Some(plan), handed_over: BTreeSet::new(), abandoned: BTreeSet::new() }
    }
}

/// A daemon that starts.
pub struct Beginning {
    /// Its view of the others.
    pub peers: Peers,
    /// What of its configuration is left for it.
    pub plan: Plan,
    /// What an earlier run left and is no other daemon's: ours, and removed where the plan has it not.
    pub formerly: BTreeSet<ServiceKey>,
}

impl Peers {
    /// Divides the configuration of a daemon that starts, and what an earlier run of it left.
    #[must_use]
    pub fn begin(
        directory: Directory,
        whole: Plan,
        formerly: BTreeSet<ServiceKey>,
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
            held: Held::default(),
            seen: BTreeMap::new(),
            next_look: now + INTERVAL,
            collision_until: now + COLLISION,
            looking: None,
            is_blind: false,
        };
        peers.report_sight(&sight);
        // Another daemon may be on its way back, with a configuration that has what ours has no more.
        let is_moving = !sight.is_whole || sight.notes.iter().any(|note| note.state != Life::Runs);
        let notes = peers.living(sight.notes, now);
        let elsewhere = peers.theirs(&notes, &BTreeSet::new());
        peers.report(&elsewhere);
        peers.elsewhere = elsewhere;
        let mut ours = BTreeSet::new();
        for key in formerly.into_iter().filter(|key| !notes.iter().any(|note| note.keeps(key))) {
            let may_be_wanted = is_moving || sight.claims.contains_key(&key);
            if peers.all.contains(&key) || !may_be_wanted {
                ours.insert(key);
                continue;
            }
            warn!(
                "Virtual server {} stays in the table without checks for now, {}",
                desired::virtual_id(key),
                match sight.claims.get(&key) {
                    Some(other) => format!(
                        "because the configuration of the daemon {} has it; if that has not read it yet: reload it",
                        escaped(other)
                    ),
                    None => "because another daemon that is not ready yet may want it".to_owned(),
                }
            );
            peers.held.services.insert(key);
            peers.held.until = Some(now + LINGER);
        }
        let plan = peers.plan(Some(whole));
        Beginning { peers, plan, formerly: ours }
    }

    /// Divides another configuration.
    pub fn take_up(&mut self, whole: Plan, running: &Plan, sight: Sight, now: Instant) -> Share {
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
            // What was another daemon's is taken for its own until more is known.
            false => self.elsewhere.clone().into_iter().filter(|(key, _)| self.all.contains(key)).collect(),
        };
        self.share(Some(whole), elsewhere, &notes, &mine, now)
    }

    /// Takes a look in: a service may have changed hands. Gives the new share if so.
    pub fn look(&mut self, sight: Sight, running: &Plan, now: Instant) -> Option<Share> {
        self.report_sight(&sight);
        if !sight.is_readable() {
            // Nothing is known, so nothing has changed.
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
            let nothing_else = Share { plan: None, handed_over: BTreeSet::new(), abandoned };
            (!nothing_else.abandoned.is_empty()).then_some(nothing_else)
        };
        self.plan_look(now);
        share
    }

    /// When [`Peers::start_look`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.looking.is_none().then_some(self.next_look)
    }

    /// Begins to look at the others on another thread.
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

    /// The end of a look; never comes while there is none. Safe to cancel.
    async fn sight(&mut self) -> Sight {
        let Some(looking) = &mut self.looking else { return std::future::pending().await };
        let sight = looking.await;
        self.looking = None;
        sight
    }

    /// Our own note was written: another daemon may have written its own at the same moment.
    pub fn noted_at(&mut self, now: Instant) {
        self.collision_until = now + COLLISION;
        self.plan_look(now);
    }

    /// Where the others are found.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What is left to others.
    #[must_use]
    pub fn elsewhere(&self) -> &Claims {
        &self.elsewhere
    }

    /// The servers of the services that are offered, by their configured addresses.
    #[must_use]
    pub fn offered_servers(&self) -> BTreeSet<SocketAddr> {
        self.offered.values().flat_map(|offer| &offer.service.reals).map(|real| real.address).collect()
    }

    /// What is to be noted of it besides the services that are ours.
    #[must_use]
    pub fn noted(&self, mut owned: Owned) -> Owned {
        owned.services.extend(&self.held.services);
        owned.offered.extend(self.offered.keys().chain(&self.held.services));
        owned.wanted = self.elsewhere.keys().copied().collect();
        owned
    }

    /// What an earlier run left, and another daemon may want.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<ServiceKey> {
        &self.held.services
    }

    /// What is held: from now on it is not.
    #[must_use]
    pub fn take_held(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.held).services
    }

    /// Plans the next look, where this one was not taken in.
    pub fn put_off(&mut self, now: Instant) {
        self.plan_look(now);
    }

    /// Whether the note has to be written again since the last call.
    pub fn take_note_due(&mut self) -> bool {
        std::mem::take(&mut self.held.is_note_due)
    }

    fn plan_look(&mut self, now: Instant) {
        let is_shared = !self.elsewhere.is_empty() || !self.offered.is_empty();
        let often = is_shared || self.held.until.is_some() || now < self.collision_until;
        self.next_look = now + if often { INTERVAL } else { CALM_INTERVAL };
    }

    /// Goes on with the services of the running plan that the configuration has no more and another daemon wants.
    fn offer(&mut self, running: &Plan, sight: &Sight, now: Instant) {
        self.files_at = now + FILES_INTERVAL;
        for v in running.virtuals() {
            let key = desired::service_key(v.id);
            if self.all.contains(&key) || !sight.may_want(&key) {
                continue;
            }
            match sight.claims.get(&key) {
                Some(other) => warn!(
                    "Virtual server {} is checked until the daemon {} takes it, whose configuration has it; if that has not read it yet: \
                     reload it",
                    v.id,
                    escaped(other)
                ),
                None => warn!(
                    "Virtual server {} is checked until it is known that no other daemon wants it, and removed then",
                    v.id
                ),
            }
            self.offered.insert(key, Offer { service: v.clone(), unwanted_since: None });
        }
    }

    /// Gives up what was offered and no other daemon wants any more. Whether there was something.
    fn judge_offered(&mut self, claims: Option<&Claims>, now: Instant) -> bool {
        let Some(claims) = claims else { return false };
        let before = self.offered.len();
        self.offered.retain(|key, offer| {
            if claims.contains_key(key) {
                offer.unwanted_since = None;
                return true;
            }
            // Another daemon may be reloaded, or restarted, at this moment.
            let stays = now < *offer.unwanted_since.get_or_insert(now) + LINGER;
            if !stays {
                info!(
                    "Virtual server {} is removed: no daemon has wanted it for {} s",
                    desired::virtual_id(*key),
                    LINGER.as_secs()
                );
            }
            stays
        });
        self.offered.len() < before
    }

    /// Reports that nothing is known of the others, once.
    fn report_sight(&mut self, sight: &Sight) {
        match &sight.trouble {
            Some(trouble) if !self.is_blind => error!(
                "{trouble}; which virtual services other daemons have is unknown: this daemon keeps those of its configuration as they \
                 should be, and removes no other ones; give its user access to it"
            ),
            None if self.is_blind => info!("The notes of other daemons can be read again"),
            _ => {}
        }
        self.is_blind = !sight.is_readable();
    }

    /// What was held and is wanted by no other daemon. What another daemon has taken is held no longer.
    fn judge_held(&mut self, notes: &[Note], claims: Option<&Claims>, now: Instant) -> BTreeSet<ServiceKey> {
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

    /// The notes that count: also those of daemons that may be on their way back.
    fn living(&mut self, mut notes: Vec<Note>, now: Instant) -> Vec<Note> {
        for note in notes.iter().filter(|note| note.is_alive()) {
            self.seen.insert(note.name.clone(), now);
        }
        notes.retain(|note| self.seen.get(&note.name).is_some_and(|at| *at + LINGER > now));
        notes
    }

    /// What of the configuration belongs to others. A service that is ours, too, belongs to the daemon that was started first.
    fn theirs(&self, notes: &[Note], mine: &BTreeSet<ServiceKey>) -> Claims {
        let own = (Process::own().started, self.directory.own_name());
        let belongs = |note: &Note, key: &ServiceKey| {
            let is_first = note.state == Life::Runs
                && note.daemon.is_some_and(|daemon| (daemon.started, note.name.as_str()) < own);
            note.keeps(key) && (is_first || !mine.contains(key))
        };
        let owner =
            |key: ServiceKey| Some((key, notes.iter().find(|note| belongs(note, &key))?.name.clone()));
        self.all.iter().copied().filter_map(owner).collect()
    }

    /// `whole`: the plan of the configuration, where it is at hand.
    fn share(
        &mut self,
        whole: Option<Plan>,
        elsewhere: Claims,
        notes: &[Note],
        mine: &BTreeSet<ServiceKey>,
        now: Instant,
    ) -> Share {
        self.report(&elsewhere);
        self.elsewhere = elsewhere;
        self.offered.retain(|key, _| !is_taken(notes, key));
        self.collision_until = now + COLLISION;
        self.plan_look(now);
        let plan = self.plan(whole);
        let goes = mine.difference(&keys(plan.config())).copied().collect::<BTreeSet<_>>();
        let is_theirs = |key: &ServiceKey| self.elsewhere.contains_key(key) || is_taken(notes, key);
        let handed_over = goes.into_iter().filter(is_theirs).collect();
        Share { plan: Some(plan), handed_over, abandoned: BTreeSet::new() }
    }

    fn plan(&self, whole: Option<Plan>) -> Plan {
        match whole {
            Some(plan) if self.elsewhere.is_empty() && self.offered.is_empty() => plan,
            _ => {
                let elsewhere = self.elsewhere.keys().map(|key| desired::virtual_id(*key)).collect();
                Plan::shared(
                    &self.whole,
                    &elsewhere,
                    self.offered.values().map(|offer| offer.service.clone()),
                )
            }
        }
    }

    /// Reports which services have come and gone.
    fn report(&self, elsewhere: &Claims) {
        for (key, owner) in elsewhere.iter().filter(|(key, _)| !self.elsewhere.contains_key(*key)) {
            error!(
                "Virtual server {} is owned by the daemon {} and left to it; take it out of one of the two configurations",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
        for (key, owner) in self.elsewhere.iter().filter(|(key, _)| !elsewhere.contains_key(*key)) {
            info!(
                "Virtual server {} is owned by the daemon {} no more",
                desired::virtual_id(*key),
                escaped(owner)
            );
        }
    }
}

/// The end of a look at the others; never comes where there is none.
pub(super) async fn sight(peers: &mut Option<Peers>) -> Sight {
    match peers {
        Some(peers) => peers.sight().await,
        None => std::future::pending().await,
    }
}

/// Whether another daemon has taken what is offered.
fn is_taken(notes: &[Note], key: &ServiceKey) -> bool {
    notes.iter().any(|note| note.state == Life::Runs && note.keeps(key))
}

#[cfg(test)]
mod tests;
