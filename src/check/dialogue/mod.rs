//! Line dialogues (SMTP, POP3, IMAP, NNTP, SIP, FTP): one small engine with limits, and one file per protocol.

mod ftp;
mod imap;
mod nntp;
mod pop;
mod sip;
mod smtp;
mod starttls;
mod talk;

use super::clients::Clients;
use super::progress::Progress;
use crate::plan::{Dialogue, DialogueProbe, Probe, Transport};
use crate::value::Verdict;
use talk::{Talk, Told};

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

async fn over_tcp(clients: &Clients, probe: &Probe, dialogue: &DialogueProbe, progress: &Progress) -> Told {
    let mut talk = Talk::open(clients, probe, dialogue, progress).await?;
    let greeting = match dialogue.protocol {
        Dialogue::Ftp => ftp::greeting(&mut talk).await?,
        Dialogue::Imap => imap::greeting(&mut talk).await?,
        Dialogue::Nntp => nntp::greeting(&mut talk).await?,
        Dialogue::Pop => pop::greeting(&mut talk).await?,
        Dialogue::Smtp => smtp::greeting(&mut talk).await?,
        // In SIP the client speaks first.
        Dialogue::Sip { .. } => Vec::new(),
    };
    if let Transport::StartTls(tls) = &dialogue.transport {
        starttls::ask(&mut talk, dialogue.protocol).await?;
        talk = talk.seal(clients, tls).await?;
    }
    match dialogue.protocol {
        Dialogue::Ftp => ftp::run(&mut talk, dialogue).await,
        Dialogue::Imap => imap::run(&mut talk, dialogue, &greeting).await,
        Dialogue::Nntp => nntp::run(&mut talk).await,
        Dialogue::Pop => pop::run(&mut talk, dialogue, &greeting).await,
        Dialogue::Sip { .. } => sip::run(&mut talk, dialogue).await,
        Dialogue::Smtp => smtp::run(&mut talk).await,
    }
}
