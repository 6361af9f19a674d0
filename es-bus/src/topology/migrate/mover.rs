//! Moves messages from one queue to another: consumed, published and confirmed, then acknowledged. Killed between the
//! last two a message is in both, under one id.

use std::{borrow::Cow, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::{MigrateError, decide::Role};
use crate::{
    message::{Message, Received},
    model::Former,
    name::{ExchangeName, QueueName},
    transport::{
        ConsumeError, ConsumeRequest, DeclareError, Delivery, Publication, PublishError, Settlement,
        Transport,
    },
    wire,
};

/// How many messages are taken in hand at once, and how many of them are on their way.
const PREFETCH: u16 = 400;
const IN_FLIGHT: usize = 128;
/// How long nothing may come before the queue is asked whether it has anything.
const QUIET: Duration = Duration::from_millis(50);
/// How often it is asked meanwhile, and progress is told.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a queue that refuses a message is left alone.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// How long a queue that messages come to faster than they are moved is moved from before that is found out.
const OUTPACED_AFTER: Duration = Duration::from_secs(30);

/// From where to where.
pub(super) struct Route<'a> {
    pub(super) from: &'a QueueName,
    /// Leads to one queue alone.
    pub(super) by: &'a ExchangeName,
    /// The queue whose messages they are.
    pub(super) of: &'a QueueName,
    pub(super) role: Role,
    /// Whether nobody else may consume.
    pub(super) exclusive: bool,
    /// Names that the queue had: what was written for one of them stands for the queue.
    pub(super) formers: &'a [Former],
    /// Whether messages still come to it: then it is enough that nothing is left but what is in hand.
    pub(super) fed: bool,
}

/// How it is moved.
pub(super) struct Pace {
    pub(super) rate: Option<u32>,
    pub(super) patience: Duration,
    pub(super) header_limit: usize,
}

