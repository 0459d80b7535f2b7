//! ldirectord-rs: the health checker for Linux Virtual Server.
//!
//! A pure core turns text, check verdicts and *now* into a wanted IPVS table; a thin shell reads, checks, writes and tells.
//!
//! ```text
//! text → ast → Config → Plan → checks → Verdict ─┐
//!                        maintenance, reload, stop ┼→ Director ─→ steps → kernel → results ─┐
//!                                                  ┘     ↑─────────────────────────────────┘
//!                                                        └→ Event → log · mail · monitor file · commands
//! ```
//!
//! # The core: no I/O, no clock, no runtime
//!
//! | module | says |
//! | --- | --- |
//! | [`value`] | addresses, ids, forwarding methods, patterns, verdicts: parsed once, valid ever after |
//! | [`config`] | `ldirectord.cf` ↔ typed configuration, *all* diagnostics; the one table of directives |
//! | [`plan`] | the distinct checks of a configuration, and who waits for each |
//! | [`health`] | the state machine: verdicts and *now* → up or down, transitions, what is due next |
//! | [`desired`] | plan and health → the wanted table, one virtual service at a time: quiescent, fallback, weights, thresholds; the only translator between ldirectord's words and the kernel's |
//! | [`event`] | what happened, as one value without text |
//! | [`director`] | decides: verdicts, configurations and *now* → events, and requests to the kernel one after the other |
//!
//! # The shell
//!
//! | module | says |
//! | --- | --- |
//! | [`net`] | dialling, TLS and the system's resolver, with deadlines |
//! | [`sys`] | pid file and lock, detaching, limits, log sinks, the watch on a file, privileges, programs of the operator, the service manager |
//! | [`settings`] | the daemon's own settings: file and environment |
//! | [`check`] | runs one probe → verdict; one file a protocol |
//! | [`notify`] | what happened, in the original's words: log lines, mail, monitor files, commands |
//! | [`report`] | the state for `check`, `show` and the control socket: one view, as JSON and as a table |
//! | [`control`] | the Unix socket: requests in, answers and event streams out |
//! | [`daemon`] | one loop that owns all mutable state and joins the above |
//! | [`cli`] | arguments → command → exit code |
//!
//! The kernel's table, the difference of two tables and a table in memory are the library `ipvs-rs`; the regular expressions of
//! `receive` are the library `perl-pattern`.
//! `tests/tidy.rs` refuses a `use` or an `impl` that does not follow these tables, and circles between the files of a module.
//!
//! # Where is …?
//!
//! | what | where |
//! | --- | --- |
//! | a directive: its name, place, kind, default and help | `config/directive/table.rs` |
//! | how the value of each kind is read | `config/typed/kind.rs` |
//! | which field a directive sets | `config/typed/place.rs` |
//! | how a configuration is written as text | `config/write` |
//! | which port and which request a check uses | `plan/build.rs` |
//! | how a check is described in logs and listings | `plan/describe.rs` |
//! | how TLS is spoken, and to whom | `value/tls.rs`, `net/tls.rs`; one client a policy: `check/clients.rs`; STARTTLS: `check/dialogue/starttls.rs` |
//! | which names redirects lead to, and what a silent resolver means | `net/lookup.rs`, `check/http/open.rs` |
//! | how text of servers is made fit to be shown, and what is left out as a secret | `value/shown.rs` |
//! | what a pattern of `receive` means | `perl-pattern/src/parse.rs`, `perl-pattern/src/rewrite.rs` |
//! | where a pattern or a library runs that takes long | `check/matching.rs`, `check/aside.rs` |
//! | what a page or a file without an end means | `check/content.rs`; which heads of HTTP are accepted: `check/http/lenient.rs` |
//! | when a server counts as down | `health/server.rs` |
//! | what drain, down, up and a file in `maintenancedir` do | `health/overrides.rs`, `director/steer.rs`; requests: `daemon/steer.rs`; the saved file: `daemon/overrides.rs` |
//! | which removed servers stay at a reload, and when they go | `health/leaving.rs`, `director/mod.rs` |
//! | when a check runs, how bursts are spread | `health/schedule.rs`, `health/spread.rs` |
//! | when "no route to host" is tried again | `check/mod.rs`; link events: `sys/links.rs` |
//! | when a deadline moves because the daemon did not run | `check/attendance.rs` |
//! | why a check says nothing of its server | `value/verdict.rs` (`UnknownCause`), `net/mod.rs`; for how long: `health/unchecked.rs` |
//! | how many checks run at once, and which first | `daemon/places.rs`, `daemon/backlog.rs`, `health/schedule.rs` |
//! | how long a turn of the loop may take | `daemon/checks.rs`, `daemon/turn.rs` |
//! | when the fallback is in, what weight a server has | `desired.rs` |
//! | what is adopted at the start | `desired.rs` (`in_service`), `director/mod.rs`; which services are ours: `daemon/owned.rs` |
//! | what a reload would change | `director/preview.rs`; which transition caused a change: `director/pending.rs` |
//! | which operations a change costs, what happens on a refusal | `director/reconciler.rs`; who carries them out: `daemon/kernel.rs` |
//! | when a changed file counts | `daemon/stable.rs`; how it is watched and read: `daemon/observe.rs`, `sys/watch.rs`, `sys/regular.rs` |
//! | how the configuration is read again | `daemon/reload.rs`; how it is applied: `daemon/apply.rs`; which address of a name counts: `daemon/addresses.rs` |
//! | what a signal does | `daemon/signals.rs`, `daemon/run.rs`; how the daemon ends: `daemon/finish.rs`; what a restart hands over: `daemon/handover.rs` |
//! | what waits for a log or a monitor file that hangs | `sys/lane.rs`, `sys/log.rs` |
//! | the words of the log, its fields and their `MESSAGE_ID` | `notify/line.rs`, `value/change.rs`; the forms of a line: `sys/log/line.rs`; the limit per second: `notify/storm.rs` |
//! | what an alert says, who is reminded, how mail goes | `notify/letter.rs`, `notify/reminders.rs`, `notify/post.rs`; the session with a relay: `notify/relay.rs`; which addresses are accepted: `value/mailbox.rs` |
//! | when `fallbackcommand` runs | `notify/fallback.rs`; how it is run: `notify/commands.rs` |
//! | which service belongs to which daemon | `daemon/peers.rs`, `daemon/directory.rs`; what is noted: `daemon/owned.rs`; who writes it: `daemon/notes.rs` |
//! | who is in maintenance | `daemon/maintenance.rs` |
//! | what the daemon may do, and when it gives the rest up | `cli/privileges.rs`, `sys/privileges.rs`; which files it gives away: `sys/give.rs` |
//! | what the manual says of a directive | `docs/man/directives.md`, put together by `examples/manual` |
//! | which words of the command line mean what | `cli/arguments.rs` |
//! | what a dry run does not do | `settings.rs` (`Acts`), `notify/post.rs`, `notify/commands.rs`, `check/external.rs` |
//! | exit codes and the words of `status` | `cli/mod.rs`, `cli/actions.rs`, `cli/launch.rs` |
//! | what `-t` and `--json` say of a file | `cli/judge.rs`; codes of findings: where each is reported in `config` |
//! | what can be asked of a daemon, and by whom | `control/protocol.rs`, `control/rights.rs`; which services are looked at again for it: `daemon/publisher.rs` |
//! | what systemd shows as the status | `report/status.rs`; when it is told, and what waits for a manager that does not read: `sys/manager.rs` |
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
pub mod director;
pub mod event;
pub mod health;
pub mod net;
pub mod notify;
pub mod plan;
pub mod report;
pub mod settings;
pub mod sys;
pub mod value;
