//! Publishing: what cannot be carried is refused first, a blocked broker is waited for.

use super::{Memory, broker::LinkFault};
use crate::{
    handler::BoxFuture,
    transport::{Publication, Publish, PublishError},
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

/// Refuses what AMQP has no room for.
fn check_sizes(publication: &Publication) -> Result<(), PublishError> {
    let properties = &publication.message.properties;
    let short = |what: &str, text: Option<&str>| match text.map(str::len) {
        Some(size) if size > MAX_SHORT_STRING => {
            Err(PublishError::TooLarge { what: what.to_owned(), size, limit: MAX_SHORT_STRING })
        }
        _ => Ok(()),
    };
    short("the routing key", Some(&publication.routing_key))?;
    for (what, text) in [
        ("content_type", &properties.content_type),
        ("content_encoding", &properties.content_encoding),
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
    ] {
        short(what, text.as_deref())?;
    }
    for (name, _) in publication.message.headers.iter() {
        short("the name of a header", Some(name))?;
    }
    Ok(())
}

/// The longest *short string* of AMQP, in bytes.
const MAX_SHORT_STRING: usize = 255;
