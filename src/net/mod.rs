//! stub
pub mod resolve {
    //! stub
    use crate::value::{Family, Protocol};
    use std::net::IpAddr;
    /// stub
    pub fn host(_name: &str, _family: Family) -> Option<IpAddr> {
        None
    }
    /// stub
    pub fn port(_name: &str, _protocol: Option<Protocol>) -> Option<u16> {
        None
    }
    /// stub
    pub fn hostname() -> String {
        String::new()
    }
}
