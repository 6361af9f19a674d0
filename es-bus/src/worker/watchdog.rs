//! Finds a consumer that the broker has forgotten: it has been seen on RabbitMQ 3.10, where a quorum queue
//! was deleted and declared again within milliseconds, and no error ever comes of it.
//!
//! In comes what the queue says of itself, while its consumer has had nothing for a while; out goes
//! whether that consumer is dead.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    name::QueueName,
    topology::Provision,
    transport::{ConsumeError, DeclareError, QueueStatus},
};

/// How long the broker has to say how a queue is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a message that was just published may be on its way.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// What was found out about a consumer that gets nothing.
#[derive(Debug)]
pub(super) enum Found {
    /// There is nothing to get, or somebody else gets it.
    Rest,
    /// It is dead, although nobody said so.
    Dead(ConsumeError),
    /// The queue says nothing.
    Silence(String),
}

/// Looks at the queue of a consumer that gets nothing; where something seems wrong, once more after a
/// moment.
///
/// Dropped anywhere it has changed nothing.
pub(super) async fn look(provision: Arc<Provision>, queue: QueueName, is_single: bool) -> Found {
    match look_once(&provision, &queue, is_single).await {
        Found::Rest => Found::Rest,
        Found::Dead(_) | Found::Silence(_) => {
            sleep(MOMENT).await;
            look_once(&provision, &queue, is_single).await
        }
    }
}

async fn look_once(provision: &Provision, queue: &QueueName, is_single: bool) -> Found {
    match timeout(ANSWER_WITHIN, provision.transport().queue_status(queue)).await {
        Ok(Ok(status)) => judge(queue, status, is_single),
        // The link tells it better.
        Ok(Err(DeclareError::Interrupted { .. })) => Found::Rest,
        Ok(Err(error)) => Found::Silence(error.to_string()),
        Err(_elapsed) => Found::Silence(format!("queue {:?} does not answer", queue.as_str())),
    }
}

/// What a queue says of a consumer that gets nothing, and has room for something. Pure.
///
/// Where one consumer has all deliveries, the others get none: as long as there are others, nobody
/// knows from outside whose turn it is.
fn judge(queue: &QueueName, status: Option<QueueStatus>, is_single: bool) -> Found {
    let name = queue.as_str().to_owned();
    let silent = |reason: String| Found::Dead(ConsumeError::Silent { queue: name.clone(), reason });
    match status {
        None => {
            let reason = "it is gone, and its consumer was not told".to_owned();
            Found::Dead(ConsumeError::NoQueue { queue: name, reason })
        }
        Some(QueueStatus { consumers: 0, .. }) => silent("the broker knows of no consumer".to_owned()),
        Some(QueueStatus { messages: 0, .. }) => Found::Rest,
        Some(QueueStatus { consumers, .. }) if is_single && consumers > 1 => Found::Rest,
        Some(QueueStatus { messages, .. }) => {
            silent(format!("{messages} messages are ready, and none comes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_dead_when_its_queue_has_what_it_does_not_get() {
        let queue = QueueName::new("events.ledger").unwrap();
        let found = |messages, consumers, is_single| match judge(
            &queue,
            Some(QueueStatus { messages, consumers }),
            is_single,
        ) {
            Found::Rest => "rest".to_owned(),
            Found::Dead(error) => error.to_string(),
            Found::Silence(text) => panic!("{text}"),
        };

        for (messages, consumers, is_single) in [(0, 1, false), (0, 2, true), (7, 2, true)] {
            assert_eq!(found(messages, consumers, is_single), "rest", "{messages} {consumers} {is_single}");
        }
        for is_single in [false, true] {
            assert_eq!(
                found(7, 1, is_single),
                "the consumer of \"events.ledger\" gets nothing: 7 messages are ready, and none comes"
            );
            assert_eq!(
                found(0, 0, is_single),
                "the consumer of \"events.ledger\" gets nothing: the broker knows of no consumer"
            );
        }
        assert_eq!(found(7, 2, false).split(": ").next(), found(7, 1, false).split(": ").next());
        assert!(matches!(judge(&queue, None, false), Found::Dead(ConsumeError::NoQueue { .. })));
    }
}