/// Moves until the queue is empty; says how many. It may end before: then there is something else to do first, which
/// a look at the broker tells.
pub(super) async fn run(
    transport: &dyn Transport,
    route: &Route<'_>,
    pace: &Pace,
    mut tell: impl FnMut(u64, u64),
) -> Result<u64, MigrateError> {
    let interrupted = |reason: String| MigrateError::Interrupted { queue: route.of.to_string(), reason };
    let request = ConsumeRequest {
        queue: route.from.clone(),
        tag: format!("es-bus-migrate-{}", Uuid::new_v4()),
        prefetch: PREFETCH,
        exclusive: route.exclusive,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = match transport.consume(request).await {
        Ok(consumer) => consumer,
        // Gone meanwhile.
        Err(ConsumeError::NoQueue { .. }) => return Ok(0),
        Err(ConsumeError::Interrupted { reason }) => return Err(interrupted(reason)),
        Err(source) => return Err(MigrateError::Consume { queue: route.from.to_string(), source }),
    };
    let mut in_flight = FuturesOrdered::new();
    let (mut moved, mut in_hand_only) = (0, false);
    let mut failed: Option<(String, PublishError)> = None;
    let mut ended: Option<ConsumeError> = None;
    // How many more are taken once nothing was left but what is in hand.
    let mut rest = None;
    let (begin, mut least) = (Instant::now(), (u64::MAX, Instant::now()));
    let (mut next_at, mut look_at, mut last) = (begin, begin + LOOK_EVERY, begin);
    loop {
        let takes = !in_hand_only && failed.is_none() && ended.is_none();
        if !takes && in_flight.is_empty() {
            break;
        }
        let is_due = pace.rate.is_none() || next_at <= Instant::now();
        tokio::select! {
            biased;
            Some((result, delivery, id)) = in_flight.next(), if !in_flight.is_empty() => match result {
                Ok(()) => {
                    Delivery::settle(delivery, Settlement::Ack);
                    moved += 1;
                    last = Instant::now();
                }
                Err(error) => failed = failed.or(Some((id, error))),
            },
            () = sleep_until(look_at), if takes => {
                look_at = Instant::now() + LOOK_EVERY;
                let left = left(transport, route).await?;
                tell(moved, left);
                if left < least.0 {
                    least = (left, Instant::now());
                }
                if route.fed && left == 0 {
                    rest = rest.or(Some(PREFETCH));
                }
                in_hand_only = route.fed && least.1.elapsed() > OUTPACED_AFTER;
                if in_hand_only {
                    tracing::warn!(
                        queue = %route.of,
                        left,
                        "more comes than is moved; the queue is bound again before all is moved back"
                    );
                }
                if !in_hand_only && last.elapsed() > pace.patience {
                    return Err(MigrateError::Stuck {
                        queue: route.of.to_string(),
                        reason: format!("{left} messages in {:?} are not delivered", route.from.as_str()),
                        after: pace.patience,
                    });
                }
            }
            delivery = consumer.next(), if takes && is_due && in_flight.len() < IN_FLIGHT => match delivery {
                Some(Ok(delivery)) => {
                    if let Some(rate) = pace.rate {
                        next_at = next_at.max(Instant::now()) + Duration::from_secs(1) / rate;
                    }
                    if let Some(rest) = &mut rest {
                        *rest -= 1;
                        in_hand_only |= *rest == 0;
                    }
                    let id = delivery.received.message.properties.message_id.as_deref();
                    let id = id.unwrap_or_default().to_owned();
                    let publication = publication(&delivery.received, route, pace);
                    in_flight.push_back(async move {
                        let result = match &publication {
                            Ok(publication) => transport.publish(publication).await,
                            Err(size) => Err(PublishError::from(size.clone())),
                        };
                        (result, delivery, id)
                    });
                }
                Some(Err(error)) => ended = Some(error),
                None => ended = Some(ConsumeError::Cancelled { queue: route.from.to_string() }),
            },
            () = sleep_until(next_at), if takes && !is_due => {}
            () = sleep(QUIET), if takes && is_due && in_flight.is_empty() => {
                in_hand_only = left(transport, route).await? == 0;
            }
        }
    }
    // What is in hand and was not published goes back.
    consumer.close().await;
    match (failed, ended) {
        (Some((id, error)), _) => after_failure(route, id, error).await?,
        (None, Some(ConsumeError::Interrupted { reason } | ConsumeError::ChannelClosed { reason, .. })) => {
            return Err(interrupted(reason));
        }
        // The queue was deleted, or nothing went wrong.
        (None, _) => {}
    }
    Ok(moved)
}

/// What a message that was not moved means for those behind it.
async fn after_failure(route: &Route<'_>, id: String, error: PublishError) -> Result<(), MigrateError> {
    match error {
        // Full: what consumes it makes room.
        PublishError::Refused { .. } => sleep(REFUSED_PAUSE).await,
        // The queue that it goes to was deleted meanwhile.
        PublishError::Unroutable { .. } | PublishError::NoExchange { .. } => {}
        source @ (PublishError::Rejected { .. }
        | PublishError::TooLarge { .. }
        | PublishError::Encode(_)
        | PublishError::Key { .. }) => {
            return Err(MigrateError::Message { queue: route.from.to_string(), id, source });
        }
        PublishError::Interrupted { .. }
        | PublishError::TimedOut { .. }
        | PublishError::Unavailable { .. }
        | PublishError::Backlog { .. }
        | PublishError::Closed => {
            let reason = error.to_string();
            return Err(MigrateError::Interrupted { queue: route.of.to_string(), reason });
        }
    }
    Ok(())
}

/// How many messages are ready, beside those in hand.
async fn left(transport: &dyn Transport, route: &Route<'_>) -> Result<u64, MigrateError> {
    match transport.queue_status(route.from).await {
        Ok(status) => Ok(status.map_or(0, |status| status.messages)),
        Err(error) => Err(refused(route.of, error)),
    }
}

pub(super) fn refused(queue: &QueueName, source: DeclareError) -> MigrateError {
    let queue = queue.to_string();
    match source {
        DeclareError::Interrupted { reason, .. } => MigrateError::Interrupted { queue, reason },
        source => MigrateError::Refused { queue, source },
    }
}

fn publication(received: &Received, route: &Route<'_>, pace: &Pace) -> Result<Publication, wire::TooLarge> {
    let mut received = Cow::Borrowed(received);
    for former in route.formers {
        let headers = &mut received.to_mut().message.headers;
        wire::adopt(headers, former.old.as_str(), former.queue.as_str());
    }
    let mut message = moved(&received, route);
    wire::drop_foreign(&mut message, pace.header_limit)?;
    Ok(Publication {
        exchange: route.by.clone(),
        routing_key: Cow::Owned(received.routing_key.clone()),
        message,
        mandatory: true,
        lane: Some(0),
    })
}

fn moved(received: &Received, route: &Route<'_>) -> Message {
    let publish_id = Uuid::new_v4().to_string();
    match route.role {
        Role::Kept | Role::Waiting => wire::carried(&received.message, &publish_id),
        Role::Work => {
            let queue = route.of.as_str();
            let origin = wire::origin(received, queue);
            // Nothing on it tells the time.
            let now = OffsetDateTime::UNIX_EPOCH;
            wire::Source { received, origin: &origin, queue, now }.moved(&publish_id)
        }
    }
}
