//! The mail server of a scenario: a small SMTP server on port 25 of its loopback that accepts every mail.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{Shutdown, shutdown};

/// The received mails, each as lines: the envelope, then the text.
pub struct MailServer {
    mails: Arc<Mutex<Vec<Vec<String>>>>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl MailServer {
    /// Starts it in the network of the calling thread.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:25").unwrap();
        let (own, mails) = (listener.try_clone().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let kept = mails.clone();
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = own.accept() {
                let kept = kept.clone();
                thread::spawn(move || {
                    // A session that breaks off delivers nothing.
                    let _ = talk(&stream, &kept);
                });
            }
        });
        Self { mails, listener, thread: Some(thread) }
    }

    /// All mails so far.
    pub fn mails(&self) -> Vec<Vec<String>> {
        self.mails.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn talk(mut stream: &TcpStream, mails: &Mutex<Vec<Vec<String>>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).ok();
    let mut envelope = Vec::new();
    say("220 post ESMTP")?;
    while let Some(Ok(line)) = lines.next() {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "MAIL" | "RCPT" => {
                // Parameters of extensions are not part of the address.
                let end = line.find('>').map_or(line.len(), |at| at + 1);
                envelope.push(line[..end].to_owned());
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                let mut mail = std::mem::take(&mut envelope);
                for line in lines.by_ref() {
                    let line = line.ok()?;
                    if line == "." {
                        break;
                    }
                    mail.push(format!("  {line}"));
                }
                mails.lock().unwrap().push(mail);
                say("250 taken")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Some(());
            }
            _ => say("250 ok")?,
        }
    }
    None
}
