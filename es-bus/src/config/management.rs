//! The address of RabbitMQ's management API, and its secret.
//!
//! As with the address of the broker: printed, it shows everything but the password, and an error echoes
//! nothing of it.

use std::{fmt, str::FromStr};

use super::url::{decode, parse_port};
use crate::percent;

/// Where the management API is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagementUrl {
    /// Where it is as a rule: port 15672 of the broker's first host, with the broker's login.
    Auto,
    /// It is not asked.
    Off,
    /// There.
    At(HttpUrl),
}

/// An address of the management API: `http://user:password@host:15672/prefix`.
///
/// `Debug` and `Display` show `***` for the password.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    tls: bool,
    login: Option<(String, String)>,
    host: String,
    port: u16,
    prefix: String,
}

impl HttpUrl {
    /// Whether the connection is encrypted (`https://`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// User and password, decoded; `None` where the URL names none, and those of the broker are taken. Do not
    /// print them.
    #[must_use]
    pub fn expose_login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (&**user, &**password))
    }

    /// The name or the address, an IPv6 one without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 15672, or 15671 with TLS, when the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before `/api` (`management.path_prefix` of RabbitMQ); empty as a rule.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for ManagementUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::Off),
            _ => {}
        }
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(format!("is no address of HTTP, {WRITE}, auto or none")),
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(
                "has a blank or a control character in it, a blank in a password is written %20".to_owned()
            );
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Whatever stands before an `@` this late was to be a password.
        if path.contains(['@', '?', '#']) {
            return Err(format!("has a reserved character in its user or password, or a query; {RESERVED}"));
        }
        let no_encoding =
            |_no_text| "has a % that begins no encoded character, write %25 for % itself".to_owned();
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => {
                let (user, password) =
                    login.split_once(':').ok_or_else(|| format!("has a user without a password, {WRITE}"))?;
                let login = (decode(user).map_err(no_encoding)?, decode(password).map_err(no_encoding)?);
                if login.0.is_empty() {
                    return Err(format!("has a password without a user, {WRITE}"));
                }
                (Some(login), host)
            }
            None => (None, authority),
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(BAD_HOST)?;
                address.parse::<std::net::Ipv6Addr>().map_err(|_no_address| BAD_HOST)?;
                (address, port.strip_prefix(':'))
            }
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        if host.is_empty() || !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':'))
        {
            return Err(BAD_HOST.to_owned());
        }
        let port = match port {
            Some(port) => parse_port(port)
                .map_err(|_no_port| format!("has a port that is no number from 1 to 65535; {RESERVED}"))?,
            None if tls => HTTPS_PORT,
            None => HTTP_PORT,
        };
        // What people copy from a browser, or from an example with `curl`.
        let prefix = path.trim_end_matches('/');
        let prefix = prefix.strip_suffix("/api").unwrap_or(prefix);
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a path that is no ASCII text".to_owned());
        }
        Ok(Self::At(HttpUrl { tls, login, host: host.to_owned(), port, prefix: prefix.to_owned() }))
    }
}

impl fmt::Display for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("none"),
            Self::At(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "https://" } else { "http://" })?;
        if let Some((user, _password)) = &self.login {
            write!(f, "{}:***@", percent::encode(user))?;
        }
        match &*self.host {
            host if host.contains(':') => write!(f, "[{host}]")?,
            host => f.write_str(host)?,
        }
        write!(f, ":{}{}", self.port, self.prefix)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

const HTTP_PORT: u16 = 15672;
const HTTPS_PORT: u16 = 15671;
const WRITE: &str = "write http://user:password@host:15672";
const RESERVED: &str = "in user and password write %2F for /, %40 for @, %3F for ?, %23 for #";
const BAD_HOST: &str =
    "has no host, or one that is neither a name nor an address; an IPv6 address is written [::1]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parts_and_fills_in_the_rest() {
        for (text, expected) in [
            ("auto", "auto"),
            ("none", "none"),
            ("http://localhost", "http://localhost:15672"),
            ("https://rabbit.internal/", "https://rabbit.internal:15671"),
            ("http://ops:p%40ss@rabbit:80/mq/", "http://ops:***@rabbit:80/mq"),
            ("http://ops:p@ss@rabbit:15672/api", "http://ops:***@rabbit:15672"),
            ("http://[::1]:15672", "http://[::1]:15672"),
        ] {
            assert_eq!(text.parse::<ManagementUrl>().unwrap().to_string(), expected, "{text}");
        }
        let ManagementUrl::At(url) = "http://o%3Aps:p%40ss@rabbit".parse().unwrap() else {
            panic!("it is one")
        };
        assert_eq!(url.expose_login(), Some(("o:ps", "p@ss")));
    }

    #[test]
    fn says_what_is_wrong_without_echoing_the_url() {
        let mut report = String::new();
        for text in [
            "",
            "localhost:15672",
            "amqp://app:hunter2@localhost",
            "http://",
            "http://app:hunter2@",
            "http://app@localhost",
            "http://:hunter2@localhost",
            "http://app:hun/ter2@localhost",
            "http://app:hun?ter2@localhost",
            "http://app:hun%ter2@localhost",
            "http://app:hunter2@local host",
            "http://localhost:hunter2",
            "http://localhost:0",
            "http://[::1",
            "http://localhost/\u{e9}",
        ] {
            let error = text.parse::<ManagementUrl>().unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains("hun"), "{error}");
            report += &format!("{text}\n    {error}\n");
        }
        insta::assert_snapshot!(report);
    }
}
