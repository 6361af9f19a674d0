//! What a program says to lapin: connections, the topology that es-bus declares, the fill of a queue.

use es_bus::{
    message::{Headers, Value},
    model::{ExchangeKind, Topology},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};

use crate::{Fault, Result, task::Task};

/// A connection with the defaults: frames of 128 KiB, as es-bus has them.
pub(super) async fn connect(task: &Task) -> Result<Connection> {
    Ok(Connection::connect(&task.url, ConnectionProperties::default()).await?)
}

/// A channel on which publishes are confirmed.
pub(super) async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// What goes with a message: it is JSON, and kept on disk.
pub(super) fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into())
}

/// How many messages of the queue are ready, asked over a connection of its own.
pub(super) async fn ready(task: &Task) -> Result<u64> {
    let connection = connect(task).await?;
    // Held until the connection is closed: dropped, it would be closed at the same time.
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(task.queue().into(), options, FieldTable::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(queue.message_count().into())
}

/// Declares all of a topology, on so many channels side by side.
pub(super) async fn declare(connection: &Connection, topology: &Topology, channels: usize) -> Result<()> {
    let mut pool = Vec::new();
    for _ in 0..channels {
        pool.push(connection.create_channel().await?);
    }
    let on = |number: usize| &pool[number % pool.len()];
    stream::iter(topology.exchanges().enumerate())
        .map(Ok::<_, Fault>)
        .try_for_each_concurrent(channels, async |(number, exchange)| {
            let kind = match exchange.kind {
                ExchangeKind::Topic => lapin::ExchangeKind::Topic,
                ExchangeKind::Direct => lapin::ExchangeKind::Direct,
                ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
                ExchangeKind::Headers => lapin::ExchangeKind::Headers,
                _ => return Err("a kind of exchange that this program does not know".into()),
            };
            let options = ExchangeDeclareOptions {
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                ..Default::default()
            };
            let arguments = table(&exchange.arguments)?;
            on(number).exchange_declare(exchange.name.as_str().into(), kind, options, arguments).await?;
            Ok::<_, Fault>(())
        })
        .await?;
    stream::iter(topology.queues().enumerate())
        .map(Ok::<_, Fault>)
        .try_for_each_concurrent(channels, async |(number, queue)| {
            let options = QueueDeclareOptions {
                durable: queue.durable,
                exclusive: queue.exclusive,
                auto_delete: queue.auto_delete,
                ..Default::default()
            };
            let arguments = table(&queue.argument_table())?;
            on(number).queue_declare(queue.name.as_str().into(), options, arguments).await?;
            Ok::<_, Fault>(())
        })
        .await?;
    stream::iter(topology.bindings().enumerate())
        .map(Ok::<_, Fault>)
        .try_for_each_concurrent(channels, async |(number, binding)| {
            let (queue, source) = (binding.queue.as_str().into(), binding.source.as_str().into());
            let (key, arguments) = (binding.key.as_str().into(), table(&binding.arguments)?);
            on(number).queue_bind(queue, source, key, QueueBindOptions::default(), arguments).await?;
            Ok::<_, Fault>(())
        })
        .await?;
    for channel in pool {
        channel.close(200, "done".into()).await?;
    }
    Ok(())
}

/// The arguments of what is declared: texts, numbers and truths.
fn table(headers: &Headers) -> Result<FieldTable> {
    let mut table = FieldTable::default();
    for (name, value) in headers.iter() {
        let value = match value {
            Value::Bool(truth) => AMQPValue::Boolean(*truth),
            Value::Str(text) => AMQPValue::LongString(LongString::from(text.to_vec())),
            Value::I8(number) => AMQPValue::ShortShortInt(*number),
            Value::I16(number) => AMQPValue::ShortInt(*number),
            Value::I32(number) => AMQPValue::LongInt(*number),
            Value::I64(number) => AMQPValue::LongLongInt(*number),
            Value::U8(number) => AMQPValue::ShortShortUInt(*number),
            Value::U16(number) => AMQPValue::ShortUInt(*number),
            Value::U32(number) => AMQPValue::LongUInt(*number),
            other => return Err(format!("the argument {name} has {other:?}, which nothing declares").into()),
        };
        table.insert(name.into(), value);
    }
    Ok(table)
}
