//! Before a measurement: the queue is there, empty, and then has what the measurement takes.

use lapin::options::QueuePurgeOptions;

use super::{bus, raw};
use crate::{
    Result,
    parcel::{ParcelSent, SLOW, pool, publishing, registry},
    task::{Measured, Task},
};

/// Declares what es-bus would declare for the group, so that every contender has the same queue.
pub(super) async fn prepare(task: &Task, fill: u64, slow: bool) -> Result<Measured> {
    let group = bus(task, registry(task.handlers)).state(crate::tally::Tally::of(task)).build()?;
    let connection = raw::connect(task).await?;
    raw::declare(&connection, group.topology(), 4).await?;
    let channel = connection.create_channel().await?;
    channel.queue_purge(task.queue().into(), QueuePurgeOptions::default()).await?;
    if fill > 0 {
        let running = bus(task, publishing()).publish_only().build()?.start().await?;
        let parcels = pool(task.size);
        if slow {
            // Of an aggregate of its own: nothing is to wait for it.
            running.publisher().publish(&ParcelSent::of_size(task.size).due(SLOW)).await?;
        }
        let events = parcels.iter().cycle().take(usize::try_from(fill)? - usize::from(slow));
        let report = running.publisher().publish_all(events).await;
        report.into_result().map_err(|report| report.to_string())?;
        running.stop().await?;
    }
    connection.close(200, "done".into()).await?;
    let ready = raw::ready(task).await?;
    if ready != fill {
        return Err(format!("{} has {ready} events, not {fill}", task.queue()).into());
    }
    Ok(Measured { events: fill, seconds: 1.0, ..Measured::default() })
}
