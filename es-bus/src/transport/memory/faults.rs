//! Faults on request: the ways in which a broker and the way to it fail.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    broker::Broker,
    connect::{Connection, RECONNECT_AFTER},
};
use crate::{name::QueueName, transport::LinkState};

/// Makes an in-process broker fail.
#[derive(Clone, Copy)]
pub struct Faults<'a> {
    connection: &'a Connection,
}

impl<'a> Faults<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// Cuts this connection for a fifth of a second.
    ///
    /// Its consumers end with [`ConsumeError::Interrupted`](crate::transport::ConsumeError), what
    /// they did not settle goes back to the queues, its exclusive queues are gone; then the link is
    /// up again, in the next generation.
    pub fn cut_link(self) {
        self.cut_link_for(RECONNECT_AFTER);
    }

    /// Cuts this connection for a time of one's own.
    pub fn cut_link_for(self, down: Duration) {
        let id = self.connection.id;
        self.connection.shared.with(|broker, now| broker.cut(id, down, now));
    }

    /// Raises an alarm: from now on publishes wait, on every connection.
    pub fn block(self, reason: &str) {
        self.connection.shared.with(|broker, _| broker.set_blocked(Some(reason)));
    }

    /// Ends the alarm.
    pub fn unblock(self) {
        self.connection.shared.with(|broker, _| broker.set_blocked(None));
    }

    /// The next publishes are refused and not stored (a negative confirm).
    pub fn refuse_publishes(self, count: u32) {
        self.connection.shared.with(|broker, _| broker.faults.refuse = count);
    }

    /// The next publishes are reported as interrupted, and are not stored.
    pub fn lose_publishes(self, count: u32) {
        self.connection.shared.with(|broker, _| broker.faults.lose_publish = count);
    }

    /// The next publishes are reported as interrupted, although they are stored.
    pub fn lose_confirms(self, count: u32) {
        self.connection.shared.with(|broker, _| broker.faults.lose_confirm = count);
    }

    /// The consumers of a queue get nothing any more, and nothing tells them so: nor do the `next` ones
    /// that are started, on whatever queue.
    pub fn forget_consumers(self, queue: &QueueName, next: u32) {
        self.connection.shared.with(|broker, _| {
            broker.deafen(queue);
            broker.deaf = next;
        });
    }

    /// Deletes a queue, as an operator would.
    pub fn delete_queue(self, queue: &QueueName) {
        self.connection.shared.with(|broker, _| broker.remove_queue_named(queue));
    }
}

impl std::fmt::Debug for Faults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Broker {
    fn cut(&mut self, id: u64, down: Duration, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.down_until = Some(now.checked_add(down).unwrap_or_else(|| now + A_YEAR));
        connection.link.send_modify(|link| {
            link.state = LinkState::Backoff { reason: CUT.to_owned(), retry_in: down };
        });
        self.drop_clients(id, CUT, now);
    }

    fn set_blocked(&mut self, reason: Option<&str>) {
        self.blocked = reason.map(str::to_owned);
        for connection in self.connections.values() {
            connection.link.send_modify(|link| link.blocked = reason.map(str::to_owned));
        }
    }
}

const CUT: &str = "a fault was injected: the connection was cut";

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
