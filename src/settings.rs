//! stub
use std::path::{Path, PathBuf};
use std::time::Duration;
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// k
    Kernel,
    /// m
    Memory,
}
/// stub
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Settings {
    pub table: Table,
    pub checks: ChecksS,
    pub log: LogS,
    pub stop: Stop,
    pub paths: Paths,
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Table {
    pub backend: Backend,
}
#[allow(missing_docs)]
impl Table {
    pub fn verify_interval(&self) -> Option<Duration> {
        None
    }
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ChecksS {
    pub limit: usize,
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LogS {
    pub level: String,
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Stop;
#[allow(missing_docs)]
impl Stop {
    pub fn grace(&self) -> Duration {
        Duration::ZERO
    }
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Paths {
    pub run: PathBuf,
    pub ha: PathBuf,
}
#[allow(missing_docs)]
impl Settings {
    pub fn load(_p: Option<&Path>) -> Result<Settings, String> {
        Err(String::new())
    }
}
