//! How far the stream of a group was read: what stands in the queue `{queue}.position`.
//!
//! That queue has a single active consumer, which is the one that reads the stream. So there is one reader at a time,
//! and the next one takes over when it is gone. A position says that all before it is in the queue of the group: it
//! holds whoever wrote it, so that of several of one stream the furthest counts. One that an operator set counts more than those
//! before it, by the time when it was set.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{GroupSpec, StreamNames};
use crate::{
    message::{Headers, Message, Properties},
    model::StreamOffset,
    transport::{DeclareError, Publication, PublishError, Transport},
    wire::names,
};

/// Why the position of a stream could not be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The program has no such group.
    #[error("there is no group {group:?} in this program")]
    NoGroup {
        /// What was asked for.
        group: String,
    },
    /// The group reads no stream.
    #[error("group {group:?} has no stream; `kind = \"stream\"` gives it one")]
    NoStream {
        /// The group.
        group: String,
    },
    /// Nobody has read it yet.
    #[error(
        "queue {queue:?} is not there: the group was never started on this broker, and begins where its `offset` says"
    )]
    Missing {
        /// The queue of the position.
        queue: String,
    },
    /// A worker reads the stream.
    #[error(
        "the stream of group {group:?} is being read: {consumers} of its workers are there (consumers of {queue:?}); \
         stop them, set the position, and start them again"
    )]
    Active {
        /// The group.
        group: String,
        /// The queue of the position.
        queue: String,
        /// How many workers there are.
        consumers: u64,
    },
    /// The broker cannot be asked.
    #[error("the position of group {group:?} cannot be looked at")]
    Look {
        /// The group.
        group: String,
        /// What the broker says.
        #[source]
        source: DeclareError,
    },
    /// The broker did not take the position.
    #[error("the position of group {group:?} was not written")]
    Write {
        /// The group.
        group: String,
        /// What the broker says.
        #[source]
        source: PublishError,
    },
}

/// What stands in a message of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// When an operator set it last, in milliseconds since the Unix epoch; 0 for never.
    pub(crate) set: u64,
    /// Where to go on.
    pub(crate) at: At,
    /// The message id of the event before that, where it has one: another stream of the same name has another there.
    pub(crate) after: Option<String>,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Nobody has said yet: somebody is there, or was.
    Unknown,
    /// Where it was set to, and nothing of it was read.
    Place(StreamOffset),
    /// All before this offset is in the queue of the group.
    Next(u64),
}

impl Note {
    /// Says only that somebody is there.
    pub(crate) const HERE: Self = Self { set: 0, at: At::Unknown, after: None };

    /// Says that the stream is another one of the same name: what was read of the one before says nothing of it.
    pub(crate) const fn of_another(&self) -> Self {
        Self { set: self.set + 1, at: At::Next(0), after: None }
    }

    /// Of two the greater one counts.
    pub(crate) fn rank(&self) -> (u64, u8, u64) {
        match self.at {
            At::Unknown => (self.set, 0, 0),
            At::Place(_) => (self.set, 1, 0),
            At::Next(next) => (self.set, 2, next),
        }
    }

    /// Reads one; what is none says nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(written) = serde_json::from_slice::<Written>(body) else { return Self::HERE };
        let place = written.from.and_then(|text| text.parse().ok());
        let at = match (written.next, place) {
            (Some(next), _) => At::Next(next),
            (None, Some(place)) => At::Place(place),
            (None, None) => At::Unknown,
        };
        Self { set: written.set, at, after: written.after }
    }

    /// The message that says it, on its way to the queue.
    pub(crate) fn publication(&self, group: &GroupSpec, id: &str) -> Publication {
        let (next, from) = match self.at {
            At::Unknown => (None, None),
            At::Place(place) => (None, Some(place.to_string())),
            At::Next(next) => (Some(next), None),
        };
        let body = serde_json::to_vec(&Written { set: self.set, next, from, after: self.after.clone() })
            .expect("texts and numbers are JSON");
        let mut headers = Headers::new();
        headers.insert(names::ES_DELAY, names::DELAY_POSITION);
        Publication {
            exchange: group.retry.clone(),
            routing_key: "".into(),
            message: Message {
                properties: Properties {
                    content_type: Some("application/json".into()),
                    persistent: true,
                    message_id: Some(id.to_owned().into()),
                    ..Properties::default()
                },
                headers,
                body: body.into(),
            },
            mandatory: true,
            lane: Some(0),
        }
    }
}

/// A note as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    set: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Says where a group is to go on in its stream, while no worker reads it.
pub(crate) async fn set(
    transport: &dyn Transport,
    group: &GroupSpec,
    to: StreamOffset,
    now: OffsetDateTime,
) -> Result<(), StreamError> {
    let name = || group.name.as_str().to_owned();
    let Some(StreamNames { position, .. }) = &group.stream else {
        return Err(StreamError::NoStream { group: name() });
    };
    let status = transport.queue_status(position).await;
    match status.map_err(|source| StreamError::Look { group: name(), source })? {
        None => return Err(StreamError::Missing { queue: position.to_string() }),
        Some(status) if status.consumers > 0 => {
            let consumers = status.consumers;
            return Err(StreamError::Active { group: name(), queue: position.to_string(), consumers });
        }
        Some(_) => {}
    }
    let at = match to {
        StreamOffset::Offset(offset) => At::Next(offset),
        place => At::Place(place),
    };
    // A worker that starts in this moment gets it, and goes on from there.
    let set = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(1).max(1);
    let publication = Note { set, at, after: None }.publication(group, &uuid::Uuid::new_v4().to_string());
    transport.publish(&publication).await.map_err(|source| StreamError::Write { group: name(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::group;

    #[test]
    fn a_note_reads_back_as_itself() {
        for at in
            [At::Unknown, At::Place(StreamOffset::First), At::Place(StreamOffset::Timestamp(9)), At::Next(7)]
        {
            let note = Note { set: 5, at, after: Some("e-1".to_owned()) };

            let publication = note.publication(&group(Vec::new()), "1");

            assert_eq!(Note::read(&publication.message.body), note);
        }
        assert_eq!(Note::read(b"no JSON"), Note::HERE);
    }

    #[test]
    fn what_was_set_last_counts_and_then_the_furthest() {
        let next = |set, next| Note { set, at: At::Next(next), after: None };
        let first = Note { set: 3, at: At::Place(StreamOffset::First), after: None };
        let mut notes = [Note::HERE, next(0, 7), next(3, 2), next(0, 9), first.clone()];

        notes.sort_by_key(Note::rank);

        let expected = [Note::HERE, next(0, 7), next(0, 9), first, next(3, 2)];
        assert_eq!(notes, expected);
        assert!(next(3, 2).of_another().rank() > next(3, 9).rank());
    }
}
