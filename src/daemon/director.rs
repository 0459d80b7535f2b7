//! All mutable state in one place, without I/O of its own: plan, health, and what stands in the kernel's table.
//!
//! Each method takes *now*, changes the state, and says what happened as [`Notice`]s. The table is reconciled, never
//! edited: wanted minus present gives the operations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvs_rs::{DestinationConfig, DestinationKey, Ipvs, Operation, ServiceKey, Table, diff};

use super::owned::Owned;
use super::timeouts;
use crate::desired;
use crate::health::{CheckId, Due, Health};
use crate::notify::{Notice, monitor};
use crate::plan::Plan;
use crate::value::{Change, Occasion, Outcome, Verdict};

/// After a refused operation the table is read back after this long, then after twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The state of a running daemon.
pub struct Director {
    plan: Plan,
    /// The plan without the servers that are leaving, while there are some.
    settled: Option<Plan>,
    health: Health,
    ipvs: Box<dyn Ipvs>,
    /// Our part of the kernel's table as far as we know it.
    present: Table,
    /// The services that are ours: those of the plan, and those of earlier plans until they are gone.
    owned: BTreeSet<ServiceKey>,
    /// Destinations that somebody else removed: with `readdquiescent=no` they are not put back for a weight of 0.
    withdrawn: BTreeSet<(ServiceKey, DestinationKey)>,
    /// How often the table is read back without a cause; none: never.
    verify_interval: Option<Duration>,
    verify_at: Option<Instant>,
    retry: Duration,
    /// The kernel's time-outs have to be looked at.
    timeouts_due: bool,
    /// What was refused and said already, so that it is said once.
    refused: BTreeSet<String>,
    /// What checks warn of and was said already. The words of a warning change when it is time to say it again.
    warned: BTreeMap<CheckId, String>,
}

