//! Where requests go.

use std::fmt;
use std::str::FromStr;

/// A scheme, a host and a port: `http://127.0.0.1:8000`, `https://dynamodb.eu-west-1.amazonaws.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint: {why}; expected http://HOST:PORT or https://HOST")]
pub struct InvalidEndpoint {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// The name or address to connect to, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: without the port if it is the scheme's usual one, as SDKs send it.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

const fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let wrong = |why| InvalidEndpoint { text: text.to_owned(), why };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) || rest.contains(char::is_whitespace) {
            return Err(wrong("it has more than a host and a port"));
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || !host.is_ascii() {
            return Err(wrong("it names no host"));
        }
        let port =
            port.map_or(Ok(usual_port(tls)), |port| port.parse().map_err(|_| wrong("its port is none")))?;
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_the_port_unless_it_is_the_usual_one() {
        for (text, host, port, authority) in [
            ("http://127.0.0.1:8000", "127.0.0.1", 8000, "127.0.0.1:8000"),
            ("http://proxy.local/", "proxy.local", 80, "proxy.local"),
            (
                "https://dynamodb.eu-west-1.amazonaws.com",
                "dynamodb.eu-west-1.amazonaws.com",
                443,
                "dynamodb.eu-west-1.amazonaws.com",
            ),
            ("https://a:8443", "a", 8443, "a:8443"),
            ("http://[::1]:8000", "::1", 8000, "[::1]:8000"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(
                (endpoint.host(), endpoint.port(), endpoint.authority().as_str()),
                (host, port, authority)
            );
            assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_said_with_the_form_expected() {
        for text in [
            "127.0.0.1:8000",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://a/path",
            "http://u@a",
            "http://a b",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("http://HOST:PORT"), "{error}");
        }
    }
}
