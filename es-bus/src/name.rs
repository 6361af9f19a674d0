//! Names that a broker accepts, checked once, when they are made.
//!
//! In comes a text from an attribute, a file or a builder; out goes a value that every later room
//! may hand to the broker without looking again. Cloning one is a reference count.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The longest name that AMQP can carry, in bytes (a *short string*).
pub const MAX_NAME_LEN: usize = 255;

/// Why a text cannot be the name of an exchange, a queue or a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// The text is empty.
    #[error("{what} name is empty")]
    Empty {
        /// What was to be named: `exchange`, `queue` or `group`.
        what: &'static str,
    },
    /// The text is too long for an AMQP short string.
    #[error("{what} name {name:?} has {len} bytes; AMQP carries at most {MAX_NAME_LEN}")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The text contains a control character.
    #[error("{what} name {name:?} contains the control character {character:?}")]
    Control {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// The offending character.
        character: char,
    },
    /// The name belongs to the broker.
    #[error(
        "{what} name {name:?} starts with \"amq.\", which RabbitMQ keeps for itself; choose another name"
    )]
    Reserved {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
    },
}

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty { what });
    }
    if name.len() > MAX_NAME_LEN {
        return Err(InvalidName::TooLong { what, name: name.to_owned(), len: name.len() });
    }
    if let Some(character) = name.chars().find(|c| c.is_control()) {
        return Err(InvalidName::Control { what, name: name.to_owned(), character });
    }
    if name.starts_with("amq.") {
        return Err(InvalidName::Reserved { what, name: name.to_owned() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and keeps it.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] says which rule the text breaks.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                check($what, name.as_ref())?;
                Ok(Self(name.as_ref().into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of an exchange.
    ExchangeName,
    "exchange"
);
name!(
    /// The name of a queue.
    QueueName,
    "queue"
);
name!(
    /// The name of a group: the handlers that share one queue.
    GroupName,
    "group"
);

impl ExchangeName {
    /// The default exchange, which has an empty name and routes to the queue named by the key.
    #[must_use]
    pub fn default_exchange() -> Self {
        Self("".into())
    }

    /// The name of an exchange that is there: of one that the broker has by itself, too, as `amq.topic`.
    pub(crate) fn of_existing(name: &str) -> Self {
        Self(name.into())
    }
}

impl QueueName {
    /// The name of a queue that is there, whatever it is.
    pub(crate) fn of_existing(name: &str) -> Self {
        Self(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_broker_would_refuse() {
        assert_eq!(QueueName::new(""), Err(InvalidName::Empty { what: "queue" }));
        assert!(matches!(QueueName::new("x".repeat(256)), Err(InvalidName::TooLong { len: 256, .. })));
        assert!(matches!(ExchangeName::new("a\nb"), Err(InvalidName::Control { character: '\n', .. })));
        assert!(matches!(ExchangeName::new("amq.topic"), Err(InvalidName::Reserved { .. })));
        assert_eq!(GroupName::new("order-projections").unwrap().as_str(), "order-projections");
    }
}
