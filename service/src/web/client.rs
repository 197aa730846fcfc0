//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::Extensions;
use axum::http::HeaderMap;
use ipnet::IpNet;

/// The other end of the connection, put on each request by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The most addresses of an `X-Forwarded-For` that are looked at; a chain of proxies has a handful.
const HOPS_MAX: usize = 16;

/// The address of the caller: the connection's other end or, where that is a trusted proxy, the last address that it vouches for.
pub(crate) fn address(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // A request without a connection comes from a test of the router itself.
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut last = peer;
    for hop in hops.iter().rev().take(HOPS_MAX) {
        // What a proxy passes on from the outside is text that anybody may have written; it ends the chain.
        let Ok(address) = hop.parse::<IpAddr>() else { return last };
        last = address.to_canonical();
        if !is_trusted(&last) {
            return last;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_as_far_as_it_saw() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let check = |peer: &str, forwarded: &str, expected: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(format!("{peer}:1").parse().unwrap()));
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            assert_eq!(address(&extensions, &headers, &trusted).to_string(), expected, "{peer} {forwarded}");
        };
        check("192.0.2.1", "198.51.100.7", "192.0.2.1");
        check("10.0.0.1", "198.51.100.7", "198.51.100.7");
        check("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.9", "198.51.100.7");
        check("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.9", "10.0.0.9");
        check("10.0.0.1", "", "10.0.0.1");
    }
}
