//! What a broker does for the rooms above: declare, publish, consume.
//!
//! One contract, two implementations: [`memory`], AMQP semantics in this process, and `amqp`,
//! RabbitMQ through lapin. Both pass the suite in `tests/contract.rs`.

pub mod memory;

#[cfg(feature = "amqp")]
#[cfg_attr(docsrs, doc(cfg(feature = "amqp")))]
pub mod amqp;

mod consumer;
mod error;
mod link;
mod observe;

use std::borrow::Cow;

use tokio::sync::watch;

pub use self::{
    consumer::{Consumer, Delivery, Settle, Settlement},
    error::{ConsumeError, DeclareError, ManagementError, PublishError, TransportError},
    link::{Link, LinkState},
};
use crate::{
    handler::BoxFuture,
    message::Message,
    model::{Binding, Exchange, ExchangeBinding, Observed, Policy, Queue, StreamOffset},
    name::{ExchangeName, QueueName},
};

/// A broker.
pub trait Transport: Admin + Publish + Consume {
    /// What it is, for people: the address without its password, or `the in-process broker`.
    fn describe(&self) -> String;

    /// Its connections, as they are now and as they change.
    fn link(&self) -> watch::Receiver<Link>;

    /// Ends the connections. What was published is flushed before; deliveries that are not settled
    /// go back to their queues.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Declares and looks.
///
/// Every call may fail on its own without harm to others: each uses a channel that is thrown away
/// when the broker closes it.
pub trait Admin: Send + Sync + 'static {
    /// Declares an exchange, which may be there already.
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Declares a queue, which may be there already.
    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Binds a queue to an exchange; again does nothing.
    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Removes a binding; one that is not there does nothing.
    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Binds an exchange to an exchange; again does nothing. A broker that knows of no such bindings refuses.
    fn bind_exchange<'a>(&'a self, binding: &'a ExchangeBinding) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move { Err(no_exchange_bindings(binding)) })
    }

    /// Removes a binding of an exchange to an exchange; one that is not there does nothing.
    fn unbind_exchange<'a>(
        &'a self,
        binding: &'a ExchangeBinding,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move { Err(no_exchange_bindings(binding)) })
    }

    /// Deletes a queue and what is in it; one that is not there does nothing.
    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Deletes an exchange; one that is not there does nothing.
    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>>;

    /// Deletes a queue that has neither messages nor consumers; another one is refused, and one that is not there
    /// does nothing. Of one that is known to be `classic` the broker itself decides at that moment; of another,
    /// what it says of itself just before.
    ///
    /// # RabbitMQ
    ///
    /// `queue.delete` with `if-empty` and `if-unused`, which a quorum queue does not know.
    fn delete_idle_queue<'a>(
        &'a self,
        queue: &'a QueueName,
        _classic: bool,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move {
            match self.queue_status(queue).await? {
                None => Ok(()),
                Some(QueueStatus { messages: 0, consumers: 0 }) => self.delete_queue(queue).await,
                Some(QueueStatus { messages, consumers }) => Err(DeclareError::Refused {
                    what: "queue",
                    name: queue.to_string(),
                    reason: format!("it has {messages} messages and {consumers} consumers"),
                }),
            }
        })
    }

    /// Deletes an exchange that nothing is bound to; another one is refused, and one that is not there does
    /// nothing. A broker that cannot tell refuses.
    fn delete_unused_exchange<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move {
            Err(DeclareError::Refused {
                what: "exchange",
                name: exchange.to_string(),
                reason: "this broker does not tell whether something is bound to it".to_owned(),
            })
        })
    }

    /// Removes something, if this connection still has the exclusive queue `lock`, and does nothing otherwise: a
    /// connection that was lost and made anew has not, nor has one while another process has the lock.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](DeclareError::Interrupted) where nobody has the lock any more; refused where somebody else has.
    ///
    /// # RabbitMQ
    ///
    /// A passive `queue.declare` of the lock and what removes, on one channel: both are of one connection.
    fn remove_while_locked<'a>(
        &'a self,
        removal: &'a Removal,
        lock: &'a QueueName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move {
            if self.queue_status(lock).await?.is_none() {
                return Err(lock_is_gone(lock));
            }
            match removal {
                Removal::Queue(queue) => self.delete_queue(queue).await,
                Removal::Exchange(exchange) => self.delete_exchange(exchange).await,
                Removal::Binding(binding) => self.unbind(binding).await,
            }
        })
    }

    /// Whether there is an exchange of that name, of whatever kind.
    fn exchange_exists<'a>(&'a self, exchange: &'a ExchangeName)
    -> BoxFuture<'a, Result<bool, DeclareError>>;

    /// How full a queue is; `None` when there is none of that name.
    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>>;

    /// Removes the messages of a queue that are ready, and says how many there were.
    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>>;

    /// Whether policies can be set over this connection. AMQP knows none: those of RabbitMQ are set through its
    /// management API.
    fn takes_policies(&self) -> bool {
        false
    }

    /// Sets a policy, which may be there already and then is replaced.
    fn put_policy<'a>(&'a self, policy: &'a Policy) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move { Err(no_policies(policy.name())) })
    }

    /// Deletes a policy; one that is not there does nothing.
    fn delete_policy<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(async move { Err(no_policies(name)) })
    }

    /// Looks at the broker, and changes nothing. A broker that cannot list what it has tells of these
    /// exchanges and queues at least.
    ///
    /// # Errors
    ///
    /// The connection was lost meanwhile. What may not be looked at is told as unseen.
    fn observe<'a>(
        &'a self,
        exchanges: &'a [ExchangeName],
        queues: &'a [QueueName],
    ) -> BoxFuture<'a, Result<Observed, DeclareError>> {
        Box::pin(observe::over_amqp(self, exchanges, queues))
    }
}

