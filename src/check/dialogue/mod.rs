//! Line dialogues (SMTP, POP3, IMAP, NNTP, SIP, FTP): one small engine with limits, and a file for what each protocol says.

mod ftp;
mod imap;
mod nntp;
mod pop;
mod sip;
mod smtp;
mod talk;

use tokio_rustls::TlsConnector;

use super::progress::Progress;
use crate::plan::{Dialogue, DialogueProbe, Probe};
use crate::value::Verdict;
use talk::Talk;

/// The way to a verdict. The error is the verdict, too: most often it is `Down`, at once.
type Told<T = Verdict> = Result<T, Verdict>;

/// Speaks the protocol of the probe.
pub(super) async fn run(
    connector: &TlsConnector,
    probe: &Probe,
    dialogue: &DialogueProbe,
    progress: &Progress,
) -> Verdict {
    let told = match dialogue.protocol {
        Dialogue::Sip { udp: true } => sip::over_udp(probe, dialogue, progress).await,
        protocol => match Talk::open(connector, probe, dialogue, progress).await {
            Err(verdict) => Err(verdict),
            Ok(mut talk) => match protocol {
                Dialogue::Ftp => ftp::run(&mut talk, dialogue).await,
                Dialogue::Imap => imap::run(&mut talk, dialogue).await,
                Dialogue::Nntp => nntp::run(&mut talk).await,
                Dialogue::Pop => pop::run(&mut talk, dialogue).await,
                Dialogue::Sip { .. } => sip::run(&mut talk, dialogue).await,
                Dialogue::Smtp => smtp::run(&mut talk).await,
            },
        },
    };
    told.unwrap_or_else(|verdict| verdict)
}