impl Director {
    /// Takes the table over: adopts what the kernel has in service, and sets up the rest. `formerly` are services that an
    /// earlier run of this daemon left behind.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn start(
        plan: Plan,
        mut ipvs: Box<dyn Ipvs>,
        formerly: &BTreeSet<ServiceKey>,
        verify_interval: Option<Duration>,
        now: Instant,
    ) -> Result<(Director, Vec<Notice>), ipvs_rs::Error> {
        let mut owned = planned(&plan);
        let present = read(&mut *ipvs, &owned.union(formerly).copied().collect())?;
        owned.extend(formerly.iter().filter(|key| present.services.contains_key(key)));
        let health = Health::new(&plan, &desired::in_service(&plan, &present), now);
        let mut director = Director {
            plan,
            settled: None,
            health,
            ipvs,
            present,
            owned,
            withdrawn: BTreeSet::new(),
            verify_interval,
            verify_at: verify_interval.map(|interval| now + interval),
            retry: FIRST_RETRY,
            timeouts_due: true,
            refused: BTreeSet::new(),
            warned: BTreeMap::new(),
        };
        let notices = director.reconcile(now);
        Ok((director, notices))
    }

    /// Whether a server counts as down when no check could be carried out for long. It stays in rotation otherwise.
    pub fn set_unchecked_is_down(&mut self, unchecked_is_down: bool) {
        self.health.set_unchecked_is_down(unchecked_is_down);
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of the servers.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Our part of the table as we know it.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.present
    }

    /// The services that are ours.
    #[must_use]
    pub fn owned(&self) -> &BTreeSet<ServiceKey> {
        &self.owned
    }

    /// When [`Director::due`] or [`Director::verify`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.health.poll_timeout(), self.verify_at, self.health.leaves_at(&self.plan)];
        times.into_iter().flatten().min()
    }

    /// Gives the checks to start now to `start`, until it has no place for one. Says when checks fall behind.
    pub fn due(&mut self, now: Instant, start: impl FnMut(Due) -> bool) -> Vec<Notice> {
        self.settle(now);
        self.health.due(&self.plan, now, start);
        self.health.punctuality(now).map(Notice::Punctuality).into_iter().collect()
    }

    /// Has every check run now.
    #[cfg(test)]
    pub fn hurry_all(&mut self, now: Instant) {
        self.health.hurry_all(now);
    }

    /// Whether a check is one of the plan's.
    #[must_use]
    pub fn knows(&self, id: CheckId) -> bool {
        self.health.knows(id)
    }

    /// Takes in verdicts, and puts what follows from them into the table.
    pub fn verdicts(&mut self, verdicts: Vec<(CheckId, Verdict)>, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (id, verdict) in verdicts {
            notices.extend(self.monitored(id, &verdict).into_iter().map(Notice::Monitor));
            notices.extend(self.warned_of(id, &verdict));
            let transitions = self.health.verdict(&self.plan, id, verdict, now);
            notices.extend(transitions.into_iter().map(Notice::Health));
        }
        notices.extend(self.health.blindness(&self.plan, now).into_iter().map(Notice::Blindness));
        if notices.iter().any(Notice::moves_a_server) {
            notices.extend(self.reconcile(now));
        }
        notices
    }

    /// What a check warns of, unless it was said in the same words before. A check that came to an end without a warning ends
    /// the matter.
    fn warned_of(&mut self, id: CheckId, verdict: &Verdict) -> Option<Notice> {
        let member = self.health.members(&self.plan, id).first()?;
        match &verdict.warning {
            Some(warning) if self.warned.get(&id) != Some(warning) => {
                self.warned.insert(id, warning.clone());
                let server = self.plan.check_of(*member)?.key.probe.target;
                Some(Notice::Warning { server, warning: warning.clone() })
            }
            None if verdict.outcome == Outcome::Up => {
                self.warned.remove(&id);
                None
            }
            _ => None,
        }
    }

    /// What belongs into monitor files.
    fn monitored(&self, id: CheckId, verdict: &Verdict) -> Vec<monitor::Line> {
        let members = self.health.members(&self.plan, id);
        members
            .iter()
            .filter_map(|member| monitor::line(&self.plan, &self.health, *member, verdict))
            .collect()
    }

    /// Takes servers out for maintenance, by their configured addresses and with the reason of each; all others return.
    pub fn maintain(&mut self, servers: &BTreeMap<SocketAddr, String>, now: Instant) -> Vec<Notice> {
        let transitions = self.health.maintain(&self.plan, |address| servers.get(&address).cloned(), now);
        let mut notices: Vec<Notice> = transitions.into_iter().map(Notice::Health).collect();
        if !notices.is_empty() {
            notices.extend(self.reconcile(now));
        }
        notices
    }

    /// Gives services up that stay in the table as they are: they are another daemon's from now on.
    pub fn leave(&mut self, services: &BTreeSet<ServiceKey>) {
        self.owned.retain(|key| !services.contains(key));
        self.present.services.retain(|key, _| !services.contains(key));
    }

    /// Applies another plan as a whole: servers that stay keep their state, services that go are removed. Where a service would be
    /// left without a server in rotation, those that go stay until another one is up.
    pub fn reload(&mut self, plan: Plan, now: Instant) -> Vec<Notice> {
        let mut notices = self.read_back(&planned(&plan));
        let in_service = desired::in_service(&plan, &self.present);
        let health = self.health.replan(&self.plan, &plan, &in_service, now);
        let kept = self.health.to_keep(&self.plan, &plan, &health);
        if kept.is_empty() {
            (self.plan, self.settled, self.health) = (plan, None, health);
        } else {
            let with_leaving = plan.with_leaving(&self.plan, &kept);
            self.health = self.health.replan(&self.plan, &with_leaving, &in_service, now);
            (self.plan, self.settled) = (with_leaving, Some(plan));
        }
        notices.extend(self.plan.leaving().iter().map(|member| Notice::Leaving(*member)));
        self.warned.retain(|id, _| self.health.knows(*id));
        self.refused.clear();
        self.timeouts_due = true;
        self.withdrawn.clear();
        notices.extend(self.reconcile(now));
        notices
    }

    /// Forgets the servers that were leaving when all have gone. Not before what happened to them was told: their places in the plan
    /// go with them.
    fn settle(&mut self, now: Instant) {
        if self.health.leaves_at(&self.plan).is_some() {
            return;
        }
        if let Some(plan) = self.settled.take() {
            self.health = self.health.replan(&self.plan, &plan, &BTreeSet::new(), now);
            self.plan = plan;
        }
    }

    /// Reads the table back if it is time to, and undoes third-party changes. Lets go of servers whose time to leave has come.
    pub fn verify(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = self.look_at_table(now);
        if self.health.let_go(&self.plan, now) {
            notices.extend(self.reconcile(now));
        }
        notices
    }

    fn look_at_table(&mut self, now: Instant) -> Vec<Notice> {
        if self.verify_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.verify_at = self.verify_interval.map(|interval| now + interval);
        self.timeouts_due = true;
        let mut notices = self.read_back(&BTreeSet::new());
        notices.extend(self.reconcile(now));
        notices
    }

    /// What is ours, and what of it stays when the daemon stops.
    #[must_use]
    pub fn owned_and_kept(&self) -> Owned {
        let kept = planned(&self.plan).difference(&cleaned(&self.plan)).copied().collect();
        Owned { services: self.owned.clone(), kept, ..Owned::default() }
    }

    /// Removes the services whose `cleanstop` says so. What could not be removed is ours afterwards, and nothing else is.
    pub fn stop(&mut self) -> Vec<Notice> {
        let mut known = self.present.clone();
        // What somebody else has changed is repaired no more, and what they removed is not ours to purge.
        let _ = self.read_back(&BTreeSet::new());
        for (key, service) in &mut known.services {
            let left = self.present.services.get(key);
            service
                .destinations
                .retain(|key, _| left.is_some_and(|left| left.destinations.contains_key(key)));
        }
        let mut changes = self.clean_up();
        if changes.iter().any(Notice::is_refusal) {
            changes.retain(|notice| !notice.is_refusal());
            let _ = self.read_back(&BTreeSet::new());
            changes.extend(self.clean_up().into_iter().map(Notice::at_the_end));
        }
        let stays = planned(&self.plan).difference(&cleaned(&self.plan)).copied().collect::<BTreeSet<_>>();
        self.owned.retain(|key| self.present.services.contains_key(key) && !stays.contains(key));
        // With a service its servers go; each is told of, as the original removes them one by one.
        let servers = |notice: &Notice| match notice {
            Notice::Table(Change::VirtualPurged(of, _)) => {
                desired::purged(&self.plan, &known, desired::service_key(*of))
            }
            _ => Vec::new(),
        };
        let mut notices: Vec<Notice> = changes.iter().flat_map(servers).map(Notice::Table).collect();
        notices.extend(changes);
        notices
    }

    fn clean_up(&mut self) -> Vec<Notice> {
        let mut wanted = self.present.clone();
        for key in cleaned(&self.plan) {
            wanted.services.remove(&key);
        }
        self.carry_out(&diff(&self.present, &wanted), Occasion::Stop)
    }

    /// Makes the table what it should be. An operation that is refused has the table read back and is tried once more.
    fn reconcile(&mut self, now: Instant) -> Vec<Notice> {
        self.health.let_go(&self.plan, now);
        let wanted = self.wanted();
        let mut notices = self.carry_out(&diff(&self.present, &wanted), Occasion::Start);
        if notices.iter().any(Notice::is_refusal) {
            let refused: BTreeSet<Target> = diff(&self.present, &wanted).iter().map(target).collect();
            if let Ok(mut repairs) = self.learn(&BTreeSet::new()) {
                // Where our own operation was refused, the retry tells how it ended.
                repairs.retain(|operation| !refused.contains(&target(operation)));
                let wanted = self.wanted();
                let missing = diff(&self.present, &wanted);
                let retried = self.carry_out(&missing, Occasion::Start);
                if retried.iter().all(|notice| !notice.is_refusal()) {
                    // What was refused for lack of knowledge is as it should be: nobody needs to hear of it.
                    notices.retain(|notice| !notice.is_refusal());
                }
                notices.extend(drift(&repairs));
                notices.extend(retried);
            }
        }
        if std::mem::take(&mut self.timeouts_due)
            && let Some(wanted) = desired::timeouts(&self.plan)
        {
            notices.extend(timeouts::keep(&mut *self.ipvs, wanted));
        }
        self.owned = planned(&self.plan);
        self.owned.extend(self.present.services.keys());
        self.plan_retry(notices.iter().any(Notice::is_refusal), now);
        self.once(notices)
    }

    /// The table as it should be now, without the quiesced servers that somebody took out for good.
    fn wanted(&mut self) -> Table {
        let mut wanted = desired::wanted(&self.plan, &self.health);
        self.withdrawn.retain(|(service, destination)| {
            let destinations = wanted.services.get_mut(service).map(|service| &mut service.destinations);
            let quiesced = |config: &DestinationConfig| config.weight == 0;
            destinations.is_some_and(|all| {
                let stays_out = all.get(destination).is_some_and(quiesced);
                if stays_out {
                    all.remove(destination);
                }
                stays_out
            })
        });
        wanted
    }

    /// Whether an operation puts back what is left to whoever removed it.
    fn stays_out(&self, operation: &Operation) -> bool {
        match operation {
            Operation::AddDestination { service, key, config } => {
                config.weight == 0 && self.withdrawn.contains(&(*service, *key))
            }
            _ => false,
        }
    }

    fn plan_retry(&mut self, refused: bool, now: Instant) {
        if refused {
            let at = now + self.retry;
            self.verify_at = Some(self.verify_at.map_or(at, |planned| planned.min(at)));
            let longest = self.verify_interval.unwrap_or(Duration::from_secs(60)).max(FIRST_RETRY);
            self.retry = (self.retry * 2).min(longest);
        } else {
            self.retry = FIRST_RETRY;
            self.refused.clear();
        }
    }

    /// Drops refusals that were said already.
    fn once(&mut self, mut notices: Vec<Notice>) -> Vec<Notice> {
        notices.retain(|notice| !notice.is_refusal() || self.refused.insert(notice.to_string()));
        notices
    }

    /// Learns our part of the table anew, and says where it was not as we knew it. `also` are services that are ours from
    /// now on: whatever they look like is no surprise.
    fn read_back(&mut self, also: &BTreeSet<ServiceKey>) -> Vec<Notice> {
        match self.learn(also) {
            Ok(repairs) => drift(&repairs).into_iter().collect(),
            Err(error) => vec![Notice::Unreadable(error.to_string())],
        }
    }

    /// As [`Director::read_back`]; gives the operations that lead from what was found to what we knew.
    fn learn(&mut self, also: &BTreeSet<ServiceKey>) -> Result<Vec<Operation>, ipvs_rs::Error> {
        let formerly = self.owned.clone();
        self.owned.extend(also);
        let kernel = read(&mut *self.ipvs, &self.owned)?;
        let ours = desired::restrict(&kernel, &formerly);
        if !self.plan.config().globals.readdquiescent {
            self.withdrawn.extend(removed(&self.present, &ours));
        }
        let mut repairs = diff(&ours, &self.present);
        repairs.retain(|operation| !self.stays_out(operation));
        self.present = kernel;
        Ok(repairs)
    }

    fn carry_out(&mut self, operations: &[Operation], occasion: Occasion) -> Vec<Notice> {
        if operations.is_empty() {
            return Vec::new();
        }
        let mut notices = Vec::with_capacity(operations.len());
        let mut broken = BTreeSet::new();
        for (operation, result) in operations.iter().zip(self.ipvs.apply(operations)) {
            match result {
                Ok(()) => {
                    if let Some(change) = desired::change(&self.plan, operation, occasion) {
                        notices.push(Notice::Table(change));
                    }
                    // The kernel has carried it out, so the copy cannot refuse it unless it was wrong; then it is read anew.
                    if self.present.apply(operation).is_err() {
                        notices.extend(self.read_back(&BTreeSet::new()));
                    }
                }
                // Where the service itself was refused, its servers cannot but be refused.
                Err(_) if broken.contains(&operation.service()) => {}
                Err(error) => {
                    if matches!(operation, Operation::AddService { .. }) {
                        broken.insert(operation.service());
                    }
                    notices
                        .push(Notice::Refused { operation: operation.to_string(), error: error.to_string() });
                }
            }
        }
        notices
    }
}