/// What [`Admin::remove_while_locked`] removes; what is not there any more is fine.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Removal {
    /// A queue, and what is in it.
    Queue(QueueName),
    /// An exchange.
    Exchange(ExchangeName),
    /// A binding.
    Binding(Binding),
}

fn lock_is_gone(lock: &QueueName) -> DeclareError {
    DeclareError::Interrupted {
        what: "queue",
        name: lock.to_string(),
        reason: "it went with the connection that had it".to_owned(),
    }
}

/// What is said where policies cannot be set.
pub(crate) fn no_policies(name: &str) -> DeclareError {
    DeclareError::Refused {
        what: "policy",
        name: name.to_owned(),
        reason: "AMQP knows no policies: set `management_url` (ES_BUS_MANAGEMENT_URL), by which they are set"
            .to_owned(),
    }
}

fn no_exchange_bindings(binding: &ExchangeBinding) -> DeclareError {
    DeclareError::Refused {
        what: "binding",
        name: format!("{} -> exchange {}", binding.source, binding.destination),
        reason: "this broker binds no exchanges to exchanges".to_owned(),
    }
}

/// Publishes.
pub trait Publish: Send + Sync + 'static {
    /// Publishes one message, and waits until the broker has it or says why not.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; after [`PublishError::Interrupted`] the broker may have the message.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have published: an event that is sent again under the same
    /// message id is at worst a duplicate.
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>>;
}

/// Consumes.
pub trait Consume: Send + Sync + 'static {
    /// Starts a consumer.
    ///
    /// # Errors
    ///
    /// [`ConsumeError`] when there is no such queue, it is somebody's alone, or the connection is
    /// not there.
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>>;
}

/// One message on its way to an exchange.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where it is published to.
    pub exchange: ExchangeName,
    /// With which routing key.
    pub routing_key: Cow<'static, str>,
    /// What is published.
    pub message: Message,
    /// Whether it is an error when no queue takes it.
    pub mandatory: bool,
    /// Publications of one lane never overtake each other.
    pub lane: Option<u64>,
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct ConsumeRequest {
    /// The queue.
    pub queue: QueueName,
    /// The name of the consumer on the broker; unique.
    pub tag: String,
    /// How many deliveries may be unsettled at once; at least 1.
    pub prefetch: u16,
    /// Whether nobody else may consume from the queue.
    pub exclusive: bool,
    /// The consumer ends by itself, for another to go on in its place, when at most so many of its deliveries
    /// stand in the way of settling the others together; with 0 it never does.
    pub may_hold: usize,
    /// Where in a stream it begins; of another kind of queue it says nothing.
    pub offset: Option<StreamOffset>,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Messages that are ready to be delivered.
    pub messages: u64,
    /// Consumers.
    pub consumers: u64,
}
