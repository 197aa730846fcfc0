//! Whose host name and whose page asks.
//!
//! The tracking server gets its own address as `Host`, which switches its check against DNS rebinding off: so unknown names are refused here.

use std::net::IpAddr;

use reqwest::Url;

/// The names that the service answers to, and the origins of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// In lower case, without a port.
    names: Vec<String>,
    /// The tracking server's name of its own.
    own_name: Option<String>,
    /// Whether every address is a name: where the service listens on all addresses of its machine.
    with_addresses: bool,
    origins: Vec<String>,
}

impl Hosts {
    /// The names of a service that listens on an address, is reached by a public address and, where one is set, has one for the tracking
    /// server alone.
    pub fn new(listen: IpAddr, public_url: &str, own_url: Option<&str>) -> Self {
        let name = |url: &str| Some(Url::parse(url).ok()?.host_str()?.to_lowercase());
        let mut names: Vec<String> = name(public_url).into_iter().collect();
        if !listen.is_unspecified() {
            names.push(written(listen));
        }
        let origins = [Some(public_url), own_url].into_iter().flatten().filter_map(origin_of).collect();
        Self { names, own_name: own_url.and_then(name), with_addresses: listen.is_unspecified(), origins }
    }

    /// Whether a `Host` is one that the service answers to. Its port does not matter: whoever makes a browser ask under a wrong name
    /// cannot choose one of these.
    pub fn knows(&self, host: &str) -> bool {
        let name = name_of(host);
        let address = address_of(&name);
        name == "localhost"
            || address.is_some_and(|address| self.with_addresses || address.is_loopback())
            || self.names.contains(&name)
            || self.is_own_name(host)
    }

    /// Whether a `Host` is the tracking server's own.
    pub fn is_own_name(&self, host: &str) -> bool {
        self.own_name.as_deref() == Some(name_of(host).as_str())
    }

    /// Whether an `Origin` is one of the service's own pages.
    pub fn is_own_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
    }

    /// The origins of the service's own pages.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }
}

/// The origin of an address as browsers write it: without a port that goes without saying.
pub fn origin_of(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.origin().ascii_serialization())
}

/// The name in a `Host`: in lower case, without port and without the dot at the end of a full name.
fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        // An IPv6 address has colons of its own; with a port it stands in brackets.
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    };
    name.trim_end_matches('.').to_lowercase()
}

fn address_of(name: &str) -> Option<IpAddr> {
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse().ok()
}

/// An address as it is written in a `Host`.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
