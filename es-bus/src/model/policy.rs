//! The words a group's settings may be: closed vocabularies, each with the spelling that files,
//! the environment and attributes share.
//!
//! A word comes in as text and goes out as text ([`FromStr`], [`Display`](fmt::Display)); in
//! between it is an enum that cannot be wrong. `-` and `_` are one when a word is read. Next: the
//! topology, which turns these words into queue arguments.

use std::{fmt, str::FromStr};

use super::{ExchangeKind, Overflow, QueueKind};

/// A word that is not in its vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{found}\" is no {what}, expected one of {}", known.join(", "))]
#[non_exhaustive]
pub struct UnknownWord {
    /// What the word was to name, for example `queue kind`.
    pub what: &'static str,
    /// The word as it was found.
    pub found: String,
    /// The words that would do.
    pub known: &'static [&'static str],
}

/// Ties an enum to the words that a person may write for it, so that reading, printing and listing
/// cannot part.
macro_rules! vocabulary {
    ($name:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        vocabulary!($name by as_str, $what, { $($variant => $word),+ });
    };
    ($name:ident by $print:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every word, in the order in which help texts list them.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $(word if is_same_word(word, $word) => Ok(Self::$variant),)+
                    other => Err(UnknownWord {
                        what: $what,
                        found: other.to_owned(),
                        known: Self::WORDS,
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.$print())
            }
        }
    };
}

// RabbitMQ's own name of a kind that a plugin has begins with `x-`.
vocabulary!(ExchangeKind by word, "exchange type", {
    Topic => "topic",
    Direct => "direct",
    Fanout => "fanout",
    Headers => "headers",
    ConsistentHash => "consistent-hash",
});

vocabulary!(QueueKind, "queue kind", { Quorum => "quorum", Classic => "classic", Stream => "stream" });

// `reject-publish-dlx` is what es-bus itself may declare, not a choice.
vocabulary!(Overflow, "overflow", {
    RejectPublish => "reject-publish",
    DropHead => "drop-head",
});

/// What a group does with an event that none of its handlers takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknown {
    /// Acknowledges and counts it.
    Skip,
    /// Lets it wait for a replica that knows it, then dead-letters it.
    Wait,
    /// Dead-letters it at once.
    DeadLetter,
}

impl OnUnknown {
    /// The word as it is written in files, variables and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Wait => "wait",
            Self::DeadLetter => "dead_letter",
        }
    }
}

vocabulary!(OnUnknown, "way with unknown events", {
    Skip => "skip",
    Wait => "wait",
    DeadLetter => "dead_letter",
});

/// In which order the events of a group are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ordering {
    /// The events of one aggregate stay in order, others run at once.
    Aggregate,
    /// The events of one aggregate stay in order, over failures and over processes: one process is
    /// active, and an event that fails is tried again before the next of its aggregate.
    Strict,
    /// Whatever is ready runs.
    None,
}

impl Ordering {
    /// The word as it is written in files, variables and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aggregate => "aggregate",
            Self::Strict => "strict",
            Self::None => "none",
        }
    }
}

vocabulary!(Ordering, "ordering", { Aggregate => "aggregate", Strict => "strict", None => "none" });

/// What a group does with an event that its handlers gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExhausted {
    /// Moves it to the dead-letter queue.
    DeadLetter,
    /// Forgets it: counted, logged as an error, and gone.
    Drop,
}

impl OnExhausted {
    /// The word as it is written in files, variables and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Drop => "drop",
        }
    }
}

vocabulary!(OnExhausted, "way with exhausted events", { DeadLetter => "dead_letter", Drop => "drop" });

/// How a dead-letter exchange picks queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DlxKind {
    /// By the key itself.
    Direct,
    /// By patterns over the key.
    Topic,
    /// To every queue that is bound.
    Fanout,
}

impl DlxKind {
    /// The word as it is written in files, variables and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.exchange_kind().as_str()
    }

    /// The kind of exchange.
    #[must_use]
    pub const fn exchange_kind(self) -> ExchangeKind {
        match self {
            Self::Direct => ExchangeKind::Direct,
            Self::Topic => ExchangeKind::Topic,
            Self::Fanout => ExchangeKind::Fanout,
        }
    }
}

vocabulary!(DlxKind, "kind of dead-letter exchange", {
    Direct => "direct",
    Topic => "topic",
    Fanout => "fanout",
});

/// Whose workers a group shares its queue with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compat {
    /// Those of eventsource-py, a Python library.
    Eventsource,
}

impl Compat {
    /// The word as it is written in files, variables and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eventsource => "eventsource",
        }
    }
}

vocabulary!(Compat, "library to share a queue with", { Eventsource => "eventsource" });

/// What a program does about its topology when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Declare {
    /// Declares what is missing.
    Create,
    /// Declares nothing, and does not start while something is missing.
    Passive,
    /// Declares nothing and looks at nothing.
    None,
}

impl Declare {
    /// The word as it is written in files and variables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Passive => "passive",
            Self::None => "none",
        }
    }
}

vocabulary!(Declare, "way to declare", { Create => "create", Passive => "passive", None => "none" });

/// What carries the limits of queues: how much they hold, how long, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitsIn {
    /// The arguments of the queue, which never change.
    Arguments,
    /// A policy for each queue, which may change while the queue is used.
    Policies,
}

impl LimitsIn {
    /// The word as it is written in files and variables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Policies => "policies",
        }
    }
}

vocabulary!(LimitsIn, "way to carry limits", { Arguments => "arguments", Policies => "policies" });

fn is_same_word(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left.bytes().zip(right.bytes()).all(|(a, b)| a == b || (is_joint(a) && is_joint(b)))
}

fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for word in ExchangeKind::WORDS {
            assert_eq!(word.parse::<ExchangeKind>().unwrap().to_string(), *word);
        }
        for word in QueueKind::WORDS {
            assert_eq!(word.parse::<QueueKind>().unwrap().to_string(), *word);
        }
        for word in Overflow::WORDS {
            assert_eq!(word.parse::<Overflow>().unwrap().to_string(), *word);
        }
        for word in OnUnknown::WORDS {
            assert_eq!(word.parse::<OnUnknown>().unwrap().to_string(), *word);
        }
        for word in Ordering::WORDS {
            assert_eq!(word.parse::<Ordering>().unwrap().to_string(), *word);
        }
        for word in OnExhausted::WORDS {
            assert_eq!(word.parse::<OnExhausted>().unwrap().to_string(), *word);
        }
        for word in DlxKind::WORDS {
            assert_eq!(word.parse::<DlxKind>().unwrap().to_string(), *word);
        }
        for word in Compat::WORDS {
            assert_eq!(word.parse::<Compat>().unwrap().to_string(), *word);
        }
        for word in Declare::WORDS {
            assert_eq!(word.parse::<Declare>().unwrap().to_string(), *word);
        }
        for word in LimitsIn::WORDS {
            assert_eq!(word.parse::<LimitsIn>().unwrap().to_string(), *word);
        }
    }

    #[test]
    fn hyphen_and_underscore_are_one() {
        assert_eq!("dead-letter".parse(), Ok(OnUnknown::DeadLetter));
        assert_eq!("reject_publish".parse(), Ok(Overflow::RejectPublish));
    }

    #[test]
    fn an_unknown_word_lists_the_known_ones() {
        let error = "clasic".parse::<QueueKind>().unwrap_err();

        assert_eq!(
            error.to_string(),
            r#""clasic" is no queue kind, expected one of quorum, classic, stream"#
        );
    }
}
