//! Publishing: what cannot be carried is refused first, a blocked broker is waited for.

use super::{Memory, broker::LinkFault};
use crate::{
    handler::BoxFuture,
    transport::{Publication, Publish, PublishError},
    wire::{self, TooLarge},
};

impl Publish for Memory {
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>> {
        Box::pin(async move {
            check_sizes(publication)?;
            let connection = &self.connection;
            if connection.link.borrow().blocked.is_some() {
                // A blocked broker takes nothing and says nothing, as RabbitMQ does; the caller's timeout ends
                // it. When nobody can change that any more, the connection is closed, and that is told below.
                let mut link = connection.link.clone();
                let _ = link.wait_for(|link| link.blocked.is_none()).await;
            }
            let (published, in_flow) =
                connection.shared.with(|broker, now| match broker.link_fault(connection.id) {
                    None => (broker.publish(publication, now), broker.in_flow),
                    Some(LinkFault::Closed) => (Err(PublishError::Closed), false),
                    Some(fault @ LinkFault::Down) => {
                        (Err(PublishError::Interrupted { reason: fault.reason().to_owned() }), false)
                    }
                });
            if in_flow {
                // A publish never has to wait here, so one who publishes without end on the thread of the
                // consumers would keep them from running, and hold all of it in memory.
                tokio::task::yield_now().await;
            }
            published
        })
    }
}

/// Refuses what AMQP has no room for: texts of more than 255 bytes, and headers that do not fit the
/// frame of 128 KiB that RabbitMQ offers. A body may have any size.
fn check_sizes(publication: &Publication) -> Result<(), TooLarge> {
    let Publication { exchange, routing_key, message, .. } = publication;
    wire::check_sizes(exchange.as_str(), routing_key, message, FRAME_MAX, usize::MAX)
}

/// RabbitMQ's default `frame_max`.
const FRAME_MAX: usize = 128 * 1024;
