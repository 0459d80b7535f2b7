//! The interface through which the reader looks up the names and files in a configuration. The shell implements it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::value::{Family, Protocol};

/// Looks up the addresses of hosts, the numbers of ports and the contents of files. Never called for numbers and
/// plain dotted quads.
pub trait NameLookup {
    /// The address to use for a host. Also called for the unusual numeric forms (`1.2.3`, `010.0.0.1`) that
    /// `getaddrinfo` accepts.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr>;
    /// Whether a host was not looked up, and its address is only a placeholder.
    fn is_invented(&self, _name: &str, _family: Family) -> bool {
        false
    }
    /// The number of a port by name, for any protocol if `protocol` is `None`.
    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16>;
    /// The name of this host, for the default logins of ftp and sip.
    fn hostname(&self) -> String;
    /// The content of a file.
    ///
    /// # Errors
    /// Why the file cannot be read, as the rest of a sentence.
    fn file(&self, path: &str) -> Result<Arc<[u8]>, String>;
}

/// A name or file to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameQuestion {
    /// [`NameLookup::host`]
    Host {
        /// As written in the file.
        name: String,
        /// The address family to look up.
        family: Family,
    },
    /// [`NameLookup::port`]
    Port {
        /// As written in the file.
        name: String,
        /// Protocol of the port. Absent: any.
        protocol: Option<Protocol>,
    },
    /// [`NameLookup::file`]
    File(String),
}

/// Records every question and answers none.
#[derive(Debug, Default)]
pub struct Recorder {
    questions: RefCell<BTreeSet<NameQuestion>>,
}

impl Recorder {
    /// The recorded questions, each once.
    #[must_use]
    pub fn into_questions(self) -> Vec<NameQuestion> {
        self.questions.into_inner().into_iter().collect()
    }
}

impl NameLookup for Recorder {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.questions.borrow_mut().insert(NameQuestion::Host { name: name.to_owned(), family });
        None
    }

    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        self.questions.borrow_mut().insert(NameQuestion::Port { name: name.to_owned(), protocol });
        None
    }

    fn hostname(&self) -> String {
        String::new()
    }

    fn file(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.questions.borrow_mut().insert(NameQuestion::File(path.to_owned()));
        Err(String::new())
    }
}

/// Answers collected in advance. Any other question has no answer.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    hosts: BTreeMap<(String, Family), IpAddr>,
    invented: BTreeSet<(String, Family)>,
    ports: BTreeMap<(String, Option<Protocol>), u16>,
    files: BTreeMap<String, Result<Arc<[u8]>, String>>,
    hostname: String,
}

impl Answers {
    /// Has no answer but the name of this host.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Answers {
        Answers { hostname: hostname.into(), ..Answers::default() }
    }

    /// Adds the address of a host.
    pub fn add_host(&mut self, name: impl Into<String>, family: Family, address: IpAddr) {
        self.hosts.insert((name.into(), family), address);
    }

    /// Adds an address for a host that is not looked up.
    pub fn add_invented_host(&mut self, name: impl Into<String>, family: Family, address: IpAddr) {
        let name = name.into();
        self.invented.insert((name.clone(), family));
        self.add_host(name, family, address);
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

    /// Adds the content of a file, or the reason why it cannot be read.
    pub fn add_file(&mut self, path: impl Into<String>, content: Result<Arc<[u8]>, String>) {
        self.files.insert(path.into(), content);
    }
}

impl NameLookup for Answers {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.hosts.get(&(name.to_owned(), family)).copied()
    }

    fn is_invented(&self, name: &str, family: Family) -> bool {
        self.invented.contains(&(name.to_owned(), family))
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
