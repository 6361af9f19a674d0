//! What a stream keeps: every message under its offset, until there are too many bytes or it is too old.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{arguments::Settings, queue::Routed};
use crate::model::StreamOffset;

/// The messages of a stream.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// With the time at which each came, in seconds since the Unix epoch.
    kept: VecDeque<(u64, Arc<Routed>)>,
    /// The offset of the oldest that is kept.
    first: u64,
    bytes: u64,
}

impl Log {
    /// How many messages it keeps.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The offset of the message that comes next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Adds a message, and lets go what the stream does not have to keep any more.
    pub(super) fn append(&mut self, routed: &Arc<Routed>, now: u64, settings: &Settings) {
        self.bytes += size(routed);
        self.kept.push_back((now, Arc::clone(routed)));
        let oldest = settings.max_age.as_ref().map_or(0, |age| now.saturating_sub(Duration::as_secs(age)));
        let most = settings.max_length_bytes.unwrap_or(u64::MAX);
        while let Some((at, routed)) = self.kept.front()
            && (*at < oldest || self.bytes > most)
            && self.kept.len() > 1
        {
            self.bytes -= size(routed);
            self.kept.pop_front();
            self.first += 1;
        }
    }

    /// The message of an offset, or the first one after it, with its own offset.
    pub(super) fn at(&self, offset: u64) -> Option<(u64, Arc<Routed>)> {
        let offset = offset.max(self.first);
        let place = usize::try_from(offset - self.first).ok()?;
        self.kept.get(place).map(|(_, routed)| (offset, Arc::clone(routed)))
    }

    /// The offset at which somebody begins to read.
    pub(super) fn begin(&self, offset: StreamOffset) -> u64 {
        match offset {
            StreamOffset::First => self.first,
            StreamOffset::Last => self.end().saturating_sub(1).max(self.first),
            StreamOffset::Next => self.end(),
            // One that there is not yet is waited for.
            StreamOffset::Offset(offset) => offset.max(self.first),
            StreamOffset::Timestamp(time) => {
                self.first + self.kept.iter().take_while(|(at, _)| *at < time).count() as u64
            }
        }
    }
}

fn size(routed: &Routed) -> u64 {
    routed.message.body.len() as u64
}
