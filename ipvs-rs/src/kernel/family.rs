//! The number of the netlink family IPVS, and its module.

use std::path::Path;
use std::process::{Command, Stdio};

use netlink_packet_generic::constants::GENL_ID_CTRL;
use nix::errno::Errno;

use super::channel::{Channel, Failure};
use crate::error::Error;
use crate::wire::Request;

/// Paths of `modprobe`. It runs with privileges, so `PATH` is not used.
const MODPROBE: [&str; 2] = ["/sbin/modprobe", "/usr/sbin/modprobe"];

/// Returns the number of the family. Loads the module if necessary and possible.
pub(super) fn resolve(channel: &mut Channel) -> Result<u16, Error> {
    if let Some(number) = ask(channel)? {
        return Ok(number);
    }
    load_module().map_err(|reason| Error::NoModule { reason })?;
    ask(channel)?.ok_or_else(|| Error::NoModule {
        reason: "the module ip_vs is loaded, but its netlink family IPVS does not exist".into(),
    })
}

/// Asks the controller. Newer kernels then load the module themselves.
fn ask(channel: &mut Channel) -> Result<Option<u16>, Error> {
    let mut number = None;
    let end = channel.ask(GENL_ID_CTRL, Request::family(), |bytes| {
        number = Some(Request::decode_family(bytes)?);
        Ok(())
    });
    match end {
        Ok(()) => number.map(Some).ok_or_else(|| Error::malformed("no number of a family")),
        Err(Failure::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn load_module() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("the module ip_vs is not loaded, and only root can load it: `modprobe ip_vs`".into());
    }
    let Some(modprobe) = MODPROBE.iter().find(|path| Path::new(path).exists()) else {
        return Err(format!(
            "the module ip_vs is not loaded, and there is no {} to load it (in a container, load it on the host)",
            MODPROBE.join(" or ")
        ));
    };
    let output = Command::new(modprobe).arg("ip_vs").stdin(Stdio::null()).env_clear().output();
    match output {
        Err(error) => Err(format!("`{modprobe} ip_vs` cannot be run: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            let words = words.lines().next().unwrap_or("no reason given").trim();
            Err(format!("`{modprobe} ip_vs` failed ({}): {words}", output.status))
        }
    }
}
