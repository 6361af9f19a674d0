//! How long the broker waits for an acknowledgement before it takes a delivery back. Pure.

use std::time::Duration;

use super::{GroupSpec, build::Conflict};
use crate::{duration, model::policy::Ordering};

/// How long the broker waits: so long may a delivery stay in hand.
///
/// RabbitMQ closes the channel of a delivery that was not acknowledged within its consumer timeout,
/// and hands out anew all that was on it. So nothing is begun that could take that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// What may be planned with.
    limit: Duration,
    /// By how much waits and runs may take longer than was planned.
    leeway: Duration,
}

impl Patience {
    /// For a broker with this consumer timeout; `None` for one that waits for ever.
    ///
    /// A tenth of it, a minute at most, is kept back, half of that for plans that take longer.
    pub(crate) fn of(consumer_timeout: Option<Duration>) -> Self {
        let Some(timeout) = consumer_timeout else {
            return Self { limit: Duration::MAX, leeway: Duration::ZERO };
        };
        let reserve = (timeout / 10).min(Duration::from_secs(60));
        Self { limit: timeout - reserve, leeway: reserve / 2 }
    }

    /// How long what is to be done with a delivery may take, waits included.
    pub(crate) fn limit(self) -> Duration {
        self.limit
    }

    /// Whether a pause and a run fit into what is left of the time, after so much of it.
    pub(crate) fn fits(self, spent: Duration, pause: Duration, timeout: Duration) -> bool {
        spent.saturating_add(pause).saturating_add(timeout) <= self.limit.saturating_add(self.leeway)
    }

    /// How long a delivery may still be in hand, after so much of the time, when `timeout` of it is
    /// kept for the run of a handler.
    pub(crate) fn left(self, spent: Duration, timeout: Duration) -> Duration {
        self.limit.saturating_add(self.leeway).saturating_sub(spent).saturating_sub(timeout)
    }
}

/// The handlers whose one run takes longer than the broker waits: no delivery would be fresh enough
/// to be started.
pub(super) fn check(group: &GroupSpec) -> Vec<Conflict> {
    // An exclusive group acknowledges before it handles; for strict order `strict` reckons.
    if group.is_exclusive() || group.settings.ordering == Ordering::Strict {
        return Vec::new();
    }
    let limit = group.settings.patience.limit();
    let too_long = group.handlers.iter().filter(|handler| handler.timeout > limit);
    too_long
        .map(|handler| Conflict::Unfinishable {
            group: group.name.as_str().to_owned(),
            handler: handler.name.as_ref().to_owned(),
            timeout: duration::print(handler.timeout),
            limit: duration::print(limit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::{PLACED, group_with, handler};

    const fn min(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    #[test]
    fn keeps_a_tenth_back_and_a_minute_at_most() {
        for (timeout, limit) in [(min(30), min(29)), (min(120), min(119)), (min(1), Duration::from_secs(54))]
        {
            assert_eq!(Patience::of(Some(timeout)).limit(), limit, "{timeout:?}");
        }
        assert_eq!(Patience::of(None).limit(), Duration::MAX);
    }

    #[test]
    fn a_pause_and_a_run_have_to_fit_into_what_is_left() {
        let patience = Patience::of(Some(min(30)));
        for (spent, pause, timeout, expected) in [
            (min(0), min(0), min(29), true),
            (Duration::from_secs(29), min(0), min(29), true),
            (Duration::from_secs(31), min(0), min(29), false),
            (min(10), min(10), min(9), true),
            (min(10), min(10), min(10), false),
            (min(0), Duration::MAX, Duration::MAX, false),
        ] {
            assert_eq!(patience.fits(spent, pause, timeout), expected, "{spent:?} {pause:?} {timeout:?}");
        }
        assert!(Patience::of(None).fits(min(9999), min(9999), min(9999)), "it waits for ever");
    }

    #[test]
    fn what_is_left_is_never_less_than_nothing() {
        let patience = Patience::of(Some(min(30)));

        assert_eq!(patience.left(min(0), min(5)), min(24) + Duration::from_secs(30));
        assert_eq!(patience.left(min(30), min(5)), Duration::ZERO);
        assert!(Patience::of(None).left(min(9999), min(9999)) > min(9999));
    }

    #[test]
    fn a_run_that_no_delivery_is_fresh_enough_for_is_a_conflict() {
        let conflicts = |consumer_timeout, exclusive: Option<&str>| {
            let mut spec = handler("project", &["Order.*"], Some(&[PLACED]));
            spec.timeout = min(45);
            let group = group_with(vec![spec], |settings| {
                settings.patience = Patience::of(consumer_timeout);
                settings.exclusive = exclusive.map(str::to_owned);
            });
            check(&group).iter().map(ToString::to_string).collect::<Vec<_>>()
        };

        assert_eq!(
            conflicts(Some(min(30)), None),
            [
                "the handler \"project\" of group \"projections\" may run for 45m, more than the 29m that RabbitMQ leaves \
                 it; lower `timeout`, or raise `consumer_timeout`, here and on the broker"
            ]
        );
        assert_eq!(conflicts(Some(min(60)), None), Vec::<String>::new());
        assert_eq!(conflicts(None, None), Vec::<String>::new());
        assert_eq!(conflicts(Some(min(30)), Some("a1b2")), Vec::<String>::new(), "it is acknowledged first");
    }
}
