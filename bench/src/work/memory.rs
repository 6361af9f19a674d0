//! Publishing and taking within the process, on one core: the in-process broker, beside a bounded channel
//! with JSON both ways.

use std::hint::black_box;

use tokio::sync::mpsc;

use super::bus;
use crate::{
    Fault, Result,
    parcel::{ParcelSent, pool, registry},
    tally::Tally,
    task::{Measured, Task},
};

/// How many events the channel holds, and how many a list has in flight.
const ROOM: usize = 1024;

/// What such a broker cannot do without.
pub(super) async fn floor(task: &Task) -> Result<Measured> {
    let tally = Tally::of(task);
    let (tx, mut rx) = mpsc::channel::<Vec<u8>>(ROOM);
    let counted = tally.clone();
    let taking = tokio::spawn(async move {
        while let Some(body) = rx.recv().await {
            let parcel: ParcelSent = serde_json::from_slice(&body)?;
            counted.one(black_box(parcel).due_us);
        }
        Ok::<_, Fault>(())
    });
    let parcels = pool(task.size);
    for parcel in parcels.iter().cycle().take(usize::try_from(tally.total())?) {
        tx.send(parcel.encode()).await?;
    }
    drop(tx);
    taking.await??;
    tally.finish().await
}

/// A bus on the in-process broker, with the defaults but for the length of what is in flight.
pub(super) async fn es_bus(task: &Task) -> Result<Measured> {
    let tally = Tally::of(task);
    let running = bus(task, registry(task.handlers))
        .state(tally.clone())
        .set("publish_batch", ROOM.to_string())
        .build()?
        .start()
        .await?;
    let parcels = pool(task.size);
    let events = parcels.iter().cycle().take(usize::try_from(tally.total())?);
    let report = running.publisher().publish_all(events).await;
    report.into_result().map_err(|report| report.to_string())?;
    let measured = tally.finish().await?;
    running.stop().await?;
    Ok(measured)
}
