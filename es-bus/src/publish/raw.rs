//! A message of no declared event: for services that speak another format.

use std::{fmt, future::IntoFuture, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{PublishError, Publisher, options::check_ttl};
use crate::{
    handler::BoxFuture,
    message::{Headers, Message, Properties, Value},
    name::ExchangeName,
    transport::Publication,
    wire,
};

/// A message on its way to any exchange: `.await` it to publish.
///
/// It is published as it is: no envelope is made for it, and no header is written.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use es_bus::{Publisher, PublishError};
/// # async fn example(publisher: &Publisher) -> Result<(), PublishError> {
/// let order = serde_json::json!({ "order_id": "o-1", "total_amount": 99.99 });
/// publisher
///     .raw("orders", "order.placed")
///     .json(&order)
///     .priority(5)
///     .ttl(Duration::from_secs(60))
///     .header("x-source", "shop")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is published until this is awaited"]
pub struct RawPublish<'a> {
    publisher: &'a Publisher,
    exchange: String,
    routing_key: String,
    message: Message,
    mandatory: bool,
    invalid: Option<String>,
}

impl fmt::Debug for RawPublish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Body and headers may hold what belongs in no log.
        f.debug_struct("RawPublish")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .finish_non_exhaustive()
    }
}

impl<'a> RawPublish<'a> {
    pub(super) fn new(publisher: &'a Publisher, exchange: String, routing_key: String) -> Self {
        let properties = Properties { persistent: true, ..Properties::default() };
        let message = Message { properties, headers: Headers::new(), body: Bytes::new() };
        Self { publisher, exchange, routing_key, message, mandatory: true, invalid: None }
    }

    /// With this value as JSON.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body("application/json", body),
            Err(error) => {
                self.invalid = Some(format!("the value cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// With these bytes, of this content type.
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.message.properties.content_type = Some(content_type.into().into());
        self.message.body = body.into();
        self
    }

    /// With an id; one is made when none is given, so that a message sent again can be told.
    pub fn message_id(mut self, message_id: impl Into<String>) -> Self {
        self.message.properties.message_id = Some(message_id.into().into());
        self
    }

    /// With a correlation id.
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.message.properties.correlation_id = Some(correlation_id.into().into());
        self
    }

    /// With a message type, the AMQP property `type`.
    pub fn message_type(mut self, message_type: impl Into<String>) -> Self {
        self.message.properties.kind = Some(message_type.into().into());
        self
    }

    /// With a priority, for queues that declare one.
    pub fn priority(mut self, priority: u8) -> Self {
        self.message.properties.priority = Some(priority);
        self
    }

    /// With a limit to how long it may wait in a queue: 1 ms to 49 days, in whole milliseconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        match check_ttl(ttl) {
            Ok(ms) => self.message.properties.expiration = Some(ms.into()),
            Err(invalid) => self.invalid = Some(invalid),
        }
        self
    }

    /// Not kept on disk (delivery mode 1).
    pub fn transient(mut self) -> Self {
        self.message.properties.persistent = false;
        self
    }

    /// With a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.message.headers.insert(name.into(), value);
        self
    }

    /// Also when no queue takes it, in which case the message is gone.
    pub fn optional(mut self) -> Self {
        self.mandatory = false;
        self
    }
}

impl<'a> IntoFuture for RawPublish<'a> {
    /// The id that the message was published under.
    type Output = Result<String, PublishError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { publisher, exchange, routing_key, mut message, mandatory, invalid } = self;
        Box::pin(async move {
            if let Some(invalid) = invalid {
                return Err(PublishError::Encode(invalid.into()));
            }
            let exchange = match exchange.as_str() {
                "" => ExchangeName::default_exchange(),
                name => ExchangeName::new(name).map_err(|error| PublishError::Encode(error.into()))?,
            };
            let id = message.properties.message_id.get_or_insert_with(|| wire::new_id().into()).to_string();
            let publication =
                Publication { exchange, routing_key: routing_key.into(), message, mandatory, lane: None };
            publisher.send_raw(publication).await?;
            Ok(id)
        })
    }
}
