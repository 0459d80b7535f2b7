//! Where this process is: which start of the machine, and which network namespace. A table of the kernel belongs to both.

use std::fs;
use std::io;

/// Where a unit of systemd says the id: `ProcSubset=pid` hides the file.
const BOOT_ID: &str = "BOOT_ID";

/// A start of a machine, and a network namespace of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The id of this start of the machine (proc_sys_kernel(5), `random/boot_id`), without its dashes.
    pub boot: String,
    /// The network namespace, as `net:[NUMBER]` (namespaces(7)).
    pub network: String,
}

impl Place {
    /// That of this process.
    ///
    /// # Errors
    /// When there is no /proc.
    pub fn here() -> io::Result<Place> {
        let boot = match std::env::var(BOOT_ID) {
            Ok(boot) => boot,
            Err(_) => fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
        };
        let boot = boot.trim().replace('-', "");
        let network = fs::read_link("/proc/self/ns/net")?.display().to_string();
        Ok(Place { boot, network })
    }
}
