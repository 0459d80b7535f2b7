//! Requests to the kernel, and answers that are not tables.

use netlink_packet_generic::constants::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY};

use super::attribute::{Attributes, put, put_nested, put_text};
use super::{command, destination, service, top};
use crate::error::Error;
use crate::ipvs::{Timeouts, Version};
use crate::table::{DestinationConfig, DestinationKey, Operation, ServiceConfig, ServiceKey};

/// The name of the family (`IPVS_GENL_NAME`).
const FAMILY: &str = "IPVS";

/// Attributes of the answer about IPVS (`IPVS_INFO_ATTR_*`).
const INFO_VERSION: u16 = 1;
const INFO_CONN_TAB_SIZE: u16 = 2;

/// A generic netlink request, without its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The command.
    pub(crate) command: u8,
    /// The attributes.
    pub(crate) attributes: Vec<u8>,
}

impl Request {
    /// A command without attributes.
    pub(crate) fn new(command: u8) -> Self {
        Self { command, attributes: Vec::new() }
    }

    /// Requests the number of our family from the controller.
    pub(crate) fn family() -> Self {
        let mut request = Self::new(CTRL_CMD_GETFAMILY);
        put_text(&mut request.attributes, CTRL_ATTR_FAMILY_NAME, FAMILY);
        request
    }

    /// A command about one service.
    pub(crate) fn about(command: u8, service: ServiceKey) -> Self {
        Self::new(command).with_service(service, None)
    }

    /// An operation.
    pub(crate) fn operation(operation: &Operation) -> Self {
        use command::{DEL_DEST, DEL_SERVICE, NEW_DEST, NEW_SERVICE, SET_DEST, SET_SERVICE};
        match operation {
            Operation::AddService { key, config } => Self::new(NEW_SERVICE).with_service(*key, Some(config)),
            Operation::EditService { key, config } => Self::new(SET_SERVICE).with_service(*key, Some(config)),
            Operation::RemoveService { key } => Self::about(DEL_SERVICE, *key),
            Operation::AddDestination { service, key, config } => {
                Self::about(NEW_DEST, *service).with_destination(*key, Some(config))
            }
            Operation::EditDestination { service, key, config } => {
                Self::about(SET_DEST, *service).with_destination(*key, Some(config))
            }
            Operation::RemoveDestination { service, key } => {
                Self::about(DEL_DEST, *service).with_destination(*key, None)
            }
        }
    }

    /// Sets time-outs.
    pub(crate) fn timeouts(timeouts: Timeouts) -> Self {
        let mut request = Self::new(command::SET_CONFIG);
        for (kind, seconds) in [
            (top::TIMEOUT_TCP, timeouts.tcp),
            (top::TIMEOUT_TCP_FIN, timeouts.tcp_fin),
            (top::TIMEOUT_UDP, timeouts.udp),
        ] {
            put(&mut request.attributes, kind, &seconds.to_ne_bytes());
        }
        request
    }

    /// Reads the number of our family.
    pub(crate) fn decode_family(bytes: &[u8]) -> Result<u16, Error> {
        Attributes::<3>::parse("a family", bytes)?.u16(CTRL_ATTR_FAMILY_ID)
    }

    /// Reads the version.
    pub(crate) fn decode_version(bytes: &[u8]) -> Result<Version, Error> {
        let attributes = Attributes::<3>::parse("a version", bytes)?;
        let [_, major, minor, patch] = attributes.u32(INFO_VERSION)?.to_be_bytes();
        let connection_table_size = attributes.u32(INFO_CONN_TAB_SIZE)?;
        Ok(Version { major, minor, patch, connection_table_size })
    }

    /// Reads time-outs. A protocol that the kernel does not have has no time-out.
    pub(crate) fn decode_timeouts(bytes: &[u8]) -> Result<Timeouts, Error> {
        let attributes = Attributes::<{ top::COUNT }>::parse("time-outs", bytes)?;
        let seconds = |kind| Ok::<_, Error>(attributes.bytes(kind)?.map_or(0, u32::from_ne_bytes));
        Ok(Timeouts {
            tcp: seconds(top::TIMEOUT_TCP)?,
            tcp_fin: seconds(top::TIMEOUT_TCP_FIN)?,
            udp: seconds(top::TIMEOUT_UDP)?,
        })
    }

    fn with_service(mut self, key: ServiceKey, config: Option<&ServiceConfig>) -> Self {
        let mut attributes = Vec::new();
        service::put_key(&mut attributes, key);
        if let Some(config) = config {
            service::put_config(&mut attributes, key.family(), config);
        }
        put_nested(&mut self.attributes, top::SERVICE, &attributes);
        self
    }

    fn with_destination(mut self, key: DestinationKey, config: Option<&DestinationConfig>) -> Self {
        let mut attributes = Vec::new();
        destination::put_key(&mut attributes, key);
        if let Some(config) = config {
            destination::put_config(&mut attributes, config);
        }
        put_nested(&mut self.attributes, top::DEST, &attributes);
        self
    }
}
