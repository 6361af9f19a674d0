//! What can go wrong between this program and a broker.

use std::time::Duration;

use crate::{outcome::BoxError, wire::TooLarge};

/// A connection that could not be made or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The broker refused the login.
    #[error("{address} refused the login: {reason}; {remedy}")]
    Login {
        /// Which broker, without its password.
        address: String,
        /// What it said.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// There is no such virtual host, or the user may not use it.
    #[error(
        "{address} has no virtual host {vhost:?} for this user: {reason}; create it (`rabbitmqctl add_vhost`) or correct the URL"
    )]
    VirtualHost {
        /// Which broker.
        address: String,
        /// The virtual host.
        vhost: String,
        /// What it said.
        reason: String,
    },
    /// The address does not speak AMQP the way it was spoken to.
    #[error("{address} does not answer as an AMQP broker: {reason}; {remedy}")]
    Protocol {
        /// Which broker.
        address: String,
        /// What came instead.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// TLS could not be agreed on.
    #[error("TLS with {address} failed: {reason}; {remedy}")]
    Tls {
        /// Which broker.
        address: String,
        /// What failed.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The connection is not there, for a reason that may pass.
    #[error("no connection to {address}: {reason}")]
    Unreachable {
        /// Which broker.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The broker was not there when the program started, for as long as that waits.
    #[error(
        "no connection to {address} {waited}: {reason}; `start_timeout` (ES_BUS_START_TIMEOUT) says how long to wait"
    )]
    NotInTime {
        /// Which broker.
        address: String,
        /// How long it was waited for: `within 30s`, or `at the first attempt at each host`.
        waited: String,
        /// What failed last.
        reason: String,
    },
    /// This program closed it.
    #[error("the connection to {address} is closed")]
    Closed {
        /// Which broker.
        address: String,
    },
}

/// RabbitMQ's management API did not answer what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagementError {
    /// Nobody answers there.
    #[error(
        "the management API at {address} cannot be reached: {reason}; see that its plugin is enabled \
         (`rabbitmq-plugins enable rabbitmq_management`) and that `management_url` (ES_BUS_MANAGEMENT_URL) names its port"
    )]
    Unreachable {
        /// Where it was asked, without a password.
        address: String,
        /// What failed.
        reason: String,
    },
    /// No answer came in time.
    #[error(
        "the management API at {address} did not answer {method} {path} within {after:?}; the broker may be busy: try \
         again"
    )]
    TimedOut {
        /// Where it was asked.
        address: String,
        /// The HTTP method.
        method: &'static str,
        /// For what.
        path: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// TLS could not be agreed on.
    #[error("TLS with the management API at {address} failed: {reason}; {remedy}")]
    Tls {
        /// Where it was asked.
        address: String,
        /// What failed.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// User or password is wrong (401).
    #[error(
        "the management API at {address} refused the login of user {user:?}: {reason}; check user and password, in \
         `management_url` (ES_BUS_MANAGEMENT_URL) or, where that names none, in the URL of the broker"
    )]
    Login {
        /// Where it was asked.
        address: String,
        /// As whom.
        user: String,
        /// What it said.
        reason: String,
    },
    /// The user may not ask that (401 or 403).
    #[error("the management API at {address} does not let user {user:?} {} {path}: {reason}; {remedy}", if *method == "GET" { "read" } else { "change" })]
    Forbidden {
        /// Where it was asked.
        address: String,
        /// The HTTP method.
        method: &'static str,
        /// As whom.
        user: String,
        /// For what.
        path: String,
        /// What it said.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// There is no such virtual host (404).
    #[error(
        "the management API at {address} knows no virtual host {vhost:?}; see that it belongs to the broker of the URL, \
         and that the virtual host exists (`rabbitmqctl list_vhosts`)"
    )]
    NoVirtualHost {
        /// Where it was asked.
        address: String,
        /// The virtual host.
        vhost: String,
    },
    /// Somebody else answers.
    #[error(
        "{address} does not answer as RabbitMQ's management API: {reason}; see that `management_url` \
         (ES_BUS_MANAGEMENT_URL) names the port of the plugin, 15672 as a rule"
    )]
    NotAnApi {
        /// Where it was asked.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// It answers that it cannot.
    #[error(
        "the management API at {address} answered {method} {path} with {status}: {reason}; see the log of the broker"
    )]
    Failed {
        /// Where it was asked.
        address: String,
        /// The HTTP method.
        method: &'static str,
        /// For what.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        reason: String,
    },
}

