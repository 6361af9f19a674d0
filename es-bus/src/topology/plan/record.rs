//! What a program once declared: kept on the broker, so that what it no longer declares can be told from what is
//! somebody else's.
//!
//! The record of a program is one message in a queue of its own, `es-bus.owned.{program}`: a durable quorum
//! queue, that is bound to nothing and read by nobody. It survives what the topology survives, needs no other
//! server, and is read and written over AMQP 0-9-1 alone. What else was considered:
//!
//! * the arguments of an exchange or a queue: they cannot be changed in place, so that each change is another
//!   object with another name, and AMQP does not tell them, only the management API does;
//! * bindings as the record: they can be changed, but AMQP does not list them either;
//! * a stream: what is wanted is its last message, and two clients that write at once lose one of the two;
//! * a file, a database: not everywhere that a process of the program may run;
//! * a queue of length one that drops the old record for the new: a client that was killed between reading and
//!   writing would have to be trusted to have written all.
//!
//! Who has the message has the record: who writes takes it, publishes the new one, and acknowledges the old
//! one when the broker has confirmed that. Killed in between there are two, and what counts is everything
//! that is in any of them; so nothing that was written is ever forgotten but by who prunes it. A second
//! process waits meanwhile. A record that cannot be read stays as it is, and nothing is pruned.
//!
//! What another program's record names is that one's: a group that moved from one program to another is
//! pruned by neither, where the queues of the broker can be listed.
//!
//! The record is written when a plan is applied, before anything else: a queue that exists is never unknown.
//! A start of the program neither reads nor writes it, so that it is no slower, and needs no more rights.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    message::{Headers, Message, Properties, Value},
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeBinding, ExchangeKind, Observed, Queue,
        QueueKind, Topology,
    },
    name::{ExchangeName, InvalidName, QueueName},
    transport::{
        ConsumeError, ConsumeRequest, Consumer, DeclareError, Delivery, Publication, PublishError,
        QueueStatus, Settlement, Transport,
    },
};

