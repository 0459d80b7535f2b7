//! Statistics of a service or a destination (`IPVS_STATS_ATTR_*`).

use super::attribute::Attributes;
use crate::error::Error;
use crate::snapshot::{Rates, Statistics};

/// The attributes 1 to 10 are conns, inpkts, outpkts, inbytes, outbytes, cps, inpps, outpps, inbps, outbps.
const COUNT: usize = 11;

/// Reads the counters of 64 bits, or those that kernels before 4.1 have instead.
pub(super) fn decode_statistics(wide: Option<&[u8]>, narrow: Option<&[u8]>) -> Result<Statistics, Error> {
    let Some(bytes) = wide.or(narrow) else { return Ok(Statistics::default()) };
    let attributes = Attributes::<COUNT>::parse("statistics", bytes)?;
    let number = |kind| number(attributes.get(kind));
    Ok(Statistics {
        connections: number(1)?,
        packets_in: number(2)?,
        packets_out: number(3)?,
        bytes_in: number(4)?,
        bytes_out: number(5)?,
        rates: Rates {
            connections: number(6)?,
            packets_in: number(7)?,
            packets_out: number(8)?,
            bytes_in: number(9)?,
            bytes_out: number(10)?,
        },
    })
}

/// A number of 64 or 32 bits. 0 if it is missing.
fn number(value: Option<&[u8]>) -> Result<u64, Error> {
    let Some(value) = value else { return Ok(0) };
    if let Ok(bytes) = value.try_into() {
        Ok(u64::from_ne_bytes(bytes))
    } else if let Ok(bytes) = value.try_into() {
        Ok(u32::from_ne_bytes(bytes).into())
    } else {
        Err(Error::malformed(format!("a counter of {} bytes", value.len())))
    }
}
