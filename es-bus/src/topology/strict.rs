//! Whether a handler in strict order gets through its attempts while the broker waits. Pure.

use std::time::Duration;

use super::{GroupSpec, build::Conflict};
use crate::{
    duration,
    model::policy::Ordering,
    retry::{RetryPolicy, spread},
};

/// The handlers whose attempts in place take longer than the broker waits.
pub(super) fn check(group: &GroupSpec) -> Vec<Conflict> {
    if group.settings.ordering != Ordering::Strict {
        return Vec::new();
    }
    let limit = group.settings.patience.limit();
    let too_long = group.handlers.iter().filter_map(|handler| {
        let (retries, timeout) = (handler.policy.retries, handler.timeout);
        let pauses = pauses(&handler.policy);
        let runs = timeout.saturating_mul(retries.saturating_add(1));
        let whole = pauses.saturating_add(runs);
        (whole > limit).then(|| Conflict::TooLong {
            group: group.name.as_str().to_owned(),
            handler: handler.name.as_ref().to_owned(),
            runs: format!("{} × {}", retries.saturating_add(1), duration::print(timeout)),
            pauses: duration::print(Duration::from_secs(pauses.as_secs())),
            limit: duration::print(limit),
        })
    });
    too_long.collect()
}

/// All pauses of a policy together, at their longest; a day when that is more.
fn pauses(policy: &RetryPolicy) -> Duration {
    let mut sum = Duration::ZERO;
    for attempt in 0..policy.retries {
        let Some(delay) = policy.delay(attempt) else { break };
        sum = sum.saturating_add(spread(delay, policy.jitter, 1.0));
        if sum > Duration::from_secs(24 * 3600) {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::{PLACED, group_with, handler};

    fn conflicts(retries: u32, timeout: u64, ordering: Ordering) -> Vec<String> {
        let mut spec = handler("project", &["Order.*"], Some(&[PLACED]));
        spec.policy.retries = retries;
        spec.timeout = Duration::from_secs(timeout);
        let group = group_with(vec![spec], |settings| settings.ordering = ordering);
        check(&group).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_attempts_of_a_handler_take_less_than_the_broker_waits() {
        assert_eq!(conflicts(3, 300, Ordering::Strict), Vec::<String>::new(), "the defaults");
        assert_eq!(conflicts(0, 29 * 60, Ordering::Strict), Vec::<String>::new());
        assert_eq!(conflicts(9, 300, Ordering::Aggregate), Vec::<String>::new());
        assert_eq!(conflicts(u32::MAX, 1, Ordering::Strict).len(), 1);
    }

    #[test]
    fn says_what_the_attempts_take() {
        assert_eq!(
            conflicts(5, 300, Ordering::Strict),
            [
                "group \"projections\" has ordering = \"strict\", and its handler \"project\" may keep an event for \
              6 × 5m of runs and 34s of pauses, more than the 29m that RabbitMQ leaves it; lower `timeout`, \
              `retries` or `backoff`"
            ]
        );
    }
}
