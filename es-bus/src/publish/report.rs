//! What became of many events that were published together.

use std::fmt;

use super::PublishError;

/// What became of the events of one [`publish_all`](super::Publisher::publish_all).
#[derive(Debug, Default)]
#[must_use = "some of the events may not have been published"]
pub struct PublishReport {
    /// The ids of the events that the broker confirmed, with their places in the list, from 0.
    pub published: Vec<(usize, String)>,
    /// The events that were not published, in the order of the list.
    pub failed: Vec<Failed>,
}

/// An event that was not published.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Why not; `None` when an earlier event of the same aggregate failed, and this one was held
    /// back so as not to overtake it.
    pub error: Option<PublishError>,
}

impl Failed {
    pub(super) fn new(index: usize, error: Option<PublishError>) -> Self {
        Self { index, error }
    }
}

impl PublishReport {
    /// How many events there were.
    #[must_use]
    pub fn total(&self) -> usize {
        self.published.len() + self.failed.len()
    }

    /// Whether the broker confirmed every event.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// The report as a result, for `?`.
    ///
    /// # Errors
    ///
    /// The report itself, when an event was not published.
    pub fn into_result(self) -> Result<Self, Self> {
        if self.is_complete() { Ok(self) } else { Err(self) }
    }
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} events published", self.published.len(), self.total())?;
        if let Some(Failed { index, error: Some(error) }) = self.failed.first() {
            write!(f, "; event {index} failed: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PublishReport {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failed.iter().find_map(|failed| failed.error.as_ref()).map(|error| error as _)
    }
}
