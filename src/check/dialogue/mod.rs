//! Line dialogues (SMTP, POP3, IMAP, NNTP, SIP, FTP): one small engine with limits, and one file per protocol.

mod ftp;
mod imap;
mod nntp;
mod pop;
mod session;
mod sip;
mod smtp;
mod starttls;

use super::clients::Clients;
use super::progress::Progress;
use crate::spec::{Dialogue, DialogueProbe, Probe, Transport};
use crate::value::Verdict;
use session::{DialogueSession, StepResult};

/// Speaks the protocol of the probe.
pub(super) async fn run(
    clients: &Clients,
    probe: &Probe,
    dialogue: &DialogueProbe,
    progress: &Progress,
) -> Verdict {
    let told = match dialogue.protocol {
        Dialogue::Sip { udp: true } => sip::over_udp(probe, dialogue, progress).await,
        _ => over_tcp(clients, probe, dialogue, progress).await,
    };
    told.unwrap_or_else(|verdict| verdict)
}

async fn over_tcp(
    clients: &Clients,
    probe: &Probe,
    dialogue: &DialogueProbe,
    progress: &Progress,
) -> StepResult {
    let mut session = DialogueSession::open(clients, probe, dialogue, progress).await?;
    let greeting = match dialogue.protocol {
        Dialogue::Ftp => ftp::greeting(&mut session).await?,
        Dialogue::Imap => imap::greeting(&mut session).await?,
        Dialogue::Nntp => nntp::greeting(&mut session).await?,
        Dialogue::Pop => pop::greeting(&mut session).await?,
        Dialogue::Smtp => smtp::greeting(&mut session).await?,
        // In SIP the client speaks first.
        Dialogue::Sip { .. } => Vec::new(),
    };
    if let Transport::StartTls(tls) = &dialogue.transport {
        starttls::ask(&mut session, dialogue.protocol).await?;
        session = session.seal(clients, tls).await?;
    }
    match dialogue.protocol {
        Dialogue::Ftp => ftp::run(&mut session, dialogue).await,
        Dialogue::Imap => imap::run(&mut session, dialogue, &greeting).await,
        Dialogue::Nntp => nntp::run(&mut session).await,
        Dialogue::Pop => pop::run(&mut session, dialogue, &greeting).await,
        Dialogue::Sip { .. } => sip::run(&mut session, dialogue).await,
        Dialogue::Smtp => smtp::run(&mut session).await,
    }
}
