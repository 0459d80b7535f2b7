//! The Oracle login and query. The client library blocks and is new, so it runs in a separate process, which is killed
//! when the check ends. The request, including the password, goes through a pipe.

use std::io::{self, Read, Write};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::check::format;
use crate::check::progress::{CheckStep, Progress};
use crate::net::{cause, tls};
use crate::spec::{Probe, SqlProbe};
use crate::value::{UnknownCause, Verdict};

/// The argument that makes this program run as the login process.
pub const ARGUMENT: &str = "--oracle-login";

/// The most bytes of its output that are shown.
const SHOWN: usize = 300;

/// The request to the login process.
#[derive(Serialize, Deserialize)]
struct LoginRequest {
    descriptor: String,
    login: String,
    passwd: String,
    query: String,
}

/// Starts the login process and returns its verdict.
pub(super) async fn run(
    name: &str,
    probe: &Probe,
    sql: &SqlProbe,
    connect: &str,
    progress: &Progress,
) -> Verdict {
    // The process opens its own connection.
    progress.connecting(probe.target);
    progress.connected(CheckStep::Answer("the login and the query"));
    let (host, port) = (probe.target.ip(), probe.target.port());
    let request = LoginRequest {
        descriptor: format!(
            "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port}))(CONNECT_DATA={connect}))"
        ),
        login: sql.login.clone(),
        passwd: sql.passwd.reveal().to_owned(),
        query: sql.query.clone(),
    };
    match in_process(&request).await {
        Ok((true, said)) => Verdict::up(format!("{name}: {said}")),
        Ok((false, said)) => Verdict::down(format!("{name}: {said}")),
        Err(error) => {
            let reason = format!("{name}: the login process cannot be run: {}", cause(&error));
            Verdict::unknown(UnknownCause::NotStarted, reason)
        }
    }
}

async fn in_process(request: &LoginRequest) -> io::Result<(bool, String)> {
    // This is the running program even if its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&serde_json::to_vec(request)?).await?;
    }
    let ended = child.wait_with_output().await?;
    let said = match ended.stdout.as_slice() {
        [] => format!("the login process ended with {}", ended.status),
        text => format::beginning(text, SHOWN).trim_matches('"').to_owned(),
    };
    Ok((ended.status.success(), said))
}

/// The main function of the login process: reads the request from standard input, writes the result to standard output,
/// and returns whether the check succeeded.
#[must_use]
pub fn main() -> bool {
    tls::install_provider();
    let asked = (|| {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).map_err(|error| format!("no request: {}", cause(&error)))?;
        let request: LoginRequest =
            serde_json::from_slice(&text).map_err(|error| format!("no request: {error}"))?;
        ask(&request)
    })();
    let (good, said) = match asked {
        Ok(said) => (true, said.to_owned()),
        Err(said) => (false, said),
    };
    // If the reader of the pipe is gone, the answer is not needed.
    let _ = write!(io::stdout(), "{said}");
    good
}

fn ask(request: &LoginRequest) -> Result<&'static str, String> {
    let config = oracledb::Config::default()
        .set_credentials(&request.login, &request.passwd)
        .set_connect_string(&request.descriptor)
        .map_err(|error| format!("login: {error}"))?;
    let connection = oracledb::connect(config).map_err(|error| format!("login: {error}"))?;
    let mut rows = connection.query(&request.query, &[]).map_err(|error| format!("query: {error}"))?;
    match rows.next() {
        Some(Ok(_)) => Ok("the query returns rows"),
        Some(Err(error)) => Err(format!("query: {error}")),
        None => Err("the query returns no rows".to_owned()),
    }
}
