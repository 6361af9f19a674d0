//! What time it is, as an argument.
//!
//! A running program asks the system. A test on tokio's paused clock asks that one, so that an hour
//! of retries passes in a millisecond and due times still agree with it.

use time::OffsetDateTime;
use tokio::time::Instant;

/// Where the time of day comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// A time of day and the instant of tokio's clock at which it was read; the system's clock
    /// when not set.
    virtual_since: Option<(OffsetDateTime, Instant)>,
}

impl Clock {
    /// A clock that goes as tokio's does.
    #[cfg(feature = "testing")]
    #[must_use]
    pub(crate) fn of_runtime() -> Self {
        Self { virtual_since: Some((OffsetDateTime::now_utc(), Instant::now())) }
    }

    /// What time it is, in UTC.
    #[must_use]
    pub(crate) fn now(&self) -> OffsetDateTime {
        match self.virtual_since {
            None => OffsetDateTime::now_utc(),
            Some((time, instant)) => time + instant.elapsed(),
        }
    }
}
