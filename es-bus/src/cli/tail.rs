//! `tail`: events as they come.
//!
//! A queue of the command's own, which goes with its connection, is bound to the exchange. Nothing is taken from
//! the queues of groups.

use std::{sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use super::{
    CommandError, Context, Exit,
    args::TailArgs,
    context::Program,
    output::{Style, line, moment, short},
};
use crate::{
    dead_letters::headers_json,
    error::Error,
    message::{Headers, Received},
    model::{Binding, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{ConsumeError, ConsumeRequest, DeclareError, LinkState, Settlement, Transport},
    wire,
};

/// How many events the queue holds before it leaves the oldest out.
const MOST: u64 = 10_000;
/// How many are on their way to the terminal.
const PREFETCH: u16 = 100;
/// How long it may take until a connection is known to be lost.
const PAUSE: Duration = Duration::from_millis(500);
/// How much of a body is shown, in characters.
const BODY: usize = 160;

pub(super) async fn tail(args: &TailArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.operated()?;
    let program = Program::of(&bus);
    // What is wrong with what was asked for is said before anything is connected to.
    let (mut queue, mut bindings) = own(args, &program)?;
    cx.open(bus).await?;
    let transport = cx.transport();
    let mut seen = 0;
    // Each turn is a connection.
    loop {
        match follow(&transport, &queue, &bindings, args.limit, &mut seen, cx).await? {
            Ended::Enough => return Ok(Exit::Done),
            Ended::Lost(reason) => {
                cx.remark(&format!(
                    "the connection was lost ({reason}); what is published meanwhile is not shown"
                ))?;
                again(&transport).await?;
                cx.remark("connected again")?;
                // The broker may still hold the former one for a connection that is gone.
                (queue, bindings) = own(args, &program)?;
            }
        }
    }
}

/// A queue of a name that nobody has, and its bindings.
fn own(args: &TailArgs, program: &Program) -> Result<(QueueName, Vec<Binding>), CommandError> {
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let exchange = args.exchange.as_deref().unwrap_or(program.exchanges.default().as_str());
    let queue = QueueName::new(format!("{exchange}.tail.{id}"));
    let queue = queue.map_err(|error| CommandError::Tail { reason: error.to_string() })?;
    let bindings = bindings(args, program, &queue)?;
    Ok((queue, bindings))
}

/// What the queue is bound to. Pure.
fn bindings(args: &TailArgs, program: &Program, queue: &QueueName) -> Result<Vec<Binding>, CommandError> {
    if let Some(group) = &args.group {
        let group = program.group(group)?;
        let bindings = group.bindings();
        if let Some(bound) = bindings.iter().find(|bound| bound.kind == ExchangeKind::ConsistentHash) {
            return Err(CommandError::TakesShare { exchange: bound.exchange.to_string() });
        }
        return Ok(bindings.into_iter().map(|bound| bound.of(queue, 1)).collect());
    }
    let exchange = match &args.exchange {
        Some(name) => {
            ExchangeName::new(name).map_err(|error| CommandError::Tail { reason: error.to_string() })?
        }
        None => program.exchanges.default().clone(),
    };
    let kind = program.exchanges.kind(exchange.as_str());
    let key = |key: &str| Binding::by_key(exchange.clone(), queue.clone(), key);
    match kind {
        ExchangeKind::ConsistentHash => Err(CommandError::TakesShare { exchange: exchange.to_string() }),
        ExchangeKind::Topic if args.key.is_empty() => Ok(vec![key("#")]),
        ExchangeKind::Topic | ExchangeKind::Direct if !args.key.is_empty() => {
            Ok(args.key.iter().map(|pattern| key(pattern)).collect())
        }
        ExchangeKind::Topic | ExchangeKind::Direct => {
            let known = program.registry.kinds().into_iter();
            let known = known.filter(|kind| program.exchanges.of(kind) == exchange.as_str());
            let keys: Vec<Binding> = known.map(|kind| key(kind.key)).collect();
            if keys.is_empty() {
                let reason = format!(
                    "{exchange} is a direct exchange, of which this program knows no event: say which key with --key"
                );
                return Err(CommandError::Tail { reason });
            }
            Ok(keys)
        }
        ExchangeKind::Fanout | ExchangeKind::Headers if !args.key.is_empty() => {
            Err(CommandError::NoPatterns { exchange: exchange.to_string(), kind: kind.as_str() })
        }
        ExchangeKind::Fanout => Ok(vec![key("")]),
        ExchangeKind::Headers => {
            // All of no headers: everything.
            let mut arguments = Headers::new();
            arguments.insert("x-match", "all");
            Ok(vec![Binding {
                source: exchange.clone(),
                queue: queue.clone(),
                key: String::new(),
                arguments,
            }])
        }
    }
}

/// Why no more events come.
enum Ended {
    /// As many as were asked for.
    Enough,
    Lost(String),
}

/// Declares the queue, and prints what comes until the connection is lost.
async fn follow(
    transport: &Arc<dyn Transport>,
    queue: &QueueName,
    bindings: &[Binding],
    limit: Option<u64>,
    seen: &mut u64,
    cx: &mut Context<'_>,
) -> Result<Ended, CommandError> {
    let own = Queue {
        durable: false,
        exclusive: true,
        auto_delete: true,
        max_length: Some(MOST),
        overflow: Some(Overflow::DropHead),
        ..Queue::durable(queue.clone(), QueueKind::Classic)
    };
    if let Err(error) = declare(&**transport, &own, bindings).await {
        return lost(error);
    }
    let request = ConsumeRequest {
        queue: queue.clone(),
        tag: queue.to_string(),
        prefetch: PREFETCH,
        exclusive: true,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = match transport.consume(request).await {
        Ok(consumer) => consumer,
        Err(error) => return lost_consumer(error),
    };
    if *seen == 0 {
        let from: Vec<String> = bindings.iter().map(described).collect();
        cx.remark(&format!("listening to {}; Ctrl-C ends it", from.join(", ")))?;
    }
    while limit.is_none_or(|limit| *seen < limit) {
        let delivery = match consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return lost_consumer(error),
            None => return Ok(Ended::Lost("the consumer ended".to_owned())),
        };
        print(&delivery.received, queue, cx)?;
        // Gone with its channel, it would come again to nobody.
        let _ = delivery.settle(Settlement::Ack);
        *seen += 1;
    }
    consumer.close().await;
    // It went with its consumer, or goes with the connection.
    let _ = transport.delete_queue(queue).await;
    Ok(Ended::Enough)
}

async fn declare(transport: &dyn Transport, queue: &Queue, bindings: &[Binding]) -> Result<(), DeclareError> {
    transport.declare_queue(queue).await?;
    for binding in bindings {
        transport.bind(binding).await?;
    }
    Ok(())
}

fn lost(error: DeclareError) -> Result<Ended, CommandError> {
    match error {
        DeclareError::Interrupted { reason, .. } => Ok(Ended::Lost(reason)),
        DeclareError::Forbidden { reason, .. } => Err(CommandError::Tail {
            reason: format!(
                "the user of the URL may not declare a queue of its own, or not read the exchange; it wants the rights \
                 to configure, write and read queues named `….tail.…` ({reason})"
            ),
        }),
        error => Err(CommandError::Tail { reason: error.to_string() }),
    }
}

fn lost_consumer(error: ConsumeError) -> Result<Ended, CommandError> {
    match error {
        ConsumeError::Refused { .. } => Err(CommandError::Tail { reason: error.to_string() }),
        error => Ok(Ended::Lost(error.to_string())),
    }
}

/// Waits for the next connection.
async fn again(transport: &Arc<dyn Transport>) -> Result<(), CommandError> {
    // A link that is still up will be told of its loss in a moment; and a queue may be lost without it.
    tokio::time::sleep(PAUSE).await;
    let mut link = transport.link();
    loop {
        let state = link.borrow_and_update().state.clone();
        match state {
            LinkState::Up => return Ok(()),
            LinkState::Fatal(error) => return Err(Error::from(error).into()),
            LinkState::Closed => return Err(Error::Closed.into()),
            LinkState::Connecting | LinkState::Backoff { .. } => {
                if link.changed().await.is_err() {
                    return Err(Error::Closed.into());
                }
            }
        }
    }
}

fn described(binding: &Binding) -> String {
    match binding.key.as_str() {
        "" => format!("all of {}", binding.source),
        key => format!("{key} on {}", binding.source),
    }
}

fn print(received: &Received, queue: &QueueName, cx: &mut Context<'_>) -> Result<(), CommandError> {
    use std::io::Write;

    let shown = Shown::of(received, queue);
    if cx.is_json() {
        let text = serde_json::to_string(&shown.json(received)).map_err(std::io::Error::from)?;
        writeln!(cx.io.out, "{text}")?;
    } else {
        let text = shown.text(received, cx.io.style);
        writeln!(cx.io.out, "{text}")?;
    }
    Ok(cx.io.out.flush()?)
}

/// A body without the fields of its envelope, which say again what stands before it, and would leave no room.
fn own_fields(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(Json::Object(mut fields)) if fields.contains_key("event_type") => {
            fields.retain(|name, _| !wire::ENVELOPE_FIELDS.contains(&name.as_str()));
            Json::Object(fields).to_string()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// What is told of an event.
struct Shown {
    at: OffsetDateTime,
    event_type: Option<String>,
    event_id: Option<String>,
}

impl Shown {
    fn of(received: &Received, queue: &QueueName) -> Self {
        let metadata = wire::decode_metadata(received).ok();
        let stamped = received.message.properties.timestamp.and_then(|seconds| i64::try_from(seconds).ok());
        let stamped = stamped.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Self {
            // When it happened; what says nothing of that came now.
            at: metadata
                .as_ref()
                .map(|it| it.occurred_at)
                .or(stamped)
                .unwrap_or_else(OffsetDateTime::now_utc),
            event_type: wire::origin(received, queue.as_str()).event_type,
            event_id: wire::event_id(received).map(|id| id.into_owned()),
        }
    }

    fn text(&self, received: &Received, style: Style) -> String {
        let body = own_fields(&received.message.body);
        format!(
            "{}  {}  {}  {}  {}",
            moment(self.at),
            style.bold(&line(&received.routing_key)),
            line(self.event_type.as_deref().unwrap_or("-")),
            style.dim(&line(self.event_id.as_deref().unwrap_or("-"))),
            short(&body, BODY),
        )
    }

    fn json(&self, received: &Received) -> Json {
        let body = &received.message.body;
        let body = serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        json!({
            "time": self.at.format(&time::format_description::well_known::Rfc3339).ok(),
            "exchange": received.exchange,
            "routing_key": received.routing_key,
            "event_type": self.event_type,
            "event_id": self.event_id,
            "headers": headers_json(&received.message.headers),
            "body": body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Topology, registry::Registry, topology::Exchanges};

    fn asked(kind: ExchangeKind, keys: &[&str]) -> Result<Vec<(String, usize)>, String> {
        let program = Program {
            topology: Topology::new(),
            groups: Vec::new(),
            exchanges: Exchanges::new(ExchangeName::new("shop").expect("a name"), kind, &[]),
            registry: Registry::new(),
            dead_letters: Vec::new(),
        };
        let args = TailArgs {
            key: keys.iter().map(|key| (*key).to_owned()).collect(),
            exchange: None,
            group: None,
            limit: None,
        };
        let (queue, bindings) = own(&args, &program).map_err(|error| error.to_string())?;
        assert!(bindings.iter().all(|it| it.source.as_str() == "shop" && it.queue == queue));
        Ok(bindings.into_iter().map(|it| (it.key, it.arguments.len())).collect())
    }

    #[test]
    fn every_kind_of_exchange_is_listened_to_in_its_own_way() {
        let key = |key: &str| (key.to_owned(), 0);

        assert_eq!(asked(ExchangeKind::Topic, &[]), Ok(vec![key("#")]));
        assert_eq!(asked(ExchangeKind::Topic, &["Order.*", "a.b"]), Ok(vec![key("Order.*"), key("a.b")]));
        assert_eq!(asked(ExchangeKind::Direct, &["a.b"]), Ok(vec![key("a.b")]));
        assert!(asked(ExchangeKind::Direct, &[]).is_err_and(|error| error.contains("--key")));
        assert_eq!(asked(ExchangeKind::Fanout, &[]), Ok(vec![key("")]));
        assert!(
            asked(ExchangeKind::Fanout, &["a.b"]).is_err_and(|error| error.contains("a fanout exchange"))
        );
        // By no header at all: everything.
        assert_eq!(asked(ExchangeKind::Headers, &[]), Ok(vec![(String::new(), 1)]));
    }
}
