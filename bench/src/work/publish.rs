//! Publishing with confirms: by lapin in three ways, and by es-bus in two.
//!
//! lapin's messages are made beforehand, and are the event alone, or just what es-bus makes of it; es-bus
//! encodes each event, and adds its envelope and its headers.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use es_bus::Publisher;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, PublisherConfirm,
    options::{BasicGetOptions, BasicPublishOptions},
};

use super::{bus, raw};
use crate::{
    Result,
    meter::Mark,
    parcel::{KEY, ParcelSent, of, pool, publishing},
    task::{Measured, Task},
};

/// Publishes on one channel as every example shows it: each call waits until it is written, and confirms
/// are waited for once there are as many as the window has.
pub(super) async fn lapin_naive(task: &Task, window: usize) -> Result<Measured> {
    let connection = raw::connect(task).await?;
    let channel = raw::confirming(&connection).await?;
    let sender = Raw::new(task, channel);
    one_after_another(&sender, window, 0, task.warm_up()).await?;
    let begin = Mark::now(task.broker)?;
    let mut latencies = one_after_another(&sender, window, task.warm_up(), task.events).await?;
    let measured = begin.until(Mark::now(task.broker)?, task.events, &mut latencies)?;
    connection.close(200, "done".into()).await?;
    check(task).await?;
    Ok(measured)
}

async fn one_after_another(sender: &Raw, window: usize, from: u64, count: u64) -> Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(usize::try_from(count)?);
    let mut pending = VecDeque::with_capacity(window);
    for number in from..from + count {
        let begun = Instant::now();
        pending.push_back((begun, sender.send(number).await?));
        if pending.len() >= window {
            let (begun, confirm) = pending.pop_front().expect("one was just put in");
            latencies.push(confirmed(begun, confirm).await?);
        }
    }
    for (begun, confirm) in pending {
        latencies.push(confirmed(begun, confirm).await?);
    }
    Ok(latencies)
}

/// Publishes on one channel, from a task, with a window of publishes that overlap.
pub(super) async fn lapin_tuned(task: &Task, window: usize) -> Result<Measured> {
    let connection = raw::connect(task).await?;
    // Held until the connection is closed: dropped, its channel would be closed at the same time.
    let sender = Arc::new(Raw::new(task, raw::confirming(&connection).await?));
    let measured = overlapping(task, window, &sender).await?;
    connection.close(200, "done".into()).await?;
    check(task).await?;
    Ok(measured)
}

/// The same, with one of the messages that es-bus publishes.
pub(super) async fn lapin_alike(task: &Task, window: usize) -> Result<Measured> {
    let connection = raw::connect(task).await?;
    let channel = raw::confirming(&connection).await?;
    let (properties, body) = one_of_es_bus(task, &channel).await?;
    let sender = Arc::new(Raw { bodies: vec![body], properties, ..Raw::new(task, channel) });
    let measured = overlapping(task, window, &sender).await?;
    connection.close(200, "done".into()).await?;
    check(task).await?;
    Ok(measured)
}

/// Properties and body of a message as es-bus publishes it.
pub(super) async fn one_of_es_bus(task: &Task, channel: &Channel) -> Result<(BasicProperties, Vec<u8>)> {
    let running = bus(task, publishing()).publish_only().build()?.start().await?;
    running.publisher().publish(&ParcelSent::of_size(task.size)).await?;
    running.stop().await?;
    let options = BasicGetOptions { no_ack: true };
    let taken = channel.basic_get(task.queue().into(), options).await?.ok_or("it is not in the queue")?;
    Ok((taken.delivery.properties, taken.delivery.data))
}

async fn overlapping(task: &Task, window: usize, sender: &Arc<Raw>) -> Result<Measured> {
    let one = {
        let sender = Arc::clone(sender);
        move |number| {
            let sender = Arc::clone(&sender);
            async move {
                let begun = Instant::now();
                let confirm = sender.send(number).await?;
                confirmed(begun, confirm).await
            }
        }
    };
    in_windows(task, window, one).await
}

