//! ldirectord-rs: the health checker for Linux Virtual Server.
//!
//! A pure core turns text, check verdicts and *now* into the wanted IPVS table. A thin shell reads, checks, writes
//! and reports.
//!
//! ```text
//! text → ast → Config → Spec → checks → Verdict ─┐
//!                        maintenance, reload, stop ┼→ Director ─→ steps → kernel → results ─┐
//!                                                  ┘     ↑─────────────────────────────────┘
//!                                                        └→ Event → log · mail · monitor file · commands
//! ```
//!
//! # The core: no I/O, no clock, no runtime
//!
//! | module | contents |
//! | --- | --- |
//! | [`value`] | addresses, ids, forwarding methods, patterns, verdicts: parsed once, always valid |
//! | [`config`] | `ldirectord.cf` ↔ typed configuration, *all* diagnostics; the one table of directives |
//! | [`spec`] | the distinct checks of a configuration, and the servers that need each |
//! | [`health`] | the state machine: verdicts and *now* → up or down, transitions, the next due time |
//! | [`desired`] | spec and health → the wanted table, one virtual service at a time: quiescent, fallback, weights, thresholds; the only translation between ldirectord's terms and the kernel's |
//! | [`event`] | one thing that happened, as a value without text |
//! | [`diagnosis`] | judges whether a machine suits a configuration: facts that the shell observed → findings, each with its reason and its remedy |
//! | [`director`] | decides: verdicts, configurations and *now* → events, and requests to the kernel, one at a time |
//!
//! # The shell
//!
//! | module | contents |
//! | --- | --- |
//! | [`net`] | connections, TLS and the system's resolver, with deadlines |
//! | [`sys`] | pid file and lock, detaching, limits, log sinks, the watch on a file, privileges, operator commands, the service manager |
//! | [`settings`] | the daemon's own settings: file and environment |
//! | [`check`] | runs one probe → verdict; one file per protocol |
//! | [`notify`] | events as text, in the original's words: log lines, mail, monitor files, commands |
//! | [`report`] | the state for `check`, `show` and the control socket: one view, as JSON and as a table |
//! | [`control`] | the Unix socket: requests in, answers and event streams out |
//! | [`http`] | the HTTP listener, on a thread of its own: metrics, state, events, health; one file per endpoint |
//! | [`daemon`] | one loop that owns all mutable state and connects the modules above |
//! | [`cli`] | arguments → command → exit code |
//!
//! The kernel's table, the difference of two tables and a table in memory are the library `ipvs-rs`; the regular
//! expressions of `receive` are the library `perl-pattern`. `tests/tidy.rs` refuses a `use` or an `impl` that does
//! not follow these tables, and cycles between the files of a module.
//!
//! # Where is …?
//!
//! | what | where |
//! | --- | --- |
//! | a directive: its name, place, kind, default and help | `config/directive/table.rs` |
//! | how the value of each kind is read | `config/typed/kind.rs` |
//! | which field a directive sets | `config/typed/place.rs` |
//! | how a configuration is written as text | `config/write` |
//! | which port and which request a check uses | `spec/build.rs` |
//! | how a check is described in logs and listings | `spec/describe.rs` |
//! | TLS versions, certificates and names | `value/tls.rs`, `net/tls/mod.rs`; one client per policy: `check/clients.rs`; STARTTLS: `check/dialogue/starttls.rs` |
//! | which names redirects lead to, and what a resolver without an answer means | `net/lookup/mod.rs`, `check/http/open.rs` |
//! | how text of servers is escaped, and which secrets are left out | `value/shown.rs`; how a secret that a server, a relay or a command repeats is masked: `value/mask.rs`, `check/mask.rs` |
//! | what a pattern of `receive` means | `perl-pattern/src/parse.rs`, `perl-pattern/src/rewrite.rs` |
//! | where a slow pattern or library call runs | `check/matching.rs`, `check/aside.rs` |
//! | what an endless page or file means | `check/content.rs`; which HTTP headers are accepted: `check/http/lenient.rs` |
//! | when a server counts as down | `health/server.rs` |
//! | what drain, down, up, weight and a file in `maintenancedir` do | `health/overrides.rs`, `health/weight.rs`, `director/steer.rs`; requests: `daemon/steer.rs`; the saved file: `daemon/overrides.rs`, `daemon/unsaved.rs`; which may be forgotten: `daemon/old_overrides.rs` |
//! | which removed servers stay at a reload, and until when | `health/leaving.rs`, `director/reload.rs` |
//! | when a check runs, how bursts are spread | `health/schedule.rs`, `health/spread.rs` |
//! | when "no route to host" is tried again | `check/mod.rs`; link events: `sys/links.rs` |
//! | when a deadline moves because the daemon did not run | `check/attendance.rs` |
//! | when the result of a check is unknown | `value/verdict.rs` (`UnknownCause`), `net/mod.rs`; for how long: `health/unchecked.rs` |
//! | how many checks run at once, and which first | `daemon/places.rs`, `daemon/backlog.rs`, `health/schedule.rs` |
//! | how long a turn of the loop may take | `daemon/checks.rs`, `daemon/turn.rs` |
//! | when the fallback is activated, what weight a server has | `desired.rs` |
//! | what is adopted at the start | `desired.rs` (`in_service`), `director/mod.rs`; which services are ours: `daemon/owned.rs` |
//! | what a reload or a start would change | `director/preview.rs`; the command `plan`: `daemon/plan.rs`, `report/plan.rs`, `report/outline.rs`, `cli/plan.rs`; which transition caused a change: `director/pending.rs` |
//! | when a service counts as without a server | `director/rotation.rs` |
//! | which operations a change needs, what happens on a refusal | `director/reconciler.rs`; what applies them: `daemon/kernel.rs` |
//! | when a changed file is read | `daemon/stable/mod.rs`; how it is watched and read: `daemon/observe.rs`, `sys/watch.rs`, `sys/regular.rs` |
//! | how a file becomes a spec | `daemon/load/mod.rs`; its host names, ports and files: `daemon/load/answers.rs` |
//! | how the configuration is read again | `daemon/reload.rs`; how it is applied: `daemon/apply.rs`; which address of a name is used: `daemon/addresses.rs` |
//! | what a signal does | `daemon/signals.rs`, `daemon/run.rs`; how the daemon ends: `daemon/finish.rs`; what a restart hands over: `daemon/handover.rs` |
//! | how a log or a monitor file that hangs is kept from delaying checks | `sys/write_queue.rs`, `sys/log/mod.rs` |
//! | the words of the log, its fields and their `MESSAGE_ID` | `notify/line.rs`, `value/change.rs`; the forms of a line: `sys/log/line.rs`; the limit per second: `notify/storm.rs` |
//! | the text of an alert, reminders, delivery of mail | `notify/mail/message.rs`, `notify/mail/details.rs`, `notify/mail/reminders.rs`, `notify/mail/delivery/mod.rs`; the session with a relay: `notify/mail/relay.rs`; which addresses are accepted: `value/mailbox.rs` |
//! | how messages are queued, retried and dropped | `notify/queue/mod.rs` |
//! | when `fallbackcommand` runs | `notify/fallback.rs`; how it is run: `notify/commands.rs` |
//! | which service belongs to which daemon | `daemon/peers/mod.rs`, `daemon/directory.rs`; what is saved: `daemon/owned.rs`; how it is written: `daemon/notes/mod.rs` |
//! | which servers are in maintenance | `daemon/maintenance/mod.rs` |
//! | which privileges the daemon keeps, and when it gives up the rest | `cli/privileges.rs`, `sys/privileges.rs`; which files it gives away: `sys/give.rs` |
//! | the manual of a directive | `docs/man/directives.md`, assembled by `examples/manual` |
//! | the files for keepalived's `track_file` | `daemon/track.rs`, `daemon/tracking.rs` |
//! | when a server counts as in rotation for scripts | `report/rotation.rs`; how a command waits for a restart: `cli/ask.rs` |
//! | how the command line is parsed | `cli/arguments/mod.rs`; our own commands and their usage: `cli/arguments/own.rs`, `cli/arguments/ask.rs`, `cli/arguments/steer.rs`, `cli/arguments/help.rs` |
//! | when `drain --wait` ends | `report/emptying.rs`, `cli/wait.rs` |
//! | how saved overrides are restored | `report/saved.rs`, `cli/import.rs` |
//! | how a client follows events | `control/stream.rs`, `cli/events.rs`; over HTTP: `http/events.rs` |
//! | what a dry run does not do | `settings/mod.rs` (`Acts`), `notify/mail/queue.rs`, `notify/commands.rs`, `check/external.rs` |
//! | exit codes, and why a command failed | `cli/mod.rs`, `cli/failure.rs` |
//! | what an action does, and the words of `status` | `cli/start.rs`, `cli/stop.rs`, `cli/restart.rs`, `cli/reload.rs`, `cli/status.rs`; how a daemon is started: `cli/launch.rs`; what it reports to `start`: `daemon/starting.rs`, `sys/detach.rs` |
//! | what `check` finds wrong on a machine | `diagnosis`; what it looks at: `cli/machine`; how it is printed: `report/findings/mod.rs` |
//! | what `-t` and `--json` print about a file | `cli/judge.rs`; codes of findings: where each is reported in `config` |
//! | the requests of the control socket, and who may send them | `control/protocol.rs`, `control/rights.rs`; how the loop answers: `daemon/requests.rs`; which services are published again: `daemon/publisher.rs` |
//! | which host names, clients and requests the HTTP listener accepts | `http/hosts.rs`, `http/connection.rs`, `http/dispatch.rs`; where it listens: `settings/http.rs`, `http/listener.rs` |
//! | what the control socket and the HTTP listener share | `control/access.rs`; how a large answer stays small in memory: `control/pieces.rs`, `report/stream.rs`, `control/recent.rs` |
//! | a metric, its labels and help | `report/metrics/families.rs`; what is counted: `report/metrics/meters.rs`, `daemon/metering.rs`, `daemon/metrics.rs` |
//! | everything known about one server | `report/story.rs`, `report/history.rs`, `daemon/story.rs`; connections and traffic: `report/counters.rs`, `daemon/counters.rs` |
//! | which phases a check has, and how long each took | `value/phase.rs`, `check/progress.rs` |
//! | the status line in systemd | `report/status.rs`; when it is sent, and what happens if the manager does not read: `sys/manager.rs` |
//! | names of settings, and earlier names that are accepted | `settings/names.rs`; how times and numbers are read: `settings/duration.rs`, `settings/number.rs` |
//! | what `credential:NAME` means | `settings/credential.rs` |
//! | which directives have no effect in a virtual service | `config/typed/judge.rs`, `config/typed/kernel.rs` |
//! | `tunnel`, `persistengine`, `timeouts`, SCTP | `config/typed/kernel.rs`, `desired.rs`, `director/reconciler.rs`, `check/sctp.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod desired;
pub mod diagnosis;
pub mod director;
pub mod event;
pub mod health;
pub mod http;
pub mod net;
pub mod notify;
pub mod report;
pub mod settings;
pub mod spec;
pub mod sys;
pub mod value;
