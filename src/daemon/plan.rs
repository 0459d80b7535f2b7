//! What a reload or a start would change now. Reads and computes on another thread, with a copy of the director, and
//! changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use ipvs_rs::{Error, Ipvs, Kernel, Snapshot};
use tracing::subscriber::{NoSubscriber, with_default};

use super::directory::StateDirectory;
use super::load::LoadedFile;
use super::maintenance::{self, Learned, MaintainedServers, MaintenanceDir};
use super::overrides;
use super::owned::{self, OwnedServices};
use super::peers::{Peers, Share};
use super::reload::{MOST_PLANS, ReloadInput, ToRun};
use super::run::{Daemon, begin_peers};
use crate::control::{ErrorCode, PlanAnswer, ReplyChannel, RequestFailure};
use crate::director::{Director, Done, Step};
use crate::report::{self, Moment, Outline, PlanContext, PlanReport};

impl Daemon {
    /// Answers what a reload would change now.
    pub(super) fn plan(&self, reply: ReplyChannel<PlanAnswer>, now: Instant) {
        let Some(place) = self.reloads.place_for_plan() else {
            let message = format!("{MOST_PLANS} plans are not finished yet; try again later");
            return reply.give(Err(RequestFailure { code: ErrorCode::Busy, message }));
        };
        let plan = ReloadPlan {
            input: self.reload_input(None),
            director: self.director.clone(),
            peers: self.peers.as_ref().map(Peers::copy),
            maintained: self.maintenance.known().clone(),
            is_in_kernel: self.handover.is_some(),
        };
        tokio::task::spawn_blocking(move || {
            // What the copy decides did not happen: it must not be in the log.
            let answer = with_default(NoSubscriber::default(), || plan.run(now));
            drop(place);
            reply.give(answer);
        });
    }
}

/// A reload that is only computed.
struct ReloadPlan {
    input: ReloadInput,
    director: Director,
    peers: Option<Peers>,
    maintained: MaintainedServers,
    is_in_kernel: bool,
}

impl ReloadPlan {
    fn run(mut self, now: Instant) -> PlanAnswer {
        let path = self.input.path.clone();
        let ToRun { loaded, rules, in_maintenance, sight } = self.input.read().map_err(|error| {
            let mut lines = error.lines();
            let more = lines.len().saturating_sub(1);
            let first = if lines.is_empty() { String::new() } else { lines.swap_remove(0) };
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            RequestFailure { code: ErrorCode::Refused, message: format!("{first}{more}") }
        })?;
        let warnings = loaded.warning_lines(&path);
        let running = self.director.spec().clone();
        let share = match &mut self.peers {
            None => Share::whole(loaded.spec),
            Some(peers) => peers.apply_reload(loaded.spec, &running, sight, now),
        };
        let mut maintained = in_maintenance.unwrap_or_else(|| self.maintained.clone());
        if rules.is_none() {
            let offered = self.peers.as_ref().map(Peers::offered_servers).unwrap_or_default();
            maintained.extend(self.maintained.into_iter().filter(|(server, _)| offered.contains(server)));
        }
        self.director.leave(&share.handed_over);
        self.director.adopt(share.abandoned);
        let next = share.spec.unwrap_or_else(|| running.clone());
        let (operations, after) = self.director.preview_maintained(next.clone(), &maintained, now);
        let (snapshot, mut notes) = match self.is_in_kernel {
            true => connections(Kernel::open().and_then(|mut kernel| kernel.snapshot())),
            false => (Snapshot::default(), Vec::new()),
        };
        let active = report::active_connections(&snapshot);
        let context = PlanContext { active, is_running: true, ..PlanContext::default() };
        let context = context.with_fallbacks(&running).with_fallbacks(&next);
        notes.extend(report::leaving_notes(after.spec()));
        notes.extend(report::check_notes(&running, &next));
        notes.extend(warnings);
        Ok(PlanReport {
            config: path.display().to_string(),
            occasion: "reload".to_owned(),
            notes,
            operations: report::planned(self.director.table(), &context, &operations),
            diff: Outline::of_spec(&running).changes(&Outline::of_spec(&next), &context.active),
        })
    }
}

/// The table with its connections. Without them a note says what is missing.
fn connections(snapshot: Result<Snapshot, Error>) -> (Snapshot, Vec<String>) {
    match snapshot {
        Ok(snapshot) => (snapshot, Vec::new()),
        Err(error) => {
            let note = format!(
                "the connections cannot be read ({error}), so a server that is removed with connections has no mark"
            );
            (Snapshot::default(), vec![note])
        }
    }
}

/// A start that is only computed.
pub struct StartPlan {
    /// The path of the configuration file.
    pub path: PathBuf,
    /// The name of the configuration.
    pub name: String,
    /// The loaded configuration.
    pub loaded: LoadedFile,
    /// The table. It is only read.
    pub ipvs: Box<dyn Ipvs>,
    /// The directory of the notes of daemons.
    pub state_directory: PathBuf,
    /// The file with the overrides of operators. `None` with a table in memory.
    pub overrides: Option<PathBuf>,
    /// Whether the table is that of the kernel.
    pub is_in_kernel: bool,
}

impl StartPlan {
    /// Computes what the start would change now.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn run(mut self, now: Moment) -> Result<PlanReport, Error> {
        let (wall, now) = (now.wall, now.instant);
        let owned = || OwnedServices::open(self.state_directory.join(owned::file_name(&self.name)));
        let owned = self.is_in_kernel.then(owned);
        let previously_owned = owned::of_earlier_run(owned.as_ref()).await;
        let directory =
            if self.is_in_kernel { StateDirectory::new(&self.state_directory, &self.name) } else { None };
        let LoadedFile { spec, hosts, .. } = self.loaded;
        let rules = MaintenanceDir::of(&spec, [], Learned::default());
        let (maintained, note) = maintenance::at_start(rules.as_ref(), &spec, &mut *self.ipvs).await;
        let saved = overrides::find(self.overrides.as_deref(), Moment { instant: now, wall }).await;
        let (_, spec, previously_owned) = begin_peers(directory, spec, previously_owned, &hosts, now).await;
        let keys: BTreeSet<_> = Director::to_read(&spec, &previously_owned);
        let present = match super::kernel::perform(&mut *self.ipvs, Step::Read(keys)) {
            Some(Done::Read(table)) => table?,
            _ => return Err(Error::NoAnswer),
        };
        let mut director = Director::new(spec.clone(), present, &previously_owned, None, now);
        director.maintain(&maintained, now);
        let forgotten = overrides::restore(&mut director, saved, now);
        let operations = director.preview(None, now);
        let (snapshot, mut notes) = connections(self.ipvs.snapshot());
        let active = report::active_connections(&snapshot);
        let context = PlanContext { active, ..PlanContext::default() }.with_fallbacks(&spec);
        notes.extend([note, forgotten].into_iter().filter(|note| !note.is_empty()));
        Ok(PlanReport {
            config: self.path.display().to_string(),
            occasion: "start".to_owned(),
            notes,
            operations: report::planned(director.table(), &context, &operations),
            diff: Outline::of_table(director.table(), &spec)
                .changes(&Outline::of_spec(&spec), &context.active),
        })
    }
}
