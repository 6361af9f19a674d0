//! From the moment in which an event should be sent until it is taken, at a fixed rate, in one process.
//!
//! An event that is sent late, since the one before it took long, counts from when it was due.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::{bus, publish::one_of_es_bus, raw};
use crate::{
    Fault, Result,
    parcel::{KEY, ParcelSent, of, pool, registry},
    tally::Tally,
    task::{Measured, Task},
};

/// As the group has it by default.
const PREFETCH: u16 = 100;

/// Two connections with a channel each; every event is acknowledged by itself. Where `is_alike`, its messages are as
/// large as those of es-bus, and have their headers.
pub(super) async fn lapin(task: &Task, rate: u64, is_alike: bool) -> Result<Measured> {
    let (publishing, consuming) = (raw::connect(task).await?, raw::connect(task).await?);
    let channel = Arc::new(raw::confirming(&publishing).await?);
    // Held until the connection is closed: dropped, it would be closed at the same time.
    let _held = Arc::clone(&channel);
    let (properties, length) = match is_alike {
        true => one_of_es_bus(task, &channel).await.map(|(properties, body)| (properties, body.len()))?,
        false => (raw::properties(), 0),
    };
    let sending = channel;
    let channel = consuming.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, options) = (task.queue().into(), BasicConsumeOptions::default());
    let mut consumer = channel.basic_consume(queue, "bench".into(), options, FieldTable::default()).await?;
    let tally = Tally::of(task);
    let counted = tally.clone();
    let taking = tokio::spawn(async move {
        while counted.taken() < counted.total() {
            let delivery = consumer.next().await.ok_or("the broker ended the consumer")??;
            let parcel: ParcelSent = serde_json::from_slice(&delivery.data)?;
            counted.one(parcel.due_us);
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        Ok::<_, Fault>(())
    });
    let exchange = task.exchange();
    at_rate(task, rate, &tally, move |parcel| {
        let (channel, exchange) = (Arc::clone(&sending), exchange.clone());
        let properties = properties.clone();
        async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let exchange = exchange.as_str().into();
            let mut body = parcel.encode();
            if body.len() < length {
                body.resize(length, b' ');
            }
            let sent = channel.basic_publish(exchange, KEY.into(), options, &body, properties);
            if sent.await?.await?.is_ack() { Ok(()) } else { Err("the broker did not take an event".into()) }
        }
    })
    .await?;
    taking.await??;
    let measured = tally.finish().await?;
    publishing.close(200, "done".into()).await?;
    consuming.close(200, "done".into()).await?;
    Ok(measured)
}

/// A bus that publishes and takes, with the defaults.
pub(super) async fn es_bus(task: &Task, rate: u64) -> Result<Measured> {
    let tally = Tally::of(task);
    let running = bus(task, registry(task.handlers)).state(tally.clone()).build()?.start().await?;
    let publisher = running.publisher().clone();
    at_rate(task, rate, &tally, move |parcel| {
        let publisher = publisher.clone();
        async move { publisher.publish(&parcel).await.map(drop).map_err(Into::into) }
    })
    .await?;
    let measured = tally.finish().await?;
    running.stop().await?;
    Ok(measured)
}

/// Sends what is due, each tick of a millisecond, and does not wait for what is on its way.
async fn at_rate<F>(
    task: &Task,
    rate: u64,
    tally: &Tally,
    send: impl Fn(ParcelSent) -> F + Send + Sync + 'static,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    // Of many aggregates: es-bus sends the next event of one when the one before is confirmed.
    let (tally, parcels) = (tally.clone(), pool(task.size));
    let total = tally.total();
    tokio::spawn(async move {
        let begun = tally.now_us();
        let mut tick = interval(Duration::from_millis(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_flight = FuturesUnordered::new();
        let mut sent = 0;
        while sent < total || !in_flight.is_empty() {
            tokio::select! {
                _ = tick.tick(), if sent < total => {
                    let now = tally.now_us();
                    while sent < total && due(begun, sent, rate) <= now {
                        in_flight.push(send(of(&parcels, sent).due(due(begun, sent, rate))));
                        sent += 1;
                    }
                }
                Some(done) = in_flight.next(), if !in_flight.is_empty() => done?,
            }
        }
        Ok::<_, Fault>(())
    })
    .await?
}

fn due(begun: u64, number: u64, rate: u64) -> u64 {
    begun + number * 1_000_000 / rate
}