/// A declaration that the broker did not accept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// It is there, and says something else (406).
    #[error("{what} {name:?} exists with other settings: {reason}")]
    Mismatch {
        /// `exchange` or `queue`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The setting that differs, as the broker names it, when it does.
        field: Option<String>,
        /// What it is declared with here.
        wanted: Option<String>,
        /// What it has on the broker.
        found: Option<String>,
        /// What the broker said.
        reason: String,
    },
    /// The user may not (403).
    #[error("no permission for {what} {name:?}: {reason}")]
    Forbidden {
        /// `exchange`, `queue` or `binding`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What the broker said.
        reason: String,
    },
    /// What it refers to is not there (404), or is somebody's alone (405).
    #[error("{what} {name:?} cannot be {}: {reason}", if *what == "policy" { "set" } else { "declared" })]
    Refused {
        /// `exchange`, `queue` or `binding`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What the broker said.
        reason: String,
    },
    /// RabbitMQ has exchanges of this kind by a plugin only, which is not enabled (503).
    #[error(
        "{what} {name:?} is of a kind that the broker does not have ({reason}); enable the plugin on each of its nodes: \
         `rabbitmq-plugins enable {plugin}`"
    )]
    NoPlugin {
        /// `exchange`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The plugin.
        plugin: &'static str,
        /// What the broker said.
        reason: String,
    },
    /// It may be declared only once messages were migrated to it (`topology migrate`): they are elsewhere.
    #[error("{what} {name:?} is to be migrated first: {reason}")]
    Unmigrated {
        /// `queue`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where they are.
        reason: String,
    },
    /// The node of a cluster that alone has it, as a classic queue has one, is down (404), or the broker
    /// does not answer about it, as when most nodes of a quorum queue are: it will be there again, with
    /// what is in it.
    #[error("the node that has {what} {name:?} is down: {reason}")]
    Down {
        /// `queue` or `binding`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What the broker said.
        reason: String,
    },
    /// The management API, by which alone it can be set, does not answer, or says that it cannot now.
    #[error("{what} {name:?} cannot be set now: {reason}")]
    Unanswered {
        /// `policy`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What failed.
        reason: String,
    },
    /// It is not there, and this program declares nothing (`declare = "passive"`).
    #[error("there is no {what} {name:?}, and this program declares nothing (declare = \"passive\")")]
    Missing {
        /// `exchange` or `queue`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The connection was lost meanwhile.
    #[error("the connection was lost while {what} {name:?} was declared: {reason}")]
    Interrupted {
        /// `exchange`, `queue` or `binding`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What happened.
        reason: String,
    },
}

/// A publish that did not end with the broker's confirmation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No queue is bound for the key (a mandatory message was returned).
    #[error("no queue takes {routing_key:?} on exchange {exchange:?}")]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// There is no such exchange (404).
    #[error("there is no exchange {exchange:?}: {reason}")]
    NoExchange {
        /// The exchange.
        exchange: String,
        /// What the broker said.
        reason: String,
    },
    /// A queue did not take the message (a negative confirm): it is full, or cannot store it, as a quorum
    /// queue without a majority or between two leaders.
    #[error(
        "a queue refused {routing_key:?} on exchange {exchange:?}: it is full, or most of its replicas are away"
    )]
    Refused {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The user may not publish there (403), or the message breaks a rule of the broker (406).
    #[error("the broker does not accept the message on exchange {exchange:?}: {reason}")]
    Rejected {
        /// The exchange.
        exchange: String,
        /// What the broker said.
        reason: String,
    },
    /// The message cannot be carried.
    #[error("{what} has {size} bytes, at most {limit} can be carried")]
    TooLarge {
        /// Which part: `the body`, `the headers`, a property by its name, `the routing key`.
        what: String,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The connection was lost meanwhile, or is not there: the broker may or may not have it.
    #[error("the connection was lost before the broker confirmed: {reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// No confirmation came in time: the broker may or may not have it.
    #[error("no confirmation within {after:?}: {reason}; the broker may have the message or not")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What it waited for, or what failed last.
        reason: String,
    },
    /// The broker cannot be used, and waiting does not help: the login or the topology is refused.
    #[error("the broker cannot be used: {reason}")]
    Unavailable {
        /// Why not.
        reason: String,
    },
    /// No room in the background: the broker does not keep up with what is published there.
    #[error("{limit} events are on their way in the background, and none was confirmed within {after:?}")]
    Backlog {
        /// How many may be (`publish_background`).
        limit: usize,
        /// How long room was waited for.
        after: Duration,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
    /// The fields of the event make no routing key: each is to be one word, without dots and wildcards.
    #[error("the fields of {event} make the routing key {key:?} of `{pattern}`, which {fault}")]
    Key {
        /// The event.
        event: &'static str,
        /// Its key, with `*` for each field.
        pattern: &'static str,
        /// The key that the fields make.
        key: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The event could not be made into a message.
    #[error("the event cannot be encoded")]
    Encode(#[source] BoxError),
}

/// A consumer that could not be started, or that ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// There is no such queue (404).
    #[error("there is no queue {queue:?}: {reason}")]
    NoQueue {
        /// The queue.
        queue: String,
        /// What the broker said.
        reason: String,
    },
    /// The user may not read it (403), or somebody has it alone (405).
    #[error("queue {queue:?} cannot be consumed: {reason}")]
    Refused {
        /// The queue.
        queue: String,
        /// What the broker said.
        reason: String,
    },
    /// The broker ended the consumer: the queue was deleted, or its node went.
    #[error("the broker cancelled the consumer of {queue:?}")]
    Cancelled {
        /// The queue.
        queue: String,
    },
    /// The broker delivers nothing to the consumer, although it should, and does not say why.
    #[error("the consumer of {queue:?} gets nothing: {reason}")]
    Silent {
        /// The queue.
        queue: String,
        /// What the queue says of itself.
        reason: String,
    },
    /// The broker closed the channel.
    #[error("the channel of queue {queue:?} was closed: {reason}")]
    ChannelClosed {
        /// The queue.
        queue: String,
        /// What the broker said.
        reason: String,
    },
    /// The connection was lost, or is not there.
    #[error("the connection was lost: {reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
}

impl From<TooLarge> for PublishError {
    fn from(TooLarge { what, size, limit }: TooLarge) -> Self {
        Self::TooLarge { what: what.into_owned(), size, limit }
    }
}
