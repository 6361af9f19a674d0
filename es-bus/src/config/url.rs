//! The address of the broker, and its secret.
//!
//! A URL comes in as text and goes out as parts; printed, it shows everything but the password. An
//! error about a URL echoes nothing of it but a scheme and query parameters of a known name, since
//! a slip such as an unencoded `/` moves the password to where the host is expected.

use std::{fmt, str::FromStr};

use crate::percent;

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerUrl {
    /// `memory://`: the broker inside this process.
    Memory {
        /// `memory://shop`: the buses of this process that name the same one share it. Without a name
        /// a bus has one of its own.
        name: Option<String>,
    },
    /// `amqp://…` or `amqps://…`: RabbitMQ.
    Amqp(AmqpUrl),
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    /// Reads `memory://`, one `amqp://` or `amqps://` URL with one host or several
    /// (`amqp://user:password@one,two:5673/vhost`), or several such URLs, parted by commas, that
    /// differ in nothing but their hosts.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut urls = split_list(text).into_iter().map(parse_one);
        let first = urls.next().ok_or(UrlError::NoScheme)??;
        urls.try_fold(first, |all, next| all.join(next?))
    }
}

impl BrokerUrl {
    /// Adds the hosts of another URL to this one's.
    fn join(self, other: Self) -> Result<Self, UrlError> {
        match (self, other) {
            (Self::Amqp(mut all), Self::Amqp(next)) if all.differs_only_in_hosts(&next) => {
                all.hosts.extend(next.hosts);
                Ok(Self::Amqp(all))
            }
            (Self::Memory { .. } | Self::Amqp(_), _) => Err(UrlError::NotOneCluster),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { name } => write!(f, "memory://{}", name.as_deref().unwrap_or_default()),
            Self::Amqp(url) => url.fmt(f),
        }
    }
}

/// The address of a RabbitMQ: nodes of one cluster, credentials, virtual host.
///
/// `Debug` and `Display` show `***` for the password.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    tls: bool,
    user: String,
    password: String,
    hosts: Vec<Host>,
    virtual_host: String,
}

impl AmqpUrl {
    /// Whether the connection is encrypted (`amqps://`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The user name, decoded; `guest` when the URL names none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, decoded; `guest` when the URL names no user. It is for the login alone: do not
    /// print it.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.password
    }

    /// The nodes to try, in the order in which they were written; never empty.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The virtual host, decoded; `/` when the URL names none.
    #[must_use]
    pub fn virtual_host(&self) -> &str {
        &self.virtual_host
    }

    fn differs_only_in_hosts(&self, other: &Self) -> bool {
        self.tls == other.tls
            && self.user == other.user
            && self.password == other.password
            && self.virtual_host == other.virtual_host
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:***@", percent::encode(&self.user))?;
        for (i, host) in self.hosts.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            host.fmt(f)?;
        }
        f.write_str("/")?;
        if self.virtual_host != "/" {
            f.write_str(&percent::encode(&self.virtual_host))?;
        }
        Ok(())
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl({self})")
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: String,
    port: u16,
}

impl Host {
    /// The name or the address, an IPv6 one without its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port; 5672, or 5671 with TLS, when the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Why a text is no broker URL. Never holds any of the text but a scheme or a known parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `://` stands in it.
    #[error("has no scheme that es-bus knows, write amqp://user:password@host:5672/vhost or memory://")]
    NoScheme,
    /// The scheme is not one of ours.
    #[error("has the scheme \"{scheme}\", expected amqp, amqps or memory")]
    UnknownScheme {
        /// The scheme that was found.
        scheme: String,
    },
    /// What follows `memory://` is no name.
    #[error(
        "has something after memory:// that is no name of letters, digits, `-`, `_` and `.`, write memory:// or memory://shop"
    )]
    MemoryName,
    /// A blank or control character.
    #[error("has a blank or a control character in it, a blank in a password is written %20")]
    Blank,
    /// A reserved character where user, password or virtual host are expected to be encoded.
    #[error(
        "has a reserved character in its user, password or virtual host, \
         write %2F for /, %40 for @, %3F for ?, %23 for #"
    )]
    Reserved,
    /// A `%` that begins no encoded byte, or bytes that are no UTF-8.
    #[error("has a % that begins no encoded character, write %25 for % itself")]
    Encoding,
    /// A password without a user.
    #[error("has a password without a user, write amqp://user:password@host")]
    NoUser,
    /// A user without a password.
    #[error("has a user without a password, write amqp://user:password@host")]
    NoPassword,
    /// A host is missing.
    #[error("has no host, write amqp://user:password@host:5672/vhost")]
    NoHost,
    /// A host is no name and no address.
    #[error("has a host that is neither a name nor an address, an IPv6 address is written [::1]")]
    BadHost,
    /// A port is no number from 1 to 65535.
    #[error(
        "has a port that is no number from 1 to 65535, or a password with a reserved character in it, \
         write %2F for /, %40 for @, %3F for ?, %23 for #"
    )]
    BadPort,
    /// Query parameters, which es-bus takes as settings of their own.
    #[error("has query parameters, which es-bus does not read, {}", instead(*parameter))]
    Query {
        /// The first parameter that has a setting, with that setting.
        parameter: Option<(&'static str, &'static str)>,
    },
    /// Several URLs that differ in more than their hosts.
    #[error(
        "lists URLs that differ in scheme, user, password or virtual host, \
         list the nodes of one cluster"
    )]
    NotOneCluster,
}

