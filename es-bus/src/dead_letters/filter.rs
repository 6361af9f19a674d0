//! Which dead letters are meant.

use super::DeadLetter;

/// Chooses dead letters: [`all`](Self::all) of them, narrowed by what is said after that.
///
/// Values of one kind widen the choice, another kind narrows it: of two event types and one reason
/// are chosen those of either type that have the reason.
///
/// # Examples
///
/// ```
/// use es_bus::dead_letters::Filter;
///
/// let everything = Filter::all();
/// let one = Filter::one("0198c7a4-5f3e-7d61-9f0a-2b6f8a1c4d3e");
/// let timeouts = Filter::all().event_type("OrderPlaced").event_type("OrderShipped").reason("timeout");
/// # let _ = (everything, one, timeouts);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Filter {
    ids: Vec<String>,
    event_ids: Vec<String>,
    event_types: Vec<String>,
    reasons: Vec<String>,
    handlers: Vec<String>,
    queues: Vec<String>,
}

impl Filter {
    /// Every dead letter.
    pub fn all() -> Self {
        Self::default()
    }

    /// The one whose [`DeadLetter::id`] this is.
    pub fn one(id: impl Into<String>) -> Self {
        Self::default().id(id)
    }

    /// Those whose [`DeadLetter::id`] this is.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.ids.push(id.into());
        self
    }

    /// Those of an event, by its id: one for each handler that it failed in.
    pub fn event_id(mut self, id: impl Into<String>) -> Self {
        self.event_ids.push(id.into());
        self
    }

    /// Those of a type of event: `OrderPlaced`.
    pub fn event_type(mut self, name: impl Into<String>) -> Self {
        self.event_types.push(name.into());
        self
    }

    /// Those with a [`DeadLetter::reason`]: `timeout`.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    /// Those that failed in a handler, by its name.
    pub fn handler(mut self, name: impl Into<String>) -> Self {
        self.handlers.push(name.into());
        self
    }

    /// Those that failed in a queue, where several groups share a dead-letter queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queues.push(name.into());
        self
    }

    /// Whether a dead letter is chosen.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is_among = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one == found))
        };
        is_among(&self.ids, Some(&letter.id))
            && is_among(&self.event_ids, letter.event_id.as_deref())
            && is_among(&self.event_types, letter.event_type.as_deref())
            && is_among(&self.reasons, Some(&letter.reason))
            && is_among(&self.queues, letter.queue.as_deref())
            && (self.handlers.is_empty() || self.handlers.iter().any(|one| letter.handlers.contains(one)))
    }
}
