//! From nothing to so many groups that consume, on a virtual host that has nothing yet.
//!
//! lapin declares exactly what es-bus declares for these groups, side by side.

use std::time::Duration;

use es_bus::{BusBuilder, Registry};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::sleep;

use super::{bus, raw};
use crate::{
    Fault, Result,
    meter::Mark,
    parcel::groups,
    task::{Measured, Task},
};

/// How many channels declare side by side; more of them gain nothing.
const CHANNELS: usize = 16;

/// From how many groups on there are no retries: each delay is a quorum queue, also in a classic group.
pub(crate) const LEAN: usize = 1000;

/// A program that knows lapin well: one connection, and a channel for each group that consumes.
pub(super) async fn lapin(task: &Task, count: usize) -> Result<Measured> {
    let registry: Registry = groups(count);
    let planned = program(task, registry.clone()).build()?;
    let begin = Mark::now(task.broker)?;
    let connection = raw::connect(task).await?;
    raw::declare(&connection, planned.topology(), CHANNELS).await?;
    let consuming: Vec<_> = stream::iter(registry.group_names())
        .map(async |group| {
            let channel = connection.create_channel().await?;
            channel.basic_qos(100, BasicQosOptions::default()).await?;
            let queue = format!("{}.{group}", task.exchange());
            let (queue, options) = (queue.as_str().into(), BasicConsumeOptions::default());
            let consumer = channel.basic_consume(queue, group.into(), options, FieldTable::default()).await?;
            Ok::<_, Fault>((channel, consumer))
        })
        .buffer_unordered(CHANNELS)
        .try_collect()
        .await?;
    let measured = begin.until(Mark::now(task.broker)?, count as u64, &mut [])?;
    connection.close(200, "done".into()).await?;
    // Dropped before, the channels would be closed at the same time as the connection.
    drop(consuming);
    Ok(measured)
}

/// A bus with so many groups.
pub(super) async fn es_bus(task: &Task, count: usize) -> Result<Measured> {
    let planned = program(task, groups(count)).build()?;
    let begin = Mark::now(task.broker)?;
    let running = planned.start().await?;
    while !running.stats().is_consuming {
        sleep(Duration::from_millis(1)).await;
    }
    let measured = begin.until(Mark::now(task.broker)?, count as u64, &mut [])?;
    running.stop().await?;
    Ok(measured)
}

/// Groups with the defaults; so many that a node cannot have the queues of all their delays do without
/// retries.
fn program(task: &Task, registry: Registry) -> BusBuilder {
    let is_lean = registry.group_names().len() >= LEAN;
    let builder = bus(task, registry);
    if is_lean {
        builder.set("retries", "0").set("retry_ladder", "none").set("on_unknown", "skip")
    } else {
        builder
    }
}
