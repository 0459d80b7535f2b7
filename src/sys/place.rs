//! The boot of the machine and the network namespace of this process. A table of the kernel belongs to both.

use std::fs;
use std::io;

/// The environment variable with the boot id, set by the systemd unit: `ProcSubset=pid` hides the file.
const BOOT_ID: &str = "BOOT_ID";

/// A boot of the machine and a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// The boot id (proc_sys_kernel(5), `random/boot_id`), without its dashes.
    pub boot: String,
    /// The network namespace, as `net:[NUMBER]` (namespaces(7)).
    pub network: String,
}

impl TablePlace {
    /// The place of this process.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn here() -> io::Result<TablePlace> {
        let boot = match std::env::var(BOOT_ID) {
            Ok(boot) => boot,
            Err(_) => fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
        };
        let boot = boot.trim().replace('-', "");
        let network = fs::read_link("/proc/self/ns/net")?.display().to_string();
        Ok(TablePlace { boot, network })
    }
}
