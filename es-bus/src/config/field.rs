//! How one value is read from text, bounded and printed. The same text form serves attributes,
//! the file, the environment and the builder.

use std::{
    cmp, fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{management::ManagementUrl, security::Auth, url::BrokerUrl};
use crate::{
    duration::{self, ByteSize},
    model::{
        Arguments, ExchangeKind, Overflow, QueueKind, StreamOffset, Template,
        policy::{Compat, Declare, DlxKind, LimitsIn, OnExhausted, OnUnknown, Ordering},
    },
};

/// A type that a setting can have.
pub(super) trait Field: Sized {
    /// The word for the absence of such a value.
    const ABSENT: &'static str = "none";

    /// Reads the value; the error says what was wrong and what would do, and holds no secret.
    fn parse(text: &str) -> Result<Self, String>;

    /// Prints the value so that [`parse`](Self::parse) reads it back, secrets masked.
    fn print(&self) -> String;

    /// Whether the value lies between two others, the bounds included.
    fn is_within(&self, _low: &str, _high: &str) -> bool {
        true
    }
}

fn between<T: Field + PartialOrd>(value: &T, low: &str, high: &str) -> bool {
    let is = |bound: &str, wrong: cmp::Ordering| {
        T::parse(bound).is_ok_and(|bound| value.partial_cmp(&bound).is_some_and(|found| found != wrong))
    };
    is(low, cmp::Ordering::Less) && is(high, cmp::Ordering::Greater)
}

impl Field for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        duration::parse(text).map_err(|error| error.to_string())
    }

    fn print(&self) -> String {
        duration::print(*self)
    }

    fn is_within(&self, low: &str, high: &str) -> bool {
        between(self, low, high)
    }
}

/// Types whose `FromStr` and `Display` say it all, but for the word of their absence.
macro_rules! fields {
    ($($type:ty $(, absent $absent:literal)?);+ $(;)?) => {$(
        impl Field for $type {
            $(const ABSENT: &'static str = $absent;)?

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: <$type as FromStr>::Err| error.to_string())
            }

            fn print(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

fields! {
    BrokerUrl;
    ManagementUrl;
    ExchangeKind;
    QueueKind, absent "auto";
    StreamOffset;
    Overflow;
    Template, absent "auto";
    Arguments;
    OnExhausted;
    DlxKind;
    Compat;
    Declare;
    LimitsIn;
    Auth;
}

impl Field for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("\"{other}\" is neither true nor false")),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Field for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.into()) }
    }

    fn print(&self) -> String {
        self.display().to_string()
    }
}

impl Field for ByteSize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: duration::Error| error.to_string())
    }

    fn print(&self) -> String {
        self.to_string()
    }

    fn is_within(&self, low: &str, high: &str) -> bool {
        between(self, low, high)
    }
}

impl Field for OnUnknown {
    const ABSENT: &'static str = "auto";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Self as FromStr>::Err| format!("{error}, {}", Self::ABSENT))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Field for Ordering {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Self as FromStr>::Err| error.to_string())
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

macro_rules! counts {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_no_count| {
                    format!("\"{text}\" is no whole number from 0 to {}", Self::MAX)
                })
            }

            fn print(&self) -> String {
                self.to_string()
            }

            fn is_within(&self, low: &str, high: &str) -> bool {
                between(self, low, high)
            }
        }
    )+};
}

counts!(u8, u16, u32, u64);

impl Field for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) | Err(_) => Err(format!("\"{text}\" is no number such as 0.1")),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }

    fn is_within(&self, low: &str, high: &str) -> bool {
        between(self, low, high)
    }
}

impl Field for String {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("is empty".to_owned()),
            text if text.trim() != text || text.contains(char::is_control) => {
                Err(format!("{text:?} begins or ends with a blank, or holds a control character"))
            }
            text if text.len() > SHORT_STRING => {
                Err(format!("is {} bytes long, AMQP names have at most {SHORT_STRING}", text.len()))
            }
            text => Ok(text.to_owned()),
        }
    }

    fn print(&self) -> String {
        self.clone()
    }
}

impl Field for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        let host = Ipv4Addr::LOCALHOST;
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self::from((host, port)));
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
            return Ok(Self::from((host, port)));
        }
        text.parse().map_err(|_no_address| match text.parse::<IpAddr>() {
            Ok(_) => format!("\"{text}\" has no port, write \"{}\"", Self::new(host.into(), 9090)),
            Err(_) => format!(
                "\"{text}\" is no address and port, write \"9090\" for {host}:9090, or \"0.0.0.0:9090\" for \
                 every network of this machine"
            ),
        })
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl<T: Field> Field for Vec<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text == Self::ABSENT {
            return Ok(Self::new());
        }
        text.split(',')
            .map(|item| match item.trim() {
                "" => Err("has an empty item, write items parted by commas".to_owned()),
                item => T::parse(item),
            })
            .collect()
    }

    fn print(&self) -> String {
        if self.is_empty() {
            return Self::ABSENT.to_owned();
        }
        self.iter().map(T::print).collect::<Vec<_>>().join(", ")
    }

    fn is_within(&self, low: &str, high: &str) -> bool {
        self.iter().all(|item| item.is_within(low, high))
    }
}

impl<T: Field> Field for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text == T::ABSENT { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn print(&self) -> String {
        self.as_ref().map_or_else(|| T::ABSENT.to_owned(), T::print)
    }

    fn is_within(&self, low: &str, high: &str) -> bool {
        self.as_ref().is_none_or(|value| value.is_within(low, high))
    }
}

/// A value on its way into the configuration: what a person would have written. Made of texts,
/// numbers, durations, sizes and the words of [`policy`](crate::model::policy).
pub struct Text(pub(super) String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a URL with a password in it.
        f.write_str("Text(..)")
    }
}

impl From<Duration> for Text {
    fn from(duration: Duration) -> Self {
        Self(duration::print(duration))
    }
}

macro_rules! texts {
    ($($type:ty),+) => {$(
        impl From<$type> for Text {
            fn from(value: $type) -> Self {
                Self(value.to_string())
            }
        }
    )+};
}

texts!(
    StreamOffset,
    &str,
    &String,
    String,
    bool,
    u8,
    u16,
    u32,
    u64,
    i32,
    usize,
    f64,
    ByteSize,
    QueueKind,
    Overflow,
    OnUnknown,
    Ordering,
    OnExhausted,
    DlxKind,
    Compat,
    Declare,
    LimitsIn
);

/// Which groups this process consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSelection {
    /// Every group that the program declares.
    All,
    /// These; none when empty, for a process that only publishes.
    Only(Vec<String>),
}

impl GroupSelection {
    /// Whether the group is selected.
    #[must_use]
    pub fn includes(&self, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(groups) => groups.iter().any(|name| name == group),
        }
    }
}

impl Field for GroupSelection {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            list => Vec::parse(list).map(Self::Only),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Only(groups) => groups.print(),
        }
    }
}

/// The longest AMQP short string, in bytes.
const SHORT_STRING: usize = 255;
