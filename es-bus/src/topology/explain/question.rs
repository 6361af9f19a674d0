//! What somebody wants to know.

use crate::message::{Headers, Value};

/// Who gets this event, or a message with this key; and why does a handler not get it?
///
/// # Examples
///
/// ```
/// use es_bus::explain::Question;
///
/// // An event of the program, by its name or by its key.
/// let placed = Question::event("OrderPlaced").why("audit");
/// // Any message, as another service would publish it.
/// let foreign = Question::key("order.created.eu").exchange("erp.events").header("urgent", true);
/// # let _ = (placed, foreign);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Question {
    pub(super) about: About,
    pub(super) exchange: Option<String>,
    pub(super) headers: Headers,
    pub(super) why: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum About {
    Event(String),
    Key(String),
}

impl Question {
    fn about(about: About) -> Self {
        Self { about, exchange: None, headers: Headers::new(), why: None }
    }

    /// An event that the program knows: by its name (`OrderPlaced`), or by its routing key
    /// (`Order.OrderPlaced`), where several have the name.
    pub fn event(name: impl Into<String>) -> Self {
        Self::about(About::Event(name.into()))
    }

    /// A message with this routing key, published to the exchange of the bus.
    ///
    /// Where an event of the program has the key, the message is one of those, unless it has a header
    /// `event_type` that says otherwise.
    pub fn key(routing_key: impl Into<String>) -> Self {
        Self::about(About::Key(routing_key.into()))
    }

    /// Published to this exchange; the empty name is AMQP's default exchange. Of an event, which of several
    /// of one name is meant.
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = Some(exchange.into());
        self
    }

    /// With a header, as a publish adds it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.headers.insert(name.into(), value);
        self
    }

    /// Asks as well why a handler gets it or not: `reserve`, `stock/reserve` where groups have handlers of
    /// one name, or `stock` for all of a group.
    pub fn why(mut self, handler: impl Into<String>) -> Self {
        self.why = Some(handler.into());
        self
    }
}