/// These services as they stand in the kernel. A listing may leave one out, so that whoever is expected and not in it is asked for
/// by itself: to take a service for gone would take its servers out.
fn read(ipvs: &mut dyn Ipvs, services: &BTreeSet<ServiceKey>) -> Result<Table, ipvs_rs::Error> {
    let mut table = desired::restrict(&ipvs.dump()?, services);
    for key in services {
        if !table.services.contains_key(key)
            && let Some(service) = ipvs.service(*key)?
        {
            table.services.insert(*key, service);
        }
    }
    Ok(table)
}

/// The destinations that are gone from services that still stand.
fn removed(before: &Table, after: &Table) -> Vec<(ServiceKey, DestinationKey)> {
    let mut gone = Vec::new();
    for (key, service) in &before.services {
        let Some(left) = after.services.get(key) else { continue };
        let missing = service.destinations.keys().filter(|key| !left.destinations.contains_key(key));
        gone.extend(missing.map(|destination| (*key, *destination)));
    }
    gone
}

/// What an operation is about.
type Target = (ServiceKey, Option<DestinationKey>);

fn target(operation: &Operation) -> Target {
    let destination = match operation {
        Operation::AddDestination { key, .. }
        | Operation::EditDestination { key, .. }
        | Operation::RemoveDestination { key, .. } => Some(*key),
        _ => None,
    };
    (operation.service(), destination)
}

fn drift(repairs: &[Operation]) -> Option<Notice> {
    (!repairs.is_empty()).then(|| Notice::Drift(repairs.iter().map(ToString::to_string).collect()))
}

/// The services that go when the daemon stops.
fn cleaned(plan: &Plan) -> BTreeSet<ServiceKey> {
    plan.virtuals().iter().filter(|v| v.cleanstop).map(|v| desired::service_key(v.id)).collect()
}

fn planned(plan: &Plan) -> BTreeSet<ServiceKey> {
    plan.virtuals().iter().map(|v| desired::service_key(v.id)).collect()
}
