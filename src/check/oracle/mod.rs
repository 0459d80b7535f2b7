//! `service=oracle`: asks Oracle's listener to connect to the database (Oracle Net, packets CONNECT, ACCEPT, REFUSE,
//! REDIRECT and RESEND). With the feature `oracle` a login and a query follow, in a separate process.

#[cfg(feature = "oracle")]
pub mod login;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::failure::{judge_error, unreachable};
use super::format;
use super::progress::{CheckStep, Progress};
use super::sql::INCOMPLETE;
use crate::net::{cause, dial};
use crate::spec::{Probe, SqlProbe};
use crate::value::Verdict;

/// Packet types.
const CONNECT: u8 = 1;
const ACCEPT: u8 = 2;
const REFUSE: u8 = 4;
const REDIRECT: u8 = 5;
const RESEND: u8 = 11;
/// Length, checksum, type, flags, checksum of the header.
const HEADER: usize = 8;
/// The offset of the data in a CONNECT.
const DATA: u16 = 58;
/// Longer packets are rejected.
const MAX_PACKET: usize = 8192;
/// How many times a listener may request the packet again.
const MAX_RESENDS: usize = 3;
/// ORA-12505: the listener does not know the system identifier (SID).
const UNKNOWN_SID: u32 = 12505;

/// The answer of a listener.
enum ListenerAnswer {
    /// It accepts or redirects. The words for the reason.
    Good(&'static str),
    /// It refuses: the number of the error, 0 for none, and its text.
    Refused(u32, String),
}

/// Asks the listener, and logs in if this build can.
pub(super) async fn run(probe: &Probe, sql: &SqlProbe, progress: &Progress) -> Verdict {
    let name = match sql.database.as_str() {
        "" => format!("oracle {}", probe.target),
        database => format!("oracle {}/{database}", probe.target),
    };
    if sql.is_incomplete() {
        return Verdict::down(format!("{name}: {}", INCOMPLETE));
    }
    match tns_connect(&name, probe.target, &sql.database, progress).await {
        #[cfg(feature = "oracle")]
        Ok((_, connect)) => login::run(&name, probe, sql, &connect, progress).await,
        #[cfg(not(feature = "oracle"))]
        Ok((said, _)) => Verdict::up(format!(
            "{name}: the listener {said}; login not checked (built without the feature oracle)"
        )),
        Err(verdict) => verdict,
    }
}

/// Asks the listener. Returns its answer in words, and the connect data that it accepted.
async fn tns_connect(
    name: &str,
    target: SocketAddr,
    database: &str,
    progress: &Progress,
) -> Result<(&'static str, String), Verdict> {
    // `database` is a system identifier, as in the original. Pluggable databases have only a service name.
    let names = [format!("(SID={database})"), format!("(SERVICE_NAME={database})")];
    let asked = if database.is_empty() { &["(COMMAND=ping)".to_owned()][..] } else { &names[..] };
    let mut refusal = None;
    for connect in asked {
        match ask(name, target, connect, progress).await? {
            ListenerAnswer::Good(said) => return Ok((said, connect.clone())),
            ListenerAnswer::Refused(0, _) if database.is_empty() => return Ok(("answers", connect.clone())),
            ListenerAnswer::Refused(number, text) => {
                let told = Verdict::down(format!("{name}: the listener refuses: {}", explain(number, &text)));
                let unknown = number == UNKNOWN_SID;
                refusal = Some(told);
                if !unknown {
                    break;
                }
            }
        }
    }
    Err(refusal.unwrap_or_else(|| Verdict::down(format!("{name}: nothing was asked"))))
}

async fn ask(
    name: &str,
    target: SocketAddr,
    connect: &str,
    progress: &Progress,
) -> Result<ListenerAnswer, Verdict> {
    let broken = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the server closed the connection instead of answering".to_owned()
            }
            _ => cause(&error),
        };
        let reason = format!("{name}: CONNECT: {reason}");
        judge_error(reason, &error)
    };
    progress.connecting(target);
    let mut stream =
        dial::connect(target).await.map_err(|error| unreachable(&format!("connect to {target}"), &error))?;
    progress.connected(CheckStep::Answer("the listener"));
    let packet = connect_packet(target, connect);
    for _ in 0..=MAX_RESENDS {
        stream.write_all(&packet).await.map_err(broken)?;
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await.map_err(broken)?;
        progress.received(&header);
        let length = usize::from(u16::from_be_bytes([header[0], header[1]]));
        if !(HEADER..=MAX_PACKET).contains(&length) {
            let head = format::beginning(&header, HEADER);
            return Err(Verdict::down(format!(
                "{name}: the answer is not Oracle Net; it begins with {head}"
            )));
        }
        let mut body = vec![0; length - HEADER];
        stream.read_exact(&mut body).await.map_err(broken)?;
        match header[4] {
            ACCEPT => return Ok(ListenerAnswer::Good("accepts")),
            REDIRECT => return Ok(ListenerAnswer::Good("accepts, and redirects clients")),
            REFUSE => {
                // The text follows two reason codes and its length.
                let text = String::from_utf8_lossy(body.get(4..).unwrap_or_default()).into_owned();
                return Ok(ListenerAnswer::Refused(number_in(&text), text));
            }
            RESEND => {}
            other => {
                return Err(Verdict::down(format!(
                    "{name}: the answer to CONNECT has the unexpected type {other}"
                )));
            }
        }
    }
    Err(Verdict::down(format!("{name}: the listener requests CONNECT again more than {MAX_RESENDS} times")))
}

