//! What is counted and measured, and under which names.
//!
//! Every number has one home, [`Counters`]: what is told of a bus, its statistics, its health and its
//! metrics, is told from there. Adding to one costs an atomic instruction; with the feature `metrics`
//! the same call tells the program's recorder, through a handle that was made at the start.

mod counters;
mod groups;
mod refusals;

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod metrics;

pub use self::counters::{Counters, Counts};
pub(crate) use self::{
    counters::Moments,
    groups::{Copies, GroupWatch, Holding},
    metrics::{drift, queue_size, tell_link},
};

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::metrics::{METRICS, Metric, MetricKind};
#[cfg(feature = "http")]
pub(crate) use self::metrics::{SECONDS, SECONDS_BUCKETS};
