//! The in-process broker: AMQP semantics on tokio's clock.
//!
//! In comes what the contract of [`transport`](super) asks for, out goes what RabbitMQ would answer:
//! every kind of exchange, prefetch, redelivery, dead-lettering with `x-death`, message TTL at the
//! head of the queue, bounded queues, the equivalence of declarations. Nothing is kept on disk, and
//! nothing needs a server. Timers run on tokio's clock, so a paused one runs an hour of retries in a
//! millisecond.
//!
//! `broker.rs` is the state machine, pure and synchronous; `routing.rs`, `queue.rs`, `arguments.rs`
//! and `death.rs` are its parts. `connect.rs` puts it behind one lock and drives its timers;
//! `declare.rs`, `publish.rs` and `consume.rs` are the three faces of the contract.
//!
//! # What is not like RabbitMQ
//!
//! * Queues keep to one process and to its memory.
//! * Policies are those that es-bus sets for its queues (`limits_in`), each of one queue: there are no others to be in
//!   the way, nor those of operators.
//! * Nobody is made to wait by flow control. Who publishes to a queue that is behind lets others run once.
//! * A dead letter that is kept (at-least-once) goes on as soon as its target is there or has room,
//!   not after a timeout, and one that cannot go on does not block others.
//! * Quorum queues hold exactly `x-max-length` messages, and a returned message takes its old place.
//! * A stream keeps arrays and tables among headers, which RabbitMQ 3.10 drops; what is too old or too much goes message
//!   by message, not by segments, and the last "chunk" of it is its last message.
//! * `x-death` counts as in RabbitMQ 3.x: also what a client sent along.

mod arguments;
mod broker;
mod connect;
mod consume;
mod death;
mod declare;
mod log;
mod publish;
mod queue;
mod routing;
mod shares;

#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
mod faults;

use std::{fmt, sync::Arc};

use tokio::sync::watch;

pub use self::broker::Pending;
use self::connect::{Connection, Shared};
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub use self::faults::Faults;
use super::{Link, Transport};
use crate::handler::BoxFuture;

/// A connection to an in-process broker.
///
/// Cloning it gives the same connection; [`Memory::reconnect`] another one to the same broker. The
/// broker lives as long as a connection to it, or for the life of the process when it has a name.
///
/// # Examples
///
/// ```
/// use es_bus::transport::{Transport, memory::Memory};
///
/// let broker = Memory::new();
///
/// assert_eq!(broker.describe(), "the in-process broker");
/// assert!(broker.pending().is_idle());
/// ```
#[derive(Clone)]
pub struct Memory {
    connection: Arc<Connection>,
}

impl Memory {
    /// A connection to a broker of its own.
    ///
    /// May be called outside a runtime; the timers start with the first call inside one.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Shared::new(None))
    }

    /// A connection to the broker of this name, which all callers in the process share.
    ///
    /// What is in it stays for the life of the process, as it would on a server: a bus that comes
    /// later finds what one before it published.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::over(Shared::named(name))
    }

    /// Another connection to the same broker, with its own link and its own exclusive queues.
    #[must_use]
    pub fn reconnect(&self) -> Self {
        Self::over(Arc::clone(&self.connection.shared))
    }

    /// What moves and what waits on the broker, whoever published it.
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.connection.shared.catch_up();
        self.connection.shared.look(broker::Broker::pending)
    }

    /// Counts the changes of the broker: a receiver is woken after each.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.connection.shared.changes()
    }

    /// Waits until [`Pending::is_idle`]: nothing is ready, unsettled or scheduled.
    ///
    /// Messages that wait for a retry are scheduled: with a paused clock this runs through all
    /// retries, with a running one it waits for them.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing.
    pub async fn idle(&self) {
        let mut changes = self.changes();
        while !self.pending().is_idle() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes the broker fail in the ways that brokers do.
    #[cfg(any(test, feature = "testing"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    #[must_use]
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(&self.connection)
    }

    fn over(shared: Arc<Shared>) -> Self {
        Self { connection: Arc::new(Connection::new(shared)) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("broker", &self.describe()).finish_non_exhaustive()
    }
}

impl Transport for Memory {
    fn describe(&self) -> String {
        match self.connection.shared.name() {
            None => "the in-process broker".to_owned(),
            Some(name) => format!("the in-process broker {name:?}"),
        }
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.connection.link.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.connection.close() })
    }
}

#[cfg(test)]
mod tests;
