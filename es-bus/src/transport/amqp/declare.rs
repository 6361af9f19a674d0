//! Declares, binds, deletes and looks.
//!
//! Goes over the consuming connection, which the broker does not block. A declaration that the
//! broker refuses costs its channel, so each call takes a channel for itself and gives it back
//! only when all went well.
//!
//! Of a queue whose nodes are down the broker may say nothing for as long as they are (RabbitMQ 4.0, and
//! 3.10 for a quorum queue), and its channel is of no use until then. So there is an end to waiting, and
//! nobody asks again before the broker is through with the last question: a node that is down for a night
//! would cost all channels there are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::{
    Channel, ExchangeKind as Kind,
    options::{
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{FieldTable, ShortString},
};

use tokio::time::{Instant, timeout};

use super::{classify, connect::Sessions, convert};
use crate::{
    model::{Binding, Exchange, ExchangeBinding, ExchangeKind, Queue},
    name::{ExchangeName, QueueName},
    transport::{DeclareError, QueueStatus, Removal, lock_is_gone},
    wire::TooLarge,
};

/// How many idle channels are kept.
const IDLE: usize = 4;
/// How long the broker has to answer. A busy one may take seconds over a quorum queue.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a question that nobody waits for any more keeps others from asking: not at all at first, as
/// most of them are answered in the next moment.
const LEFT_IN_PEACE: Duration = Duration::from_secs(2);

/// Declares on a broker.
pub(super) struct Declarer {
    sessions: Sessions,
    /// Channels that did well, with the generation they belong to.
    idle: Mutex<Vec<(u64, Channel)>>,
    unanswered: Unanswered,
}

/// What the broker was asked about and has not answered although nobody waits for it any more, and since
/// when.
#[derive(Clone, Default)]
struct Unanswered(Arc<Mutex<HashMap<String, Instant>>>);

