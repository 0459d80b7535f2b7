//! `service=pgsql`: a login, and a query that must return at least one row.

mod tls;

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Connection, SimpleQueryMessage};

use super::aside::polled_aside;
use super::clients::{Clients, HandshakeError};
use super::failure::{judge_error, unreachable};
use super::format;
use super::progress::{CheckStep, Progress};
use super::sql::{INCOMPLETE, name};
use crate::net::dial;
use crate::net::limited::{ByteLimit, Limited};
use crate::net::stream::Stream;
use crate::net::tls::TlsClientError;
use crate::spec::{Probe, SqlProbe};
use crate::value::Verdict;
use crate::value::shown::escaped;
use tls::{MAX_ANSWER, Sealer};

/// Logs in and runs the query. Uses TLS if the server offers it, like the original's library; with `starttls` TLS only.
pub(super) async fn run(clients: &Clients, probe: &Probe, sql: &SqlProbe, progress: &Progress) -> Verdict {
    let name = name("pgsql", probe, sql);
    if sql.is_incomplete() {
        return Verdict::down(format!("{name}: {INCOMPLETE}"));
    }
    let mode = if sql.starttls { SslMode::Require } else { SslMode::Prefer };
    let mut login = log_in(clients, mode, probe, sql, progress).await;
    if matches!(&login, Err(LoginError::Login(error)) if may_work_without_tls(sql, error)) {
        // Keep the first error unless the second attempt succeeds.
        login = log_in(clients, SslMode::Disable, probe, sql, progress).await.or(login);
    }
    match login {
        Ok((client, connection)) => rows(&name, &client, connection, sql, progress).await,
        Err(LoginError::Client(error)) => Verdict::down(format!("{name}: {error}")),
        Err(LoginError::Connection(error)) => unreachable(&format!("connect to {}", probe.target), &error),
        Err(LoginError::Login(error)) => {
            judge_error(format!("{name}: login: {}", pgsql_said(&error)), &error)
        }
    }
}

/// How a login failed.
enum LoginError {
    Connection(std::io::Error),
    Client(TlsClientError),
    Login(tokio_postgres::Error),
}

async fn log_in(
    clients: &Clients,
    mode: SslMode,
    probe: &Probe,
    sql: &SqlProbe,
    progress: &Progress,
) -> Result<(Client, Connection<Limited<TcpStream, ByteLimit>, Limited<Stream, ByteLimit>>), LoginError> {
    progress.connecting(probe.target);
    let stream = dial::connect(probe.target).await.map_err(LoginError::Connection)?;
    progress.connected(CheckStep::Answer("the answer to the login"));
    let mut config = tokio_postgres::Config::new();
    config.user(&sql.login).password(sql.passwd.reveal()).application_name("ldirectord-rs").ssl_mode(mode);
    if !sql.database.is_empty() {
        config.dbname(&sql.database);
    }
    let client = clients.of(&sql.tls.policy).map_err(LoginError::Client)?;
    let shown = Arc::new(OnceLock::new());
    let sealer =
        Sealer { client, tls: sql.tls.clone(), address: probe.target.ip(), shown: Arc::clone(&shown) };
    // The server chooses the cost of the password hash (SCRAM, at most 100,000 rounds): 50 ms and more.
    let login =
        async move { config.connect_raw(Limited::new(stream, ByteLimit::new(MAX_ANSWER)), sealer).await };
    let login = polled_aside(login, progress).await;
    shown.get().cloned().unwrap_or_default().report(progress);
    login.map_err(LoginError::Login)
}

/// Whether the login is tried again without TLS, as in the original's library. The rules of a server may differ for the
/// two: no entry for the login with TLS, or another password. A server with only old TLS aborts the handshake. There is
/// no second attempt if the certificate is verified.
fn may_work_without_tls(sql: &SqlProbe, error: &tokio_postgres::Error) -> bool {
    if sql.starttls || sql.tls.policy.verify.is_some() {
        return false;
    }
    let handshake = std::error::Error::source(error).is_some_and(|source| source.is::<HandshakeError>());
    let refused = [&SqlState::INVALID_AUTHORIZATION_SPECIFICATION, &SqlState::INVALID_PASSWORD];
    handshake || error.code().is_some_and(|code| refused.contains(&code))
}

async fn rows(
    name: &str,
    client: &Client,
    connection: Connection<Limited<TcpStream, ByteLimit>, Limited<Stream, ByteLimit>>,
    sql: &SqlProbe,
    progress: &Progress,
) -> Verdict {
    progress.step(CheckStep::Answer("the answer to the query"));
    let query = async {
        let mut rows = pin!(client.simple_query_raw(&sql.query).await?);
        while let Some(message) = rows.next().await {
            if matches!(message?, SimpleQueryMessage::Row(_)) {
                return Ok(true);
            }
        }
        Ok::<bool, tokio_postgres::Error>(false)
    };
    let mut query = pin!(query);
    let answer = tokio::select! {
        // Poll the query first: an answer that has already arrived must find it registered.
        biased;
        answer = &mut query => answer,
        // Messages from before the end of the connection may still reach the query.
        ended = connection => match (query.await, ended) {
            (Err(error), Ok(())) if error.is_closed() => {
                return Verdict::down(format!("{name}: the server closed the connection"));
            }
            (Err(error), Err(why)) if error.is_closed() => Err(why),
            (answer, _) => answer,
        },
    };
    match answer {
        Ok(true) => Verdict::up(format!("{name}: the query returns rows")),
        Ok(false) => Verdict::down(format!("{name}: the query returns no rows")),
        Err(error) => judge_error(format!("{name}: query: {}", pgsql_said(&error)), &error),
    }
}

fn pgsql_said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => {
            let message = format::beginning(error.message().as_bytes(), 200);
            format!("{} {message}", escaped(&format!("{} {}", error.severity(), error.code().code())))
        }
        None => {
            let source = std::error::Error::source(error);
            if let Some(handshake) = source.and_then(|source| source.downcast_ref::<HandshakeError>()) {
                return handshake.to_string();
            }
            // The library's message first, then the system's.
            let source = source.map(|source| format!(": {source}")).unwrap_or_default();
            format::beginning(format!("{error}{source}").as_bytes(), 200)
        }
    }
}