fn instead(parameter: Option<(&'static str, &'static str)>) -> String {
    match parameter {
        Some((name, setting)) => {
            format!("drop {name} and set `{setting}` (ES_BUS_{})", setting.to_uppercase())
        }
        None => "drop everything from the ? on".to_owned(),
    }
}

/// Splits at commas that a scheme follows; the commas between hosts stay.
fn split_list(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        let next = text[at + 1..].trim_start();
        if SCHEMES.iter().any(|scheme| next.get(..scheme.len()) == Some(scheme)) {
            urls.push(text[start..at].trim());
            start = at + 1;
        }
    }
    urls.push(text[start..].trim());
    urls
}

fn parse_one(text: &str) -> Result<BrokerUrl, UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
    let tls = match scheme {
        "amqp" => false,
        "amqps" => true,
        "memory" if rest.is_empty() => return Ok(BrokerUrl::Memory { name: None }),
        "memory" if rest.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) => {
            return Ok(BrokerUrl::Memory { name: Some(rest.to_owned()) });
        }
        "memory" => return Err(UrlError::MemoryName),
        other if is_scheme(other) => {
            return Err(UrlError::UnknownScheme { scheme: other.to_owned() });
        }
        _ => return Err(UrlError::NoScheme),
    };
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(UrlError::Blank);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // Whatever stands before an `@` this late was to be a password.
    if path.contains(['@', '#']) {
        return Err(UrlError::Reserved);
    }
    let (user, password, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').ok_or(UrlError::NoPassword)?;
            (decode(user)?, decode(password)?, hosts)
        }
        None => ("guest".to_owned(), "guest".to_owned(), authority),
    };
    if user.is_empty() {
        return Err(UrlError::NoUser);
    }
    let hosts = hosts.split(',').map(|host| parse_host(host, tls)).collect::<Result<_, _>>()?;
    let virtual_host = parse_path(path)?;
    Ok(BrokerUrl::Amqp(AmqpUrl { tls, user, password, hosts, virtual_host }))
}

/// Whether it can be shown: a password in front of a `://` is not let out as a scheme.
fn is_scheme(text: &str) -> bool {
    KNOWN_SCHEMES.contains(&text.to_lowercase().as_str())
}

pub(super) fn parse_host(text: &str, tls: bool) -> Result<Host, UrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlError::BadHost)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_no_address| UrlError::BadHost)?;
            (
                address,
                if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(UrlError::BadHost)?) },
            )
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    if name.is_empty() {
        return Err(UrlError::NoHost);
    }
    let port = match port {
        Some(port) => parse_port(port)?,
        None if tls => AMQPS_PORT,
        None => AMQP_PORT,
    };
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')) {
        return Err(UrlError::BadHost);
    }
    Ok(Host { name: name.to_owned(), port })
}

pub(super) fn parse_port(text: &str) -> Result<u16, UrlError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::BadPort);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(UrlError::BadPort),
        Ok(port) => Ok(port),
    }
}

fn parse_path(path: &str) -> Result<String, UrlError> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    if let Some(query) = query {
        let names = query.split('&').filter_map(|pair| pair.split('=').next());
        let parameter =
            names.filter_map(|name| QUERY_SETTINGS.iter().find(|(known, _)| *known == name).copied()).next();
        return Err(UrlError::Query { parameter });
    }
    match path.strip_prefix('/') {
        None | Some("") => Ok("/".to_owned()),
        Some(name) if name.contains('/') => Err(UrlError::Reserved),
        Some(name) => decode(name),
    }
}

/// A part of a URL as it was meant.
pub(super) fn decode(text: &str) -> Result<String, UrlError> {
    percent::decode(text).ok_or(UrlError::Encoding)
}

const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;
const SCHEMES: &[&str] = &["amqp://", "amqps://", "memory://"];

/// Schemes that people try; only these are echoed.
const KNOWN_SCHEMES: &[&str] = &[
    "amqp",
    "amqps",
    "amqp+ssl",
    "http",
    "https",
    "kafka",
    "memory",
    "mqtt",
    "mqtts",
    "nats",
    "pyamqp",
    "rabbitmq",
    "redis",
    "rediss",
    "stomp",
    "tcp",
    "ws",
    "wss",
    "postgres",
    "postgresql",
];