/// What a program once declared could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The program has a name that no queue can be named after.
    #[error(
        "the record of what this program declares cannot be named after it; choose another `program` (ES_BUS_PROGRAM)"
    )]
    Name(#[source] InvalidName),
    /// The queue of the record cannot be had.
    #[error("the record of what this program once declared, queue {queue:?}, cannot be had: {reason}")]
    Queue {
        /// The queue.
        queue: String,
        /// What the broker said.
        reason: String,
    },
    /// Another process has it for longer than it should.
    #[error(
        "the record of what this program once declared, queue {queue:?}, is another process's now: try again when that \
         is through (`rabbitmqctl list_consumers`)"
    )]
    Busy {
        /// The queue.
        queue: String,
    },
    /// What is in the queue is no record, or one of a later version.
    #[error(
        "queue {queue:?} has a message that is no record of what a program declared ({reason}); nothing is pruned by it: \
         update es-bus, or take the message out of the queue"
    )]
    Unreadable {
        /// The queue.
        queue: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The new record did not arrive.
    #[error("the record of what this program declares could not be written")]
    Write(#[source] PublishError),
}

/// The record of one program.
#[derive(Debug)]
pub(crate) struct Record {
    queue: QueueName,
    program: String,
}

impl Record {
    /// The record of the program of this name.
    pub(crate) fn of(program: &str) -> Result<Self, RecordError> {
        let queue = QueueName::new(format!("{PREFIX}{program}")).map_err(RecordError::Name)?;
        Ok(Self { queue, program: program.to_owned() })
    }

    /// The records of other programs that are on a broker, as far as its queues were listed.
    pub(crate) fn others(&self, observed: &Observed) -> Vec<Self> {
        let programs = observed.queues.keys().filter_map(|queue| queue.strip_prefix(PREFIX));
        programs
            .filter(|program| **program != *self.program)
            .filter_map(|program| Self::of(program).ok())
            .collect()
    }

    /// Whose it is.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// What the program once declared; `None` where nothing is remembered. Changes nothing.
    pub(crate) async fn read(&self, transport: &dyn Transport) -> Result<Option<Topology>, RecordError> {
        if self.status(transport).await?.is_none() {
            return Ok(None);
        }
        let held = self.take(transport).await?;
        let read = self.understand(&held.deliveries);
        held.consumer.close().await;
        read
    }

    /// Remembers what `change` makes of what is remembered.
    pub(crate) async fn write(
        &self,
        transport: &dyn Transport,
        change: impl FnOnce(Option<Topology>) -> Topology + Send,
    ) -> Result<(), RecordError> {
        let queue = Queue {
            // Unset it means 20 on RabbitMQ 4, and each look counts.
            delivery_limit: Some(1_000_000),
            ..Queue::durable(self.queue.clone(), QueueKind::Quorum)
        };
        transport.declare_queue(&queue).await.map_err(|error| self.refused(&error))?;
        let Held { consumer, deliveries } = self.take(transport).await?;
        let written = self.replace(transport, &deliveries, change).await;
        if let Ok(true) = written {
            for delivery in deliveries {
                delivery.settle(Settlement::Ack);
            }
        }
        // What was not acknowledged is there again.
        consumer.close().await;
        written.map(drop)
    }

    /// Publishes the new record; `false` where it is the old one.
    async fn replace(
        &self,
        transport: &dyn Transport,
        old: &[Delivery],
        change: impl FnOnce(Option<Topology>) -> Topology + Send,
    ) -> Result<bool, RecordError> {
        let known = self.understand(old)?;
        let new = Written::of(&self.program, &change(known.clone()));
        if old.len() == 1
            && known.as_ref().map(|known| Written::of(&self.program, known)).as_ref() == Some(&new)
        {
            return Ok(false);
        }
        let body = serde_json::to_vec(&new).expect("texts and numbers are JSON");
        let publication = Publication {
            exchange: ExchangeName::default_exchange(),
            routing_key: self.queue.as_str().to_owned().into(),
            message: Message {
                properties: Properties {
                    content_type: Some("application/json".into()),
                    persistent: true,
                    message_id: Some(uuid::Uuid::new_v4().to_string().into()),
                    ..Properties::default()
                },
                headers: Headers::new(),
                body: Bytes::from(body),
            },
            mandatory: true,
            lane: None,
        };
        transport.publish(&publication).await.map_err(RecordError::Write)?;
        Ok(true)
    }

    /// Takes all messages of the queue, once nobody else has any.
    async fn take(&self, transport: &dyn Transport) -> Result<Held, RecordError> {
        let deadline = Instant::now() + PATIENCE;
        // What a consumer gives back is there a moment after it is gone.
        let mut seen_empty = false;
        loop {
            let status = self.status(transport).await?.unwrap_or(QueueStatus { messages: 0, consumers: 0 });
            let mut consumer = None;
            match (status.messages, status.consumers) {
                (0, 0) if seen_empty => consumer = Some(self.consume(transport).await?),
                (0, 0) => seen_empty = true,
                (0, _) => seen_empty = false,
                _ => consumer = Some(self.consume(transport).await?),
            }
            if let Some(mut consumer) = consumer {
                let deliveries = self.drain(transport, &mut consumer).await?;
                if !deliveries.is_empty() || status.messages == 0 {
                    return Ok(Held { consumer, deliveries });
                }
                consumer.close().await;
            }
            if Instant::now() > deadline {
                return Err(RecordError::Busy { queue: self.queue.to_string() });
            }
            sleep(QUIET).await;
        }
    }

    /// All that is there, until nothing more comes.
    async fn drain(
        &self,
        transport: &dyn Transport,
        consumer: &mut Consumer,
    ) -> Result<Vec<Delivery>, RecordError> {
        let mut deliveries = Vec::new();
        loop {
            match timeout(QUIET, consumer.next()).await {
                Ok(Some(Ok(delivery))) => deliveries.push(delivery),
                Ok(Some(Err(error))) => return Err(self.not_consumed(&error)),
                Ok(None) => return Err(self.lost()),
                Err(_elapsed) => match self.status(transport).await? {
                    Some(QueueStatus { messages: 1.., .. }) => {}
                    Some(_) | None => return Ok(deliveries),
                },
            }
        }
    }

    async fn consume(&self, transport: &dyn Transport) -> Result<Consumer, RecordError> {
        let request = ConsumeRequest {
            queue: self.queue.clone(),
            tag: format!("es-bus-record-{}", uuid::Uuid::new_v4()),
            prefetch: 1000,
            exclusive: false,
            may_hold: 0,
            offset: None,
        };
        transport.consume(request).await.map_err(|error| self.not_consumed(&error))
    }

    async fn status(&self, transport: &dyn Transport) -> Result<Option<QueueStatus>, RecordError> {
        transport.queue_status(&self.queue).await.map_err(|error| self.refused(&error))
    }

    /// Everything that is in any of these messages; `None` where there are none.
    fn understand(&self, deliveries: &[Delivery]) -> Result<Option<Topology>, RecordError> {
        let mut all: Option<Topology> = None;
        for delivery in deliveries {
            let read = Written::read(&delivery.received.message.body)
                .map_err(|reason| RecordError::Unreadable { queue: self.queue.to_string(), reason })?;
            all = Some(match all {
                Some(known) => both(&read, &known),
                None => read,
            });
        }
        Ok(all)
    }

    fn refused(&self, error: &DeclareError) -> RecordError {
        RecordError::Queue { queue: self.queue.to_string(), reason: error.to_string() }
    }

    fn not_consumed(&self, error: &ConsumeError) -> RecordError {
        RecordError::Queue { queue: self.queue.to_string(), reason: error.to_string() }
    }

    fn lost(&self) -> RecordError {
        RecordError::Queue { queue: self.queue.to_string(), reason: "the connection was lost".to_owned() }
    }
}

/// The messages of a record, until they are acknowledged or given back.
struct Held {
    consumer: Consumer,
    deliveries: Vec<Delivery>,
}

/// All of the first, and what of the second it does not have. Queues of one connection are left out: they go
/// by themselves. Pure.
pub(crate) fn both(first: &Topology, second: &Topology) -> Topology {
    let mut all = Topology::new();
    for topology in [first, second] {
        // Of one name the first counts.
        for exchange in topology.exchanges() {
            let _ = all.add_exchange(exchange.clone());
        }
        for queue in topology.queues().filter(|queue| !queue.exclusive) {
            let _ = all.add_queue(queue.clone());
        }
        let is_exclusive =
            |it: &Binding| topology.queue(it.queue.as_str()).is_some_and(|queue| queue.exclusive);
        for binding in topology.bindings().filter(|binding| !is_exclusive(binding)) {
            all.add_binding(binding.clone());
        }
        for binding in topology.exchange_bindings() {
            all.add_exchange_binding(binding.clone());
        }
    }
    all
}

/// How the queue of a record is called, before the name of the program.
const PREFIX: &str = "es-bus.owned.";
/// How long another process may have the record.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long nothing may come before the queue is asked whether it has anything.
const QUIET: Duration = Duration::from_millis(100);

/// The form of the record that this version writes.
const VERSION: u32 = 1;

/// A record as it is written: names, and what it takes to remove a thing again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    es_bus_record: u32,
    program: String,
    exchanges: Vec<WrittenExchange>,
    queues: Vec<WrittenQueue>,
    bindings: Vec<WrittenBinding>,
    /// Written where there are any: what does not know of them reads the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exchange_bindings: Vec<WrittenExchangeBinding>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrittenExchange {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrittenQueue {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_letters_to: Option<WrittenDeadLetter>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrittenDeadLetter {
    exchange: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    at_least_once: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrittenBinding {
    source: String,
    queue: String,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<(String, WrittenValue)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrittenExchangeBinding {
    source: String,
    destination: String,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<(String, WrittenValue)>,
}

/// With its type: a binding is removed by exactly what it was made with.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenValue {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F64(f64),
    Str(String),
    Void,
}

impl Written {
    fn of(program: &str, topology: &Topology) -> Self {
        let exchanges = topology.exchanges().map(|it| WrittenExchange {
            name: it.name.as_str().to_owned(),
            kind: it.kind.as_str().to_owned(),
        });
        let queues = topology.queues().map(|it| WrittenQueue {
            name: it.name.as_str().to_owned(),
            kind: it.kind.as_str().to_owned(),
            dead_letters_to: it.dead_letter.as_ref().map(|letter| WrittenDeadLetter {
                exchange: letter.exchange.as_str().to_owned(),
                key: letter.routing_key.clone(),
                at_least_once: letter.strategy == DeadLetterStrategy::AtLeastOnce,
            }),
        });
        // What cannot be written is not known to be the program's, and stays when it is no longer declared.
        let bindings = topology.bindings().filter_map(|it| {
            let arguments = it.arguments.iter().map(|(name, value)| Some((name.to_owned(), written(value)?)));
            Some(WrittenBinding {
                source: it.source.as_str().to_owned(),
                queue: it.queue.as_str().to_owned(),
                key: it.key.clone(),
                arguments: arguments.collect::<Option<_>>()?,
            })
        });
        let exchange_bindings = topology.exchange_bindings().filter_map(|it| {
            let arguments = it.arguments.iter().map(|(name, value)| Some((name.to_owned(), written(value)?)));
            Some(WrittenExchangeBinding {
                source: it.source.as_str().to_owned(),
                destination: it.destination.as_str().to_owned(),
                key: it.key.clone(),
                arguments: arguments.collect::<Option<_>>()?,
            })
        });
        Self {
            es_bus_record: VERSION,
            program: program.to_owned(),
            exchanges: exchanges.collect(),
            queues: queues.collect(),
            bindings: bindings.collect(),
            exchange_bindings: exchange_bindings.collect(),
        }
    }

    fn read(body: &[u8]) -> Result<Topology, String> {
        #[derive(Deserialize)]
        struct Head {
            es_bus_record: u32,
        }
        let head: Head = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if head.es_bus_record != VERSION {
            return Err(format!("it has version {}, and this es-bus reads {VERSION}", head.es_bus_record));
        }
        let written: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        written.topology().map_err(|error| error.to_string())
    }

    fn topology(self) -> Result<Topology, Box<dyn std::error::Error>> {
        let exchange_name = |name: &str| match name {
            "" => Ok(ExchangeName::default_exchange()),
            name => ExchangeName::new(name),
        };
        let mut topology = Topology::new();
        for it in self.exchanges {
            let kind = match ExchangeKind::named(&it.kind) {
                Some(kind) => kind,
                None => it.kind.parse()?,
            };
            // Of one name the first counts.
            let _ = topology.add_exchange(Exchange::durable(exchange_name(&it.name)?, kind));
        }
        for it in self.queues {
            let dead_letter = match it.dead_letters_to {
                None => None,
                Some(letter) => Some(DeadLetter {
                    exchange: exchange_name(&letter.exchange)?,
                    routing_key: letter.key,
                    strategy: if letter.at_least_once {
                        DeadLetterStrategy::AtLeastOnce
                    } else {
                        DeadLetterStrategy::AtMostOnce
                    },
                }),
            };
            let queue = Queue::durable(QueueName::new(&it.name)?, it.kind.parse()?);
            let _ = topology.add_queue(Queue { dead_letter, ..queue });
        }
        for it in self.bindings {
            topology.add_binding(Binding {
                source: exchange_name(&it.source)?,
                queue: QueueName::new(&it.queue)?,
                key: it.key,
                arguments: it.arguments.into_iter().map(|(name, value)| (name, read(value))).collect(),
            });
        }
        for it in self.exchange_bindings {
            topology.add_exchange_binding(ExchangeBinding {
                source: exchange_name(&it.source)?,
                destination: exchange_name(&it.destination)?,
                key: it.key,
                arguments: it.arguments.into_iter().map(|(name, value)| (name, read(value))).collect(),
            });
        }
        Ok(topology)
    }
}

fn written(value: &Value) -> Option<WrittenValue> {
    Some(match value {
        Value::Bool(it) => WrittenValue::Bool(*it),
        Value::I8(it) => WrittenValue::I8(*it),
        Value::U8(it) => WrittenValue::U8(*it),
        Value::I16(it) => WrittenValue::I16(*it),
        Value::U16(it) => WrittenValue::U16(*it),
        Value::I32(it) => WrittenValue::I32(*it),
        Value::U32(it) => WrittenValue::U32(*it),
        Value::I64(it) => WrittenValue::I64(*it),
        Value::F64(it) if it.is_finite() => WrittenValue::F64(*it),
        Value::Str(_) => WrittenValue::Str(value.as_str()?.to_owned()),
        Value::Void => WrittenValue::Void,
        _ => return None,
    })
}

fn read(value: WrittenValue) -> Value {
    match value {
        WrittenValue::Bool(it) => Value::Bool(it),
        WrittenValue::I8(it) => Value::I8(it),
        WrittenValue::U8(it) => Value::U8(it),
        WrittenValue::I16(it) => Value::I16(it),
        WrittenValue::U16(it) => Value::U16(it),
        WrittenValue::I32(it) => Value::I32(it),
        WrittenValue::U32(it) => Value::U32(it),
        WrittenValue::I64(it) => Value::I64(it),
        WrittenValue::F64(it) => Value::F64(it),
        WrittenValue::Str(it) => Value::from(it),
        WrittenValue::Void => Value::Void,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        topology::{
            build,
            fixtures::{PLACED, exchanges, group, handler},
        },
        transport::memory::Memory,
    };

    fn declared() -> Topology {
        build(&[group(vec![handler("project", &["Order.*"], Some(&[PLACED]))])], &[], &exchanges()).unwrap()
    }

    /// What a record keeps of a topology.
    fn kept(topology: &Topology) -> Topology {
        Written::read(&serde_json::to_vec(&Written::of("shop", topology)).unwrap()).unwrap()
    }

    #[test]
    fn keeps_names_dead_letters_and_bindings_to_the_last_type() {
        let mut topology = declared();
        let mut binding = topology.bindings().next().unwrap().clone();
        binding.arguments = [("n", Value::I16(7)), ("x-match", Value::from("any"))].into_iter().collect();
        topology.add_binding(binding);

        let kept = kept(&topology);

        assert_eq!(kept.bindings().collect::<Vec<_>>(), topology.bindings().collect::<Vec<_>>());
        let letters = |topology: &Topology| -> Vec<_> {
            topology
                .queues()
                .map(|queue| (queue.name.clone(), queue.kind, queue.dead_letter.clone()))
                .collect()
        };
        assert_eq!(letters(&kept), letters(&topology));
        assert_eq!(kept.without(&topology), Topology::new());
    }

    #[test]
    fn what_is_no_record_is_refused_with_what_is_wrong() {
        for (body, expected) in [
            ("", "EOF"),
            ("{}", "missing field"),
            ("{\"es_bus_record\":2}", "it has version 2, and this es-bus reads 1"),
            (
                "{\"es_bus_record\":1,\"program\":\"a\",\"exchanges\":[{\"name\":\"a\",\"type\":\"odd\"}],\"queues\":[],\
                 \"bindings\":[]}",
                "\"odd\" is no exchange type",
            ),
        ] {
            let error = Written::read(body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_there_for_the_next_process_and_grows_until_it_is_pruned() {
        let broker = Memory::new();
        let record = Record::of("shop").unwrap();
        assert_eq!(record.read(&broker).await.unwrap(), None);

        record.write(&broker, |known| both(&declared(), &known.unwrap_or_default())).await.unwrap();
        let other: Topology = {
            let mut other = Topology::new();
            let name = ExchangeName::new("other").unwrap();
            other.add_exchange(Exchange::durable(name, ExchangeKind::Topic)).unwrap();
            other
        };
        record.write(&broker.reconnect(), |known| both(&other, &known.unwrap_or_default())).await.unwrap();

        let read = record.read(&broker).await.unwrap().unwrap();
        assert_eq!(read, both(&other, &kept(&declared())));
        assert_eq!(Record::of("mail").unwrap().read(&broker).await.unwrap(), None, "it is another program's");
        let queue = QueueName::new("es-bus.owned.shop").unwrap();
        let status = crate::transport::Admin::queue_status(&broker, &queue).await.unwrap().unwrap();
        assert_eq!((status.messages, status.consumers), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_write_at_once_lose_nothing() {
        let broker = Memory::new();
        let record = Record::of("shop").unwrap();
        let named = |name: &str| {
            let mut topology = Topology::new();
            let name = ExchangeName::new(name).unwrap();
            topology.add_exchange(Exchange::durable(name, ExchangeKind::Topic)).unwrap();
            topology
        };
        let (one, two) = (named("one"), named("two"));
        record.write(&broker, |_| named("zero")).await.unwrap();

        let (left, right) = (broker.reconnect(), broker.reconnect());
        let (a, b) = tokio::join!(
            record.write(&left, |known| both(&one, &known.unwrap_or_default())),
            record.write(&right, |known| both(&two, &known.unwrap_or_default())),
        );

        a.unwrap();
        b.unwrap();
        let read = record.read(&broker).await.unwrap().unwrap();
        let names: Vec<&str> = read.exchanges().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "zero"]);
    }
}
