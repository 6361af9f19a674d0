//! What cannot be subscribed to or bound.

use crate::name::InvalidName;

/// Why a subscription or a binding is refused before the broker is asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The group cannot be named so.
    #[error(transparent)]
    Group(InvalidName),
    /// There is no such group in this process.
    #[error(
        "this process has no group {group:?}{}",
        if known.is_empty() { String::new() } else { format!("; it has {}", known.join(", ")) }
    )]
    NoGroup {
        /// The group.
        group: String,
        /// The groups that there are.
        known: Vec<String>,
    },
    /// Its queue holds events for handlers that do not run in this process: a subscription beside
    /// them would take those events away.
    #[error(
        "group {group:?} has handlers ({handlers}) that this process does not run, and a subscription would take \
         their events: consume the group (`groups`, `ES_BUS_GROUPS`, no `publish_only`), or subscribe in another one"
    )]
    NotConsumed {
        /// The group.
        group: String,
        /// Its handlers.
        handlers: String,
    },
    /// Another handler of the group has the name.
    #[error("group {group:?} has a handler named {name:?} already: retries find a handler by its name")]
    NameTaken {
        /// The group.
        group: String,
        /// The name.
        name: String,
    },
    /// Nothing can be named so.
    #[error(
        "{name:?} cannot be the name of a handler: a name has letters, as retries and dead letters carry it"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No binding key.
    #[error("binding key {key:?} {fault}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The key brings none of the events that the handler takes.
    #[error("binding key {key:?} matches no event of the handler, which takes {events}")]
    BringsNothing {
        /// The key.
        key: String,
        /// The keys of the events that the handler takes.
        events: String,
    },
    /// No key brings one of the events that the handler takes.
    #[error(
        "no binding key of the handler matches {event:?}, which it takes: bind it too, or leave `bind` out"
    )]
    NotBound {
        /// The key of the event.
        event: String,
    },
    /// A handler of raw events has to say which it wants.
    #[error(
        "a handler of raw events says which it wants: add `.bind(\"Order.*\")`, or use `subscribe_to_all`"
    )]
    NoKey,
    /// The handler asks for something that the program did not provide.
    #[error(
        "the handler needs `State<{type_name}>`: add `.state(value)` to the builder of the bus, with a value of that type"
    )]
    NoState {
        /// Its type.
        type_name: &'static str,
    },
    /// A setting is out of its bounds.
    #[error("{setting}: {problem}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The exchange cannot do what the key asks of it.
    #[error("binding key {key:?} on {exchange:?}, a {kind} exchange: {remedy}")]
    Misfit {
        /// The key.
        key: String,
        /// The exchange.
        exchange: String,
        /// Its kind.
        kind: &'static str,
        /// What would do.
        remedy: &'static str,
    },
    /// A headers exchange cannot tell the event apart.
    #[error(
        "{event:?} is published to a headers exchange, with no headers of its own to be told by: give the event some, \
         `#[event(headers(format = \"pdf\"))]`"
    )]
    NoHeaders {
        /// The key of the event.
        event: String,
    },
    /// A handler of the group still needs the binding.
    #[error("a handler of group {group:?} binds {key:?}: it cannot be unbound while that handler is there")]
    StillBound {
        /// The group.
        group: String,
        /// The key.
        key: String,
    },
}
