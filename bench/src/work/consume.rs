//! Taking and acknowledging what is in a queue.
//!
//! lapin looks at the length of each body and no further; es-bus decodes each event for its handler.

use std::hint::black_box;

use futures_util::StreamExt as _;
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{Duration, sleep};

use super::{bus, raw};
use crate::{
    Fault, Result,
    parcel::{GROUP, registry},
    tally::Tally,
    task::{Measured, Task},
};

/// Takes from one channel, and acknowledges `every` deliveries at once; with one, by
/// `delivery.acker.ack().await`, as every example shows it.
pub(super) async fn lapin(task: &Task, prefetch: u16, every: u16) -> Result<Measured> {
    let connection = raw::connect(task).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let tally = Tally::of(task);
    let (queue, options) = (task.queue().into(), BasicConsumeOptions::default());
    let mut consumer = channel.basic_consume(queue, "bench".into(), options, FieldTable::default()).await?;
    let (counted, acknowledging) = (tally.clone(), channel.clone());
    tokio::spawn(async move {
        let mut unsettled = 0;
        while counted.taken() < counted.total() {
            let delivery = consumer.next().await.ok_or("the broker ended the consumer")??;
            black_box(delivery.data.len());
            unsettled += 1;
            let is_last = counted.taken() + 1 == counted.total();
            if every == 1 {
                delivery.acker.ack(BasicAckOptions::default()).await?;
            } else if unsettled == every || is_last {
                let multiple = BasicAckOptions { multiple: true };
                acknowledging.basic_ack(delivery.delivery_tag, multiple).await?;
                unsettled = 0;
            }
            counted.one(0);
        }
        Ok::<_, Fault>(())
    })
    .await??;
    let measured = tally.finish().await?;
    // What the broker has not worked off when the connection ends may come again.
    sleep(SETTLING).await;
    connection.close(200, "done".into()).await?;
    nothing_is_left(task).await?;
    Ok(measured)
}

/// Takes by a handler, with the defaults but for the prefetch.
pub(super) async fn es_bus(task: &Task, prefetch: u16) -> Result<Measured> {
    let tally = Tally::of(task);
    let running = bus(task, registry(task.handlers))
        .state(tally.clone())
        .set_for_group(GROUP, "prefetch", prefetch.to_string())
        .set_for_group(GROUP, "concurrency", prefetch.min(16).to_string())
        .build()?
        .start()
        .await?;
    let measured = tally.finish().await?;
    tally.release();
    running.stop().await?;
    if tally.taken() != tally.total() {
        return Err(format!("{} events were taken, not {}", tally.taken(), tally.total()).into());
    }
    nothing_is_left(task).await?;
    Ok(measured)
}

/// How long the broker has for the last acknowledgements, which it does not confirm.
const SETTLING: Duration = Duration::from_millis(200);

/// Whatever was taken is acknowledged.
async fn nothing_is_left(task: &Task) -> Result<()> {
    let left = raw::ready(task).await?;
    if left == 0 { Ok(()) } else { Err(format!("{left} events were taken and are there again").into()) }
}