/// What other clients read from the query, and the setting that says it here.
const QUERY_SETTINGS: &[(&str, &str)] = &[
    ("heartbeat", "heartbeat"),
    ("connection_timeout", "connect_timeout"),
    ("frame_max", "frame_max"),
    ("auth_mechanism", "auth"),
    ("cacertfile", "ca_file"),
    ("cafile", "ca_file"),
    ("certfile", "cert_file"),
    ("keyfile", "key_file"),
    ("verify", "verify_ssl"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amqp(text: &str) -> AmqpUrl {
        match text.parse().unwrap() {
            BrokerUrl::Amqp(url) => url,
            BrokerUrl::Memory { .. } => panic!("{text} is memory"),
        }
    }

    #[test]
    fn reads_the_parts_and_fills_in_the_rest() {
        let cases = [
            ("amqp://localhost", "amqp://guest:***@localhost:5672/"),
            ("amqps://localhost/", "amqps://guest:***@localhost:5671/"),
            ("amqp://app:pw@host:1234/myapp", "amqp://app:***@host:1234/myapp"),
            ("amqp://app:pw@host/%2F", "amqp://app:***@host:5672/"),
            ("amqp://app:pw@host/a%2Fb", "amqp://app:***@host:5672/a%2Fb"),
            ("amqp://a%40b:p%40w@host", "amqp://a%40b:***@host:5672/"),
            ("amqp://app:p@w@host", "amqp://app:***@host:5672/"),
            ("amqp://app:pw@one,two:5673/v", "amqp://app:***@one:5672,two:5673/v"),
            ("amqp://app:pw@[::1]:5673", "amqp://app:***@[::1]:5673/"),
            ("amqp://a:b@one/v, amqp://a:b@two:99/v", "amqp://a:***@one:5672,two:99/v"),
            ("memory://", "memory://"),
            ("memory://shop-1", "memory://shop-1"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn decodes_user_password_and_virtual_host() {
        let url = amqp("amqp://a%3Ab:p%40s%2Fs%25:x,y@host/my%20app");

        assert_eq!(url.user(), "a:b");
        assert_eq!(url.expose_password(), "p@s/s%:x,y");
        assert_eq!(url.virtual_host(), "my app");
    }

    #[test]
    fn says_what_is_wrong_without_echoing_the_url() {
        let urls = [
            "",
            "localhost:5672",
            "app:hunter2@localhost",
            "hunter2://localhost",
            "redis://app:hunter2@localhost",
            "AMQP://localhost",
            "memory://app:hunter2@host",
            "amqp://",
            "amqp:///vhost",
            "amqp://app:hunter2@",
            "amqp://app:hunter2@one,,two",
            "amqp://app@localhost",
            "amqp://:hunter2@localhost",
            "amqp://app:hun/ter2@localhost",
            "amqp://app:hun?ter2@localhost",
            "amqp://app:hun#ter2@localhost",
            "amqp://app:hun/ter2",
            "amqp://app:hun%ter2@localhost",
            "amqp://app:hun ter2@localhost",
            "amqp://app:hunter2@local host",
            "amqp://localhost:hunter2",
            "amqp://localhost:0",
            "amqp://localhost:65536",
            "amqp://localhost:",
            "amqp://local$host",
            "amqp://[::1",
            "amqp://[hunter2]",
            "amqp://localhost/a/b",
            "amqp://localhost/?heartbeat=5",
            "amqp://localhost/v?password=hunter2&connection_timeout=5",
            "amqp://localhost?hunter2",
            "amqp://a:hunter2@one,amqp://b:hunter2@two",
            "amqp://a:hunter2@one,memory://",
        ];

        let report: Vec<_> =
            urls.iter().map(|url| format!("{url}\n    {}", url.parse::<BrokerUrl>().unwrap_err())).collect();

        for line in report.iter().filter_map(|entry| entry.split('\n').nth(1)) {
            assert!(!line.contains("hunter2") && !line.contains("hun"), "{line}");
        }
        insta::assert_snapshot!(report.join("\n"));
    }

    proptest! {
        /// Two marks frame the password, so that any part of it that gets out is seen.
        #[test]
        fn no_output_shows_a_password(
            inner in "([a-z0-9]|[@%/?#:,\\[\\] &=]|%40|%2F|amqp://|,amqp://|@host|//){0,12}",
            encoded in any::<bool>(),
            tail in "(|/|/vhost|/a/b|:5672|:x|\\?heartbeat=5|,two:1)",
        ) {
            let password = format!("Zq9x{inner}x9qZ");
            let written = if encoded { percent::encode(&password) } else { password.clone() };

            let result = format!("amqp://app:{written}@broker{tail}").parse::<BrokerUrl>();

            let shown = match &result {
                Ok(url) => format!("{url} {url:?} {url:#?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("Zq9x") && !shown.contains("x9qZ"), "{}", shown);
            if let (true, Ok(BrokerUrl::Amqp(url))) = (encoded, &result) {
                prop_assert_eq!(url.expose_password(), password);
            }
        }

        #[test]
        fn any_text_parses_or_fails_without_panic(text in "\\PC*") {
            let _ = text.parse::<BrokerUrl>();
        }
    }
}
