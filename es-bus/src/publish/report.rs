//! What became of many events that were published together.

use std::fmt;

use super::PublishError;

/// What became of the events of one [`publish_all`](super::Publisher::publish_all).
///
/// It is its own error: [`into_result`](Self::into_result) gives it to `?` when an event was not
/// published.
#[derive(Debug, Default)]
#[must_use = "some of the events may not have been published"]
#[non_exhaustive]
pub struct PublishReport {
    /// The ids of the events that the broker confirmed, with their places in the list, from 0.
    pub published: Vec<(usize, String)>,
    /// The events that were not published, in the order of the list.
    pub failed: Vec<Failed>,
    /// How many times `publish_batch` events the list was long, rounded up: that many are encoded
    /// and on their way at once.
    pub chunks: usize,
}

/// An event that was not published.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// Its place in the list, from 0.
    pub index: usize,
    /// The id that it was sent under; `None` when it never was. The broker may have an event whose
    /// confirm did not come: sent again under this id ([`Publish::id`](super::Publish::id)) it is a
    /// duplicate that consumers can tell.
    pub id: Option<String>,
    /// Why not; `None` when an earlier event of the same aggregate failed, and this one was held
    /// back so as not to overtake it.
    pub error: Option<PublishError>,
}

impl Failed {
    pub(super) fn held_back(index: usize) -> Self {
        Self { index, id: None, error: None }
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

    /// The id of the event at this place of the list, if the broker confirmed it.
    #[must_use]
    pub fn id(&self, index: usize) -> Option<&str> {
        let at = self.published.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(&self.published[at].1)
    }

    /// The ids of all events, in the order of the list, for `?`.
    ///
    /// # Errors
    ///
    /// The report itself, when an event was not published.
    pub fn into_result(self) -> Result<Vec<String>, Self> {
        if self.is_complete() {
            Ok(self.published.into_iter().map(|(_, id)| id).collect())
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} events published", self.published.len(), self.total())?;
        let failure = self.failed.iter().find_map(|failed| Some((failed.index, failed.error.as_ref()?)));
        if let Some((index, error)) = failure {
            write!(f, "; event {index} failed: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PublishReport {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failed
            .iter()
            .find_map(|failed| failed.error.as_ref())
            .and_then(|error| std::error::Error::source(error))
    }
}
