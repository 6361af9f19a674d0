//! Publishing: what cannot be carried is refused first, a blocked broker is waited for.

use super::{Memory, broker::LinkFault};
use crate::{
    handler::BoxFuture,
    transport::{Publication, Publish, PublishError},
    wire::{self, TooLarge},
};

impl Publish for Memory {
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move {
            check_sizes(&publication)?;
            let connection = &self.connection;
            let mut link = connection.link.clone();
            // A blocked broker takes nothing and says nothing, as RabbitMQ does; the caller's timeout ends it.
            while link.borrow_and_update().blocked.is_some() {
                if link.changed().await.is_err() {
                    break;
                }
            }
            connection.shared.with(|broker, now| match broker.link_fault(connection.id) {
                None => broker.publish(publication, now),
                Some(LinkFault::Closed) => Err(PublishError::Closed),
                Some(fault @ LinkFault::Down) => {
                    Err(PublishError::Interrupted { reason: fault.reason().to_owned() })
                }
            })
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
