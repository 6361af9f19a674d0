//! What a question is about, and the program does not know.

/// Why there is no answer. The text says what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// No event of the program has the name, nor the key.
    #[error("no event {name:?} is known to this program{}; {}", near(nearest), listed("it knows", known))]
    UnknownEvent {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// The keys of all events, sorted.
        known: Vec<String>,
    },
    /// Several events have the name.
    #[error("{name:?} is the name of several events; ask by the key, or with the exchange: {}", events.join(", "))]
    AmbiguousEvent {
        /// What was asked for.
        name: String,
        /// Each with its exchange.
        events: Vec<String>,
    },
    /// Words of the event's key are fields, and who gets it depends on them.
    #[error(
        "words of the key of {event} are fields, `{pattern}`, and who gets it depends on them: ask by a key, \
         `Question::key({example:?})`"
    )]
    Fields {
        /// The event.
        event: String,
        /// Its key, with `*` for each field.
        pattern: String,
        /// A key that it may have.
        example: String,
    },
    /// The program has nothing to do with the exchange.
    #[error("no exchange {name:?} is known to this program{}; {}", near(nearest), listed("it knows", known))]
    UnknownExchange {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// All that it knows, sorted.
        known: Vec<String>,
    },
    /// Neither a handler nor a group has the name.
    #[error("no handler and no group is named {name:?}{}; {}", near(nearest), listed("there are", known))]
    UnknownHandler {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// All handlers, each behind its group, sorted.
        known: Vec<String>,
    },
    /// AMQP carries keys of up to 255 bytes.
    #[error("the routing key has {length} bytes; AMQP carries 255 at most")]
    LongKey {
        /// How long it is.
        length: usize,
    },
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default()
}

/// How many names a text lists at most.
const LISTED: usize = 12;

fn listed(lead: &str, known: &[String]) -> String {
    match known.len() {
        0 => format!("{lead} none"),
        count if count > LISTED => {
            format!("{lead} {}, and {} more", known[..LISTED].join(", "), count - LISTED)
        }
        _ => format!("{lead} {}", known.join(", ")),
    }
}
