//! The answer to a question, as a value. `print` has the words.

use std::collections::BTreeMap;

use serde::Serialize;

/// Who gets an event or a message, how, and what follows when it fails.
///
/// Serialized it is the answer for a program, printed ([`Display`](std::fmt::Display)) the one for a person.
/// Durations are texts as in the configuration: `1m30s`.
///
/// # Examples
///
/// ```
/// use es_bus::{Bus, Registry, event, explain::Question, handler};
/// use serde::{Deserialize, Serialize};
///
/// #[event(aggregate = "Order")]
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlaced {}
///
/// #[handler(group = "projections", retries = 2)]
/// async fn project(event: OrderPlaced) {
///     drop(event);
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new().handler::<project>();
/// let bus = Bus::builder().url("memory://").registry(registry).build()?;
///
/// let explanation = bus.explain(&Question::event("OrderPlaced"))?;
///
/// assert_eq!(explanation.groups[0].queue, "events.projections");
/// assert_eq!(explanation.groups[0].handlers[0].handler, "project");
/// assert!(explanation.to_string().contains("tried again after 1s, 2s, then events.projections.dlq"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What is published.
    pub subject: Subject,
    /// The exchanges that it comes to, in order: the one that it is published to, those that are bound to it and
    /// get it, and where no binding takes it, alternate exchanges.
    pub exchanges: Vec<ExchangeAnswer>,
    /// The groups whose queues it comes to.
    pub groups: Vec<GroupAnswer>,
    /// What that means, when no queue that the program knows takes it.
    pub nobody: Option<Nobody>,
    /// What was asked about handlers.
    pub why: Vec<WhyAnswer>,
    /// What may have been meant, where a key belongs to nothing that is known.
    pub hints: Vec<String>,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Subject {
    /// The type that it claims, where it claims one.
    pub event: Option<String>,
    /// The type of its aggregate, where it claims one.
    pub aggregate: Option<String>,
    /// Where the event is declared: `src/orders.rs:12`.
    pub declared: Option<String>,
    /// The handlers that publish it as their result, each behind its group: `stock/reserve`.
    pub emitted_by: Vec<String>,
    /// The exchange that it is published to; empty for AMQP's default exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The headers that bindings and handlers look at, as far as they are known, as texts.
    pub headers: BTreeMap<String, String>,
    /// How long it may wait in a queue.
    pub ttl: Option<String>,
}

/// What an exchange does with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExchangeAnswer {
    /// Its name; empty for AMQP's default exchange.
    pub exchange: String,
    /// How it picks queues.
    pub kind: &'static str,
    /// Whether the broker refuses what is published to it.
    pub internal: bool,
    /// Its bindings, as far as the program declares them, those that deliver first.
    pub bindings: Vec<BindingAnswer>,
    /// The exchanges that are bound to it, as far as the program declares them, those that get it first.
    pub onward: Vec<OnwardAnswer>,
    /// What it hashes, where it gives each message to one alone of those whose bindings deliver.
    pub hashes: Option<String>,
    /// Where it hands over what it has no queue for.
    pub alternate: Option<String>,
}

/// What a binding of an exchange to this one does with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OnwardAnswer {
    /// What it asks for: a binding key, or headers in words.
    pub asks: String,
    /// The exchange that is bound.
    pub exchange: String,
    /// Whether it gets it.
    pub delivers: bool,
    /// Why it does not.
    pub because: Option<String>,
}

/// What a binding does with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BindingAnswer {
    /// What it asks for: a binding key, or headers in words.
    pub asks: String,
    /// The queue.
    pub queue: String,
    /// What the queue is: `group "stock"`, `the dead-letter queue of group "stock"`.
    pub whose: String,
    /// The handlers that asked for it.
    pub handlers: Vec<String>,
    /// Whether it delivers.
    pub delivers: bool,
    /// Why it does not.
    pub because: Option<String>,
}

/// What a group does with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GroupAnswer {
    /// Its name.
    pub group: String,
    /// Its queue. `{process}` stands for what differs from process to process.
    pub queue: String,
    /// Whether this process consumes it.
    pub is_consumed: bool,
    /// The handlers that run.
    pub handlers: Vec<HandlerAnswer>,
    /// The others, and why.
    pub others: Vec<OtherHandler>,
    /// What happens to it, when no handler runs.
    pub unknown: Option<Unknown>,
    /// Where what the group gives up is kept.
    pub dead_letters: Option<DeadLetters>,
    /// What else may become of it on its way, a sentence each.
    pub notes: Vec<String>,
}

/// A handler that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HandlerAnswer {
    /// Its name.
    pub handler: String,
    /// Where it stands.
    pub declared: Option<String>,
    /// How long one attempt may take.
    pub timeout: String,
    /// When it is tried again.
    pub retry: Retry,
    /// What follows after the last attempt.
    pub end: End,
}

/// When a failed event is tried again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Retry {
    /// How often.
    pub times: u32,
    /// After how long, in order.
    pub delays: Vec<Delay>,
    /// How far a delay varies, as a fraction of itself.
    pub jitter: f64,
    /// Where it waits.
    pub place: RetryPlace,
}

/// Equal delays, one after another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Delay {
    /// How long.
    pub after: String,
    /// How many of them.
    pub times: u32,
    /// The queue in which it waits meanwhile.
    pub queue: Option<String>,
}

/// Where an event waits that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetryPlace {
    /// In a retry queue of the broker.
    Queue,
    /// Unacknowledged, with what is behind it (`ordering = "strict"`).
    InPlace,
    /// In the memory of this process (`exclusive`).
    Memory,
}

/// What becomes of an event in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// It is in this dead-letter queue.
    DeadLettered(String),
    /// It is gone, and counted as dropped.
    Dropped,
}

/// What becomes of an event that no handler of a group takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unknown {
    /// It is acknowledged, and counted as skipped.
    Skipped,
    /// It waits for a replica that knows it.
    Waits {
        /// How long each time.
        delay: String,
        /// How often.
        times: u32,
        /// What follows.
        then: End,
    },
    /// It goes there at once.
    Ends(End),
}

/// Where what a group gives up is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetters {
    /// The dead-letter queue.
    pub queue: String,
    /// The exchange that leads to it; empty for AMQP's default exchange.
    pub exchange: String,
    /// The key that dead letters are published with.
    pub routing_key: String,
    /// How long a dead letter is kept; for ever when not said.
    pub ttl: Option<String>,
    /// How many are kept. What fails while the queue is full stays in the queue of the group.
    pub max_length: Option<u64>,
}

/// A handler that does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OtherHandler {
    /// Its name.
    pub handler: String,
    /// Where it stands.
    pub declared: Option<String>,
    /// Why it does not, a sentence each.
    pub because: Vec<String>,
}

/// What it means that no queue takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Nobody {
    /// The publish is `Ok`: counted as unroutable, with one warning for the key.
    Counted,
    /// The publish is `Ok`, as the event is `optional`.
    Silent,
    /// The publish is an error, as the event is `mandatory`.
    Mandatory,
    /// The publish is an error, unless it is made `optional()`: it is no event of this program.
    Raw,
    /// The broker refuses it: the exchange is internal.
    Refused,
}

/// Whether a handler gets it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WhyAnswer {
    /// The group.
    pub group: String,
    /// The handler.
    pub handler: String,
    /// Where it stands.
    pub declared: Option<String>,
    /// Whether it gets it.
    pub runs: bool,
    /// Why it does not, a sentence each.
    pub because: Vec<String>,
    /// What would put that right, where it can be guessed.
    pub hint: Option<String>,
}