impl Declarer {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions, idle: Mutex::default(), unanswered: Unanswered::default() }
    }

    pub(super) async fn declare_exchange(&self, exchange: &Exchange) -> Result<(), DeclareError> {
        let subject = Subject { what: "exchange", name: exchange.name.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let arguments = convert::table(&exchange.arguments).map_err(|error| subject.refused(&error))?;
        let kind = match exchange.kind {
            ExchangeKind::Topic => Kind::Topic,
            ExchangeKind::Direct => Kind::Direct,
            ExchangeKind::Fanout => Kind::Fanout,
            ExchangeKind::Headers => Kind::Headers,
            ExchangeKind::ConsistentHash => Kind::Custom(exchange.kind.as_str().to_owned()),
        };
        let options = ExchangeDeclareOptions {
            passive: false,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            nowait: false,
        };
        let passive = ExchangeDeclareOptions { passive: true, ..options };
        let (again, of_kind) = (name.clone(), kind.clone());
        let declared = self
            .call(subject, async |channel| channel.exchange_declare(name, kind, options, arguments).await)
            .await
            .map_err(|error| classify::without_plugin(error, exchange));
        self.unless_there(declared, subject, async |channel| {
            channel.exchange_declare(again, of_kind, passive, FieldTable::default()).await
        })
        .await
    }

    pub(super) async fn declare_queue(&self, queue: &Queue) -> Result<(), DeclareError> {
        let subject = Subject { what: "queue", name: queue.name.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let arguments = convert::table(&queue.argument_table()).map_err(|error| subject.refused(&error))?;
        let options = QueueDeclareOptions {
            passive: false,
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            nowait: false,
        };
        let passive = QueueDeclareOptions { passive: true, ..options };
        let again = name.clone();
        let declared = self
            .call(subject, async |channel| {
                channel.queue_declare(name, options, arguments).await?;
                Ok(())
            })
            .await;
        self.unless_there(declared, subject, async |channel| {
            channel.queue_declare(again, passive, FieldTable::default()).await?;
            Ok(())
        })
        .await
    }

    /// A user without the right to configure may not declare even what is there, so a declaration
    /// that is forbidden counts as done when a passive one finds it. Its settings stay unknown.
    async fn unless_there(
        &self,
        declared: Result<(), DeclareError>,
        subject: Subject<'_>,
        find: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
    ) -> Result<(), DeclareError> {
        match declared {
            Err(forbidden @ DeclareError::Forbidden { .. }) => match self.call(subject, find).await {
                Ok(()) => {
                    tracing::debug!(
                        "{} {:?} is there; its settings were not checked",
                        subject.what,
                        subject.name
                    );
                    Ok(())
                }
                Err(lost @ DeclareError::Interrupted { .. }) => Err(lost),
                Err(_) => Err(forbidden),
            },
            declared => declared,
        }
    }

    pub(super) async fn bind(&self, binding: &Binding) -> Result<(), DeclareError> {
        let label = label(binding);
        let subject = Subject { what: "binding", name: &label };
        let (queue, exchange, key, arguments) = parts(binding).map_err(|error| subject.refused(&error))?;
        let options = QueueBindOptions { nowait: false };
        self.call(subject, async |channel| channel.queue_bind(queue, exchange, key, options, arguments).await)
            .await
    }

    pub(super) async fn unbind(&self, binding: &Binding) -> Result<(), DeclareError> {
        let label = label(binding);
        let subject = Subject { what: "binding", name: &label };
        let (queue, exchange, key, arguments) = parts(binding).map_err(|error| subject.refused(&error))?;
        self.call(subject, async |channel| channel.queue_unbind(queue, exchange, key, arguments).await).await
    }

    pub(super) async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<(), DeclareError> {
        let label = exchange_label(binding);
        let subject = Subject { what: "binding", name: &label };
        let (destination, source, key, arguments) =
            exchange_parts(binding).map_err(|error| subject.refused(&error))?;
        let options = ExchangeBindOptions { nowait: false };
        self.call(subject, async |channel| {
            channel.exchange_bind(destination, source, key, options, arguments).await
        })
        .await
    }

    pub(super) async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<(), DeclareError> {
        let label = exchange_label(binding);
        let subject = Subject { what: "binding", name: &label };
        let (destination, source, key, arguments) =
            exchange_parts(binding).map_err(|error| subject.refused(&error))?;
        let options = ExchangeUnbindOptions { nowait: false };
        self.call(subject, async |channel| {
            channel.exchange_unbind(destination, source, key, options, arguments).await
        })
        .await
    }

    pub(super) async fn delete_queue(&self, queue: &QueueName) -> Result<(), DeclareError> {
        self.delete_queue_if(queue, false).await
    }

    /// Deletes a queue without messages and consumers.
    pub(super) async fn delete_idle_queue(
        &self,
        queue: &QueueName,
        classic: bool,
    ) -> Result<(), DeclareError> {
        if classic {
            return self.delete_queue_if(queue, true).await;
        }
        match self.queue_status(queue).await? {
            None => Ok(()),
            Some(QueueStatus { messages: 0, consumers: 0 }) => self.delete_queue(queue).await,
            Some(QueueStatus { messages, consumers }) => Err(DeclareError::Refused {
                what: "queue",
                name: queue.to_string(),
                reason: format!("it has {messages} messages and {consumers} consumers"),
            }),
        }
    }

    /// If-empty and if-unused are for classic queues alone: a quorum queue answers them with 540, which ends
    /// the connection.
    async fn delete_queue_if(&self, queue: &QueueName, idle: bool) -> Result<(), DeclareError> {
        let subject = Subject { what: "queue", name: queue.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let options = QueueDeleteOptions { if_unused: idle, if_empty: idle, nowait: false };
        self.call(subject, async |channel| channel.queue_delete(name, options).await).await?;
        Ok(())
    }

    /// Removes something on a channel of the connection that has the lock.
    pub(super) async fn remove_while_locked(
        &self,
        removal: &Removal,
        lock: &QueueName,
    ) -> Result<(), DeclareError> {
        let held = Subject { what: "queue", name: lock.as_str() };
        let lock_name = short(held.name).map_err(|error| held.refused(&error))?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let label = match removal {
            Removal::Binding(binding) => label(binding),
            Removal::Queue(name) => name.to_string(),
            Removal::Exchange(name) => name.to_string(),
        };
        let what = match removal {
            Removal::Queue(_) => "queue",
            Removal::Exchange(_) => "exchange",
            Removal::Binding(_) => "binding",
        };
        let subject = Subject { what, name: &label };
        let parted = match removal {
            Removal::Binding(binding) => Some(parts(binding).map_err(|error| subject.refused(&error))?),
            Removal::Queue(_) | Removal::Exchange(_) => None,
        };
        let name = |name: &str| short(name).map_err(|error| subject.refused(&error));
        let (queue, exchange) = match removal {
            Removal::Queue(queue) => (Some(name(queue.as_str())?), None),
            Removal::Exchange(exchange) => (None, Some(name(exchange.as_str())?)),
            Removal::Binding(_) => (None, None),
        };
        let removed = self.call(held, async |channel| {
            match channel.queue_declare(lock_name, passive, FieldTable::default()).await {
                Ok(_) => {}
                Err(error) if classify::is_missing(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let mut removed = Ok(());
            if let Some(queue) = queue {
                removed = channel.queue_delete(queue, QueueDeleteOptions::default()).await.map(drop);
            }
            if let Some(exchange) = exchange {
                removed = channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await;
            }
            if let Some((queue, exchange, key, arguments)) = parted {
                removed = channel.queue_unbind(queue, exchange, key, arguments).await;
            }
            Ok(Some(removed))
        });
        match removed.await? {
            None => Err(lock_is_gone(lock)),
            Some(removed) => removed.map_err(|error| classify::declare(&error, subject.what, subject.name)),
        }
    }

    pub(super) async fn delete_exchange(&self, exchange: &ExchangeName) -> Result<(), DeclareError> {
        self.delete_exchange_if(exchange, false).await
    }

    /// Deletes an exchange that nothing is bound to.
    pub(super) async fn delete_unused_exchange(&self, exchange: &ExchangeName) -> Result<(), DeclareError> {
        self.delete_exchange_if(exchange, true).await
    }

    async fn delete_exchange_if(&self, exchange: &ExchangeName, unused: bool) -> Result<(), DeclareError> {
        let subject = Subject { what: "exchange", name: exchange.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let options = ExchangeDeleteOptions { if_unused: unused, nowait: false };
        self.call(subject, async |channel| channel.exchange_delete(name, options).await).await
    }

    pub(super) async fn exchange_exists(&self, exchange: &ExchangeName) -> Result<bool, DeclareError> {
        if exchange.as_str().is_empty() {
            // Always there, and not to be declared, not even passively (403).
            return Ok(true);
        }
        let subject = Subject { what: "exchange", name: exchange.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        self.call(subject, async |channel| {
            // The kind of a passive declaration is not looked at.
            match channel.exchange_declare(name, Kind::Direct, options, FieldTable::default()).await {
                Ok(()) => Ok(true),
                Err(error) if classify::reply_code(&error) == Some(404) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    pub(super) async fn queue_status(&self, queue: &QueueName) -> Result<Option<QueueStatus>, DeclareError> {
        let subject = Subject { what: "queue", name: queue.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.call(subject, async |channel| {
            match channel.queue_declare(name, options, FieldTable::default()).await {
                Ok(queue) => Ok(Some(QueueStatus {
                    messages: u64::from(queue.message_count()),
                    consumers: u64::from(queue.consumer_count()),
                })),
                Err(error) if classify::is_missing(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    pub(super) async fn purge(&self, queue: &QueueName) -> Result<u64, DeclareError> {
        let subject = Subject { what: "queue", name: queue.as_str() };
        let name = short(subject.name).map_err(|error| subject.refused(&error))?;
        let options = QueuePurgeOptions { nowait: false };
        self.call(subject, async |channel| channel.queue_purge(name, options).await).await.map(u64::from)
    }

    /// Makes one call on a channel that nobody else uses meanwhile.
    async fn call<T>(
        &self,
        subject: Subject<'_>,
        call: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
    ) -> Result<T, DeclareError> {
        let session = self.sessions.current().map_err(|reason| subject.interrupted(reason))?;
        if let Some(since) = self.unanswered.since(subject).filter(|since| *since > LEFT_IN_PEACE) {
            return Err(subject.down(since));
        }
        let asked = Instant::now();
        let result = tokio::select! {
            biased;
            result = timeout(ANSWER_WITHIN, async {
                let channel = match self.take(session.generation) {
                    Some(channel) => channel,
                    None => session.connection.create_channel().await?,
                };
                let mut asking = Asking { channel: Some(channel.clone()), subject, asked, of: &self.unanswered };
                let result = call(&channel).await;
                asking.channel = None;
                let value = result?;
                if let Some(channel) = self.keep(session.generation, channel) {
                    // Not left to lapin's destructor: one that fails ends the connection.
                    let _ = channel.close(200, "OK".into()).await;
                }
                Ok(value)
            }) => result.map_err(|_elapsed| subject.down(asked.elapsed()))?,
            () = session.lost.cancelled() => return Err(subject.interrupted(session.reason())),
        };
        result.map_err(|error| classify::declare(&error, subject.what, subject.name))
    }

    fn take(&self, generation: u64) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, channel)| *of == generation && channel.status().connected());
        idle.pop().map(|(_, channel)| channel)
    }

    /// Keeps a channel for the next call; gives it back when there are enough.
    fn keep(&self, generation: u64, channel: Channel) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && channel.status().connected() {
            idle.push((generation, channel));
            return None;
        }
        Some(channel)
    }
}

/// A question to the broker, until it is answered.
struct Asking<'a> {
    /// None once it is answered.
    channel: Option<Channel>,
    subject: Subject<'a>,
    asked: Instant,
    of: &'a Unanswered,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.of.leave(self.subject, self.asked, channel);
        }
    }
}

impl Unanswered {
    /// How long the broker owes an answer about something.
    fn since(&self, subject: Subject<'_>) -> Option<Duration> {
        self.lock().get(&subject.key()).map(Instant::elapsed)
    }

    /// Leaves a channel to itself, until the broker is through with what it was asked there.
    fn leave(&self, subject: Subject<'_>, asked: Instant, channel: Channel) {
        let (unanswered, key) = (self.clone(), subject.key());
        // Without a runtime the program is over.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.lock().entry(key.clone()).or_insert(asked);
        runtime.spawn(async move {
            // A channel does one thing after another: its farewell is answered last. It fails when the
            // connection is lost.
            let _ = channel.close(200, "OK".into()).await;
            unanswered.lock().remove(&key);
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A binding in words.
fn label(binding: &Binding) -> String {
    format!("{} -> {} ({})", binding.source, binding.queue, binding.key)
}

fn exchange_label(binding: &ExchangeBinding) -> String {
    format!("{} -> exchange {} ({})", binding.source, binding.destination, binding.key)
}

fn short(name: &str) -> Result<ShortString, TooLarge> {
    convert::short("the name", name)
}

/// Queue, exchange, key and arguments of a binding.
fn parts(binding: &Binding) -> Result<(ShortString, ShortString, ShortString, FieldTable), TooLarge> {
    Ok((
        short(binding.queue.as_str())?,
        short(binding.source.as_str())?,
        convert::short("the key", &binding.key)?,
        convert::table(&binding.arguments)?,
    ))
}

/// Destination, source, key and arguments of a binding between exchanges.
fn exchange_parts(
    binding: &ExchangeBinding,
) -> Result<(ShortString, ShortString, ShortString, FieldTable), TooLarge> {
    Ok((
        short(binding.destination.as_str())?,
        short(binding.source.as_str())?,
        convert::short("the key", &binding.key)?,
        convert::table(&binding.arguments)?,
    ))
}

/// What a call is about, for its errors.
#[derive(Clone, Copy)]
struct Subject<'a> {
    what: &'static str,
    name: &'a str,
}

impl Subject<'_> {
    fn refused(self, TooLarge { what, size, limit }: &TooLarge) -> DeclareError {
        DeclareError::Refused {
            what: self.what,
            name: self.name.to_owned(),
            reason: format!("{what} has {size} bytes, at most {limit} can be carried"),
        }
    }

    fn key(self) -> String {
        format!("{} {}", self.what, self.name)
    }

    fn down(self, since: Duration) -> DeclareError {
        DeclareError::Down {
            what: self.what,
            name: self.name.to_owned(),
            reason: format!("the broker has not answered for {} s", since.as_secs()),
        }
    }

    fn interrupted(self, reason: String) -> DeclareError {
        DeclareError::Interrupted { what: self.what, name: self.name.to_owned(), reason }
    }
}
