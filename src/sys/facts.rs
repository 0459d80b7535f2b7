//! Facts about the machine and its network namespace, for a diagnosis. Each read is bounded, and changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;

use super::regular;

/// The longest value of a sysctl and the longest name that is read.
const SHORT: u64 = 64 * 1024;

/// The longest list of modules. Those of distributions have less than 1 MiB.
const LONG: u64 = 8 * 1024 * 1024;

/// Maximum number of entries of a directory, and of addresses.
const MANY: usize = 100_000;

/// A short file as text, without the blanks around it. None if there is no such file.
fn short(path: &Path) -> io::Result<Option<String>> {
    match regular::read(path, SHORT) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The value of a sysctl of this network namespace. None if the kernel does not have it. `path`: its name with `/` in
/// place of the dots.
///
/// # Errors
/// It cannot be read.
pub fn sysctl(path: &str) -> io::Result<Option<String>> {
    short(&Path::new("/proc/sys").join(path))
}

/// The release of the running kernel.
///
/// # Errors
/// There is no /proc.
pub fn kernel_release() -> io::Result<String> {
    sysctl("kernel/osrelease")?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The processors of this machine, as the kernel lists them: the possible ones, and those that are online.
#[must_use]
pub fn processors() -> Vec<String> {
    let list = |which| short(&Path::new("/sys/devices/system/cpu").join(which)).ok().flatten();
    ["possible", "online"].into_iter().filter_map(list).collect()
}

/// The kind of container in which this process runs. None if it shows no sign of one.
#[must_use]
pub fn container() -> Option<String> {
    let named = |path| short(Path::new(path)).ok().flatten().filter(|name| !name.is_empty());
    if let Some(name) = std::env::var("container").ok().or_else(|| named("/run/systemd/container")) {
        return Some(name);
    }
    let signs = [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")];
    let sign = signs.into_iter().find(|(path, _)| Path::new(path).exists()).map(|(_, kind)| kind.to_owned());
    sign.or_else(|| std::env::var_os("KUBERNETES_SERVICE_HOST").map(|_| "kubernetes".to_owned()))
}

/// The modules of a kernel.
#[derive(Debug)]
pub struct Modules {
    /// Those that are loaded, or built in and have a parameter.
    pub loaded: BTreeSet<String>,
    /// Those that are built in or on disk.
    pub installed: io::Result<BTreeSet<String>>,
}

/// The modules of a kernel release whose names begin so.
#[must_use]
pub fn modules(release: &str, begin: &str) -> Modules {
    let entries = fs::read_dir("/sys/module").into_iter().flatten().take(MANY).flatten();
    let loaded = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let directory = Path::new("/lib/modules").join(release);
    let installed = ["modules.dep", "modules.builtin"].into_iter().map(|name| {
        let list = regular::read(&directory.join(name), LONG)?;
        Ok(String::from_utf8_lossy(&list)
            .lines()
            .filter_map(module)
            .filter(|name| name.starts_with(begin))
            .collect())
    });
    let installed: io::Result<Vec<BTreeSet<String>>> = installed.collect();
    Modules {
        loaded: loaded.filter(|name| name.starts_with(begin)).collect(),
        installed: installed.map(|lists| lists.into_iter().flatten().collect()),
    }
}

/// The name of the module in a line of `modules.dep` or `modules.builtin`, such as
/// `kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: …`.
fn module(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// Whether the kernel has IPVS now: the module is loaded, or built in.
#[must_use]
pub fn has_ipvs() -> bool {
    ["/proc/net/ip_vs", "/sys/module/ip_vs"].into_iter().any(|path| Path::new(path).exists())
}

/// The addresses of this network namespace, each with its interface.
///
/// # Errors
/// The kernel does not list them.
pub fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let found = getifaddrs()?.take(MANY).filter_map(|own| {
        let address = own.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some((own.interface_name, ip))
    });
    Ok(found.collect())
}

/// The names of all processes that this process can see, as `/proc/PID/comm` has them.
pub fn process_names() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().take(MANY).flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter_map(|pid| short(&Path::new("/proc").join(pid).join("comm")).ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_by_their_files() {
        for (line, expected) in [
            ("kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko", Some("ip_vs_rr")),
            ("kernel/net/netfilter/ipvs/ip_vs_pe_sip.ko.zst:", Some("ip_vs_pe_sip")),
            ("kernel/net/netfilter/nf-tables.ko", Some("nf_tables")),
            ("", None),
            ("# a comment", None),
        ] {
            assert_eq!(module(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        assert!(sysctl("kernel/osrelease").unwrap().is_some_and(|release| !release.is_empty()));
        assert_eq!(sysctl("net/ipv4/no_such_thing").unwrap(), None);
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(addresses().unwrap().iter().any(|(_, address)| *address == local));
        assert!(modules("no-such-release", "ip_vs").installed.is_err());
        assert!(process_names().count() > 0);
    }
}
