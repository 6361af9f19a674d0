//! Where a group goes on in its stream, without running.

use time::OffsetDateTime;

use super::{Bus, assemble::whole};
use crate::{
    error::Result,
    model::StreamOffset,
    topology::position::{self, StreamError},
};

impl Bus {
    /// Says where a group goes on in its stream, while no worker of it is there: from the first event that is kept, from
    /// an offset, from a time, or from what comes next.
    ///
    /// Its workers read from there when they start again. What was brought from the stream to the queue of the group
    /// before, 2500 events at most, is handled all the same; events that come a second time have the same id.
    ///
    /// # Errors
    ///
    /// [`StreamError`]: the group has no stream, a worker of it is there, or the broker refuses it.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use es_bus::{Bus, model::StreamOffset};
    ///
    /// # async fn example() -> es_bus::Result<()> {
    /// let bus = Bus::builder().build()?;
    ///
    /// bus.set_stream_position("projections", StreamOffset::First).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_stream_position(&self, group: &str, to: StreamOffset) -> Result<()> {
        let found = whole(self).groups.into_iter().find(|it| it.name.as_str() == group);
        let group = found.ok_or_else(|| StreamError::NoGroup { group: group.to_owned() })?;
        if group.stream.is_none() {
            return Err(StreamError::NoStream { group: group.name.as_str().to_owned() }.into());
        }
        let visit = self.visit().await?;
        let result = position::set(&*visit.transport, &group, to, OffsetDateTime::now_utc()).await;
        visit.end().await;
        Ok(result?)
    }
}