/// A CONNECT packet as sent by clients of version 10 and later. All listeners since then accept it.
fn connect_packet(target: SocketAddr, connect: &str) -> Vec<u8> {
    let (host, port) = (target.ip(), target.port());
    let client = "(CID=(PROGRAM=ldirectord-rs)(HOST=)(USER=ldirectord-rs))";
    let data = format!(
        "(DESCRIPTION=(CONNECT_DATA={connect}{client})(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port})))"
    );
    // A configured name is never this long.
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX - DATA);
    let mut packet = Vec::with_capacity(usize::from(DATA) + data.len());
    let words = |packet: &mut Vec<u8>, words: &[u16]| {
        words.iter().for_each(|word| packet.extend(word.to_be_bytes()));
    };
    words(&mut packet, &[DATA.saturating_add(length), 0]);
    packet.extend([CONNECT, 0, 0, 0]);
    // Version and lowest accepted version, options, sizes of the data and transport units, protocol characteristics,
    // turnaround, byte order, length and offset of the data, no limit for the answer's data, no security services.
    words(&mut packet, &[314, 300, 0, 8192, 32767, 0x7f08, 0, 1, length, DATA, 0, 0, 0x8484]);
    packet.resize(usize::from(DATA), 0);
    packet.extend_from_slice(&data.as_bytes()[..usize::from(length).min(data.len())]);
    packet
}

/// The number of the error in a refusal, as in `(DESCRIPTION=(ERR=12505)…)`.
fn number_in(text: &str) -> u32 {
    let digits = text.split("(ERR=").nth(1).and_then(|rest| rest.split(')').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn explain(number: u32, text: &str) -> String {
    let known = match number {
        0 => return format::beginning(text.as_bytes(), 200),
        UNKNOWN_SID => "no such SID (database=)",
        12514 => "neither a SID nor a service of this name (database=)",
        12516 | 12519 | 12520 | 12518 => "no server process is left for another connection",
        12526 | 12527 => "the database is in restricted mode",
        12528 => "the database is being started or stopped",
        _ => return format!("ORA-{number:05}: {}", format::beginning(text.as_bytes(), 200)),
    };
    format!("ORA-{number:05}: {known}")
}
