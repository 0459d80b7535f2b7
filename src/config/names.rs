//! The names and files in a configuration are looked up by the shell; this is how they are asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::value::{Family, Protocol};

/// Who knows the addresses of hosts, the numbers of ports and the contents of files. Numbers and plain dotted quads are never asked.
pub trait Names {
    /// The address of this family that counts. Also asked for the odd numeric forms (`1.2.3`, `010.0.0.1`) that
    /// `getaddrinfo` understands.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr>;
    /// The number of a port by name; without a protocol: of any.
    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16>;
    /// The name of this host, for the default logins of ftp and sip.
    fn hostname(&self) -> String;
    /// What is in a file.
    ///
    /// # Errors
    /// Why it cannot be read, as the rest of a sentence.
    fn file(&self, path: &str) -> Result<Arc<[u8]>, String>;
}

/// Something that must be looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// [`Names::host`]
    Host {
        /// As written in the file.
        name: String,
        /// Which kind of address is wanted.
        family: Family,
    },
    /// [`Names::port`]
    Port {
        /// As written in the file.
        name: String,
        /// Of which protocol; absent: of any.
        protocol: Option<Protocol>,
    },
    /// [`Names::file`]
    File(String),
}

/// Notes every question and answers none.
#[derive(Debug, Default)]
pub struct Recorder {
    questions: RefCell<BTreeSet<Question>>,
}

impl Recorder {
    /// All that was asked, each once.
    #[must_use]
    pub fn into_questions(self) -> Vec<Question> {
        self.questions.into_inner().into_iter().collect()
    }
}

impl Names for Recorder {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.questions.borrow_mut().insert(Question::Host { name: name.to_owned(), family });
        None
    }

    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        self.questions.borrow_mut().insert(Question::Port { name: name.to_owned(), protocol });
        None
    }

    fn hostname(&self) -> String {
        String::new()
    }

    fn file(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.questions.borrow_mut().insert(Question::File(path.to_owned()));
        Err(String::new())
    }
}

/// Answers gathered beforehand; what is not among them has no answer.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    hosts: BTreeMap<(String, Family), IpAddr>,
    ports: BTreeMap<(String, Option<Protocol>), u16>,
    files: BTreeMap<String, Result<Arc<[u8]>, String>>,
    hostname: String,
}

impl Answers {
    /// No answers but the name of this host.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Answers {
        Answers { hostname: hostname.into(), ..Answers::default() }
    }

    /// Adds the address of a host.
    pub fn add_host(&mut self, name: impl Into<String>, family: Family, address: IpAddr) {
        self.hosts.insert((name.into(), family), address);
    }

    /// The addresses of hosts.
    #[must_use]
    pub fn into_hosts(self) -> BTreeMap<(String, Family), IpAddr> {
        self.hosts
    }

    /// Adds the number of a port.
    pub fn add_port(&mut self, name: impl Into<String>, protocol: Option<Protocol>, port: u16) {
        self.ports.insert((name.into(), protocol), port);
    }

    /// Adds what is in a file, or why it cannot be read.
    pub fn add_file(&mut self, path: impl Into<String>, content: Result<Arc<[u8]>, String>) {
        self.files.insert(path.into(), content);
    }
}

impl Names for Answers {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.hosts.get(&(name.to_owned(), family)).copied()
    }

    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        self.ports.get(&(name.to_owned(), protocol)).copied()
    }

    fn hostname(&self) -> String {
        self.hostname.clone()
    }

    fn file(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.files.get(path).cloned().unwrap_or_else(|| Err("no such file or directory".to_owned()))
    }
}
