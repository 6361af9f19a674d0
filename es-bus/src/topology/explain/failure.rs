//! What follows a failure: retries, and the end.

use std::time::Duration;

use super::{DeadLetters, Delay, End, Retry, RetryPlace, Unknown};
use crate::{
    duration,
    model::policy::{OnUnknown, Ordering},
    topology::{GroupSpec, HandlerSpec},
};

/// When a handler's failures are tried again.
pub(super) fn retry(group: &GroupSpec, handler: &HandlerSpec) -> Retry {
    let place = match (group.is_exclusive(), group.settings.ordering) {
        (true, _) => RetryPlace::Memory,
        (false, Ordering::Strict) => RetryPlace::InPlace,
        (false, Ordering::Aggregate | Ordering::None) => RetryPlace::Queue,
    };
    let mut delays: Vec<(Duration, u32)> = Vec::new();
    for delay in (0..handler.policy.retries).map_while(|attempt| handler.policy.delay(attempt)) {
        match delays.last_mut() {
            Some((last, times)) if *last == delay => *times += 1,
            _ => delays.push((delay, 1)),
        }
    }
    let told = |(delay, times): (Duration, u32)| Delay {
        after: duration::print(delay),
        times,
        queue: match place {
            RetryPlace::Queue => group.retry_queue(delay).ok().map(|queue| queue.as_str().to_owned()),
            RetryPlace::InPlace | RetryPlace::Memory => None,
        },
    };
    Retry {
        times: handler.policy.retries,
        delays: delays.into_iter().map(told).collect(),
        jitter: handler.policy.jitter,
        place,
    }
}

/// What becomes of what a group gives up.
pub(super) fn end(group: &GroupSpec) -> End {
    if group.keeps_dead_letters() { End::DeadLettered(group.dlq.as_str().to_owned()) } else { End::Dropped }
}

pub(super) fn dead_letters(group: &GroupSpec) -> Option<DeadLetters> {
    group.keeps_dead_letters().then(|| DeadLetters {
        queue: group.dlq.as_str().to_owned(),
        exchange: group.dlx.as_str().to_owned(),
        routing_key: group.dlq_key.clone(),
        ttl: group.settings.dlq_ttl.map(duration::print),
        max_length: group.settings.dlq_max_length,
    })
}

/// What becomes of a message with this key that no handler of a group takes.
pub(super) fn unknown(group: &GroupSpec, routing_key: &str) -> Unknown {
    let wait = group.settings.unknown_wait;
    match group.takers().on_unknown(routing_key) {
        OnUnknown::Skip => Unknown::Skipped,
        OnUnknown::DeadLetter => Unknown::Ends(end(group)),
        OnUnknown::Wait if wait.times == 0 => Unknown::Ends(end(group)),
        OnUnknown::Wait => {
            Unknown::Waits { delay: duration::print(wait.delay), times: wait.times, then: end(group) }
        }
    }
}