/// Publishes by as many calls of [`Publisher::publish`] at once as the window has, from a task.
pub(super) async fn es_bus(task: &Task, window: usize) -> Result<Measured> {
    let running = bus(task, publishing()).publish_only().build()?.start().await?;
    let parcels: Arc<[ParcelSent]> = pool(task.size).into();
    let publisher = running.publisher().clone();
    let one = move |number| {
        let (publisher, parcels) = (publisher.clone(), Arc::clone(&parcels));
        async move {
            let begun = Instant::now();
            publisher.publish(of(&parcels, number)).await?;
            Ok(micros(begun))
        }
    };
    let measured = in_windows(task, window, one).await?;
    running.stop().await?;
    check(task).await?;
    Ok(measured)
}

/// Publishes by [`Publisher::publish_all`], with as many in flight as the window has; no latencies.
pub(super) async fn es_bus_list(task: &Task, window: usize) -> Result<Measured> {
    let running = bus(task, publishing())
        .publish_only()
        .set("publish_batch", window.to_string())
        .build()?
        .start()
        .await?;
    let publisher = running.publisher().clone();
    let (task_of_it, parcels) = (task.clone(), pool(task.size));
    let measured = tokio::spawn(async move {
        let task = task_of_it;
        list(&publisher, &parcels, 0, task.warm_up()).await?;
        let begin = Mark::now(task.broker)?;
        list(&publisher, &parcels, task.warm_up(), task.events).await?;
        begin.until(Mark::now(task.broker)?, task.events, &mut [])
    })
    .await??;
    running.stop().await?;
    check(task).await?;
    Ok(measured)
}

async fn list(publisher: &Publisher, parcels: &[ParcelSent], from: u64, count: u64) -> Result<()> {
    let events = (from..from + count).map(|number| of(parcels, number));
    let report = publisher.publish_all(events).await;
    report.into_result().map_err(|report| report.to_string())?;
    Ok(())
}

/// Keeps a window of calls going, first those that warm up, and measures the others.
async fn in_windows<F>(
    task: &Task,
    window: usize,
    one: impl Fn(u64) -> F + Send + Sync + 'static,
) -> Result<Measured>
where
    F: Future<Output = Result<u32>> + Send,
{
    let task = task.clone();
    tokio::spawn(async move {
        keep_going(&one, window, 0, task.warm_up()).await?;
        let begin = Mark::now(task.broker)?;
        let mut latencies = keep_going(&one, window, task.warm_up(), task.events).await?;
        begin.until(Mark::now(task.broker)?, task.events, &mut latencies)
    })
    .await?
}

async fn keep_going<F: Future<Output = Result<u32>>>(
    one: &impl Fn(u64) -> F,
    window: usize,
    from: u64,
    count: u64,
) -> Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(usize::try_from(count)?);
    let mut in_flight = FuturesUnordered::new();
    let mut numbers = from..from + count;
    in_flight.extend(numbers.by_ref().take(window).map(one));
    while let Some(latency) = in_flight.next().await {
        latencies.push(latency?);
        in_flight.extend(numbers.next().map(one));
    }
    Ok(latencies)
}

/// What lapin needs to publish.
struct Raw {
    channel: Channel,
    exchange: String,
    bodies: Vec<Vec<u8>>,
    properties: BasicProperties,
}

impl Raw {
    fn new(task: &Task, channel: Channel) -> Self {
        let bodies = pool(task.size).iter().map(ParcelSent::encode).collect();
        Self { channel, exchange: task.exchange(), bodies, properties: raw::properties() }
    }

    async fn send(&self, number: u64) -> Result<PublisherConfirm> {
        let Self { channel, exchange, bodies, properties } = self;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let body = of(bodies, number);
        let (exchange, key) = (exchange.as_str().into(), KEY.into());
        Ok(channel.basic_publish(exchange, key, options, body, properties.clone()).await?)
    }
}

async fn confirmed(begun: Instant, confirm: PublisherConfirm) -> Result<u32> {
    let confirmation = confirm.await?;
    if !confirmation.is_ack() || confirmation.take_message().is_some() {
        return Err("the broker did not take an event".into());
    }
    Ok(micros(begun))
}

fn micros(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// As many are in the queue as were published.
async fn check(task: &Task) -> Result<()> {
    let (ready, sent) = (raw::ready(task).await?, task.warm_up() + task.events);
    if ready == sent { Ok(()) } else { Err(format!("{sent} were confirmed, and {ready} are there").into()) }
}
