//! The publisher: shared by the program, the handlers and the bus.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    AnyEvent, Background, BatchItem, Publish, PublishAll, PublishError, PublishHandle, RawPublish,
    background::{Entrance, background},
    lanes::Lane,
    options::{Options, encode, lane_of},
    turns::Turns,
};
use crate::{
    clock::Clock,
    event::{Event, EventKind, Unroutable},
    extract::FromDelivery,
    handler::Invocation,
    message::{Message, Text},
    metadata::Metadata,
    name::ExchangeName,
    otel,
    outcome::HandlerError,
    telemetry::Counters,
    topic,
    topology::{Provision, ProvisionError},
    transport::{Link, LinkState, Publication},
    wire,
};

/// How a publisher behaves.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// The exchange of events that name none.
    pub exchange: ExchangeName,
    /// How long a publish may take, waiting for the connection included.
    pub timeout: Duration,
    /// How many events of one list are under way at once.
    pub batch: usize,
    /// How many events may be on their way in the background.
    pub background: usize,
    /// The largest body that an event may have, in bytes.
    pub max_body: usize,
    /// Whether publishes are traced.
    pub tracing: bool,
}

/// Publishes events.
///
/// A clone is cheap and shares the connection. As the argument of a handler it remembers the event
/// that is handled: what it publishes carries on that event's correlation, tenant and actor, and
/// names it as its cause.
///
/// # Examples
///
/// ```
/// # use es_bus::{event::Event, HandlerError, Publisher};
/// async fn ship<E: Event>(order: E, publisher: Publisher) -> Result<(), HandlerError> {
///     publisher.publish(&order).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    cause: Option<Arc<Metadata>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("exchange", &self.shared.settings.exchange)
            .field("cause", &self.cause.as_ref().map(|cause| &cause.event_id))
            .finish_non_exhaustive()
    }
}

struct Shared {
    provision: Arc<Provision>,
    settings: PublisherSettings,
    clock: Clock,
    counters: Arc<Counters>,
    closed: AtomicBool,
    background: Entrance,
    turns: Turns,
    /// Routing keys for which it was told that nobody takes them.
    warned: Mutex<HashSet<String>>,
}

/// An event as it goes out.
pub(super) struct Prepared {
    publication: Publication,
    pub(super) event_id: String,
    event_type: &'static str,
    unroutable: Unroutable,
    /// What was under way when the event was given: it may be sent from elsewhere, later.
    parent: otel::Parent,
}

/// When a publish that gets no answer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// When its time is up.
    Once,
    /// When the bus ends.
    Endless,
}

impl Publisher {
    /// A publisher on a provisioned broker, and what has to run for what it publishes in the
    /// background.
    #[must_use]
    pub(crate) fn new(
        provision: Arc<Provision>,
        settings: PublisherSettings,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> (Self, Background) {
        let (entrance, background) = background(settings.background, Arc::clone(&counters));
        let shared = Shared {
            provision,
            settings,
            clock,
            counters,
            closed: AtomicBool::new(false),
            background: entrance,
            turns: Turns::default(),
            warned: Mutex::default(),
        };
        (Self { shared: Arc::new(shared), cause: None }, background)
    }

    /// Publishes an event; `.await` gives its id once the broker has confirmed it.
    ///
    /// An event that no queue takes is gone. That is an error when this program itself declares a
    /// binding for it, or the event is marked `mandatory`. Otherwise it is `Ok`: counted as
    /// [`unroutable`](crate::telemetry::Counts::unroutable), with a warning in the log once per
    /// routing key, unless the event is marked `optional`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; after `TimedOut` the broker may have the event or not, and publishing it
    /// again under the same [`id`](Publish::id) is at worst a duplicate.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may or may not have published.
    pub fn publish<'a, E: Event>(&'a self, event: &'a E) -> Publish<'a> {
        Publish::new(self, event)
    }

    /// Publishes an event of whatever type.
    pub(crate) fn publish_any<'a>(&'a self, event: &'a dyn AnyEvent) -> Publish<'a> {
        Publish::new(self, event)
    }

    /// Publishes an event while the caller does something else: short for
    /// `publish(event).in_background()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use es_bus::{event::Event, PublishError, Publisher};
    /// # async fn example<E: Event>(publisher: &Publisher, seen: &E) -> Result<(), PublishError> {
    /// drop(publisher.publish_background(seen).await?); // whatever becomes of it
    ///
    /// let handle = publisher.publish_background(seen).await?;
    /// // something else
    /// let id = handle.await?; // the broker has it
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Publish::in_background`], where also is said what a kill leaves behind.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it has not taken the event.
    pub async fn publish_background<E: Event>(&self, event: &E) -> Result<PublishHandle, PublishError> {
        self.publish(event).in_background().await
    }

    /// Publishes many events and reports on each.
    ///
    /// Takes references to events, or [`Publish`]es with something said of each; events of several
    /// types as an event set, as `Publish`es, or as boxes of [`AnyEvent`].
    ///
    /// Events of one aggregate go out in the order of the list; when one fails, those behind it in
    /// its aggregate are held back, and all others go on. Events that name no aggregate are kept in
    /// order among themselves. [`in_order`](PublishAll::in_order) keeps the whole list in order. An
    /// event that no queue takes counts as published where [`publish`](Self::publish) gives `Ok`.
    ///
    /// `publish_batch` events of the list are encoded and on their way at once. All callers together
    /// have `publish_window` unconfirmed publishes on the connection; what is beyond waits in line.
    ///
    /// # Examples
    ///
    /// ```
    /// # use es_bus::{event::Event, Publisher};
    /// # async fn example<E: Event>(publisher: &Publisher, orders: &[E]) {
    /// let report = publisher.publish_all(orders).await;
    /// for failed in &report.failed {
    ///     match &failed.error {
    ///         Some(error) => println!("{}: {error}", failed.index),
    ///         None => println!("{}: held back behind the one that failed", failed.index),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Of a dropped call nobody knows which events were published.
    pub fn publish_all<'a, I>(&'a self, events: I) -> PublishAll<'a>
    where
        I: IntoIterator<IntoIter: Send + 'a, Item: BatchItem<'a>>,
    {
        PublishAll::new(self, events)
    }

    /// Publishes something that is no event: JSON, or any bytes, to any exchange.
    ///
    /// The exchange has to be there; an empty name is the default exchange, whose routing keys are
    /// the names of queues.
    pub fn raw(&self, exchange: impl Into<String>, routing_key: impl Into<String>) -> RawPublish<'_> {
        RawPublish::new(self, exchange.into(), routing_key.into())
    }

    /// Publishes a message as it is, with no envelope made for it: for bridges and for tests.
    ///
    /// # Errors
    ///
    /// [`PublishError`], as for an event; an unroutable message is an error.
    pub async fn publish_message(
        &self,
        exchange: ExchangeName,
        routing_key: impl Into<String>,
        message: Message,
    ) -> Result<(), PublishError> {
        let publication = Publication {
            exchange,
            routing_key: routing_key.into().into(),
            message,
            mandatory: true,
            lane: None,
        };
        self.send_raw(publication).await
    }

    pub(super) async fn send_raw(&self, publication: Publication) -> Result<(), PublishError> {
        self.confirm(&publication).await.inspect_err(|error| self.failed(error))
    }

    pub(super) async fn enter(&self, lane: Lane, prepared: Prepared) -> Result<PublishHandle, PublishError> {
        self.shared.background.enter(lane, prepared, self.shared.settings.timeout).await
    }

    /// Takes nothing into the background any more; what is there is still published.
    pub(crate) fn drain(&self) {
        self.shared.background.drain();
    }

    /// How many events are on their way in the background.
    #[cfg(feature = "testing")]
    pub(crate) fn in_background(&self) -> usize {
        self.shared.background.under_way()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(super) fn settings(&self) -> &PublisherSettings {
        &self.shared.settings
    }

    /// Refuses every publish from now on.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// The same publisher, with what it publishes caused by an event.
    #[must_use]
    pub fn caused_by(&self, cause: Metadata) -> Self {
        Self { shared: Arc::clone(&self.shared), cause: Some(Arc::new(cause)) }
    }

    pub(super) fn prepare(
        &self,
        event: &dyn AnyEvent,
        mut options: Options,
    ) -> Result<Prepared, PublishError> {
        let kind = event.any_kind();
        let routing_key = match options.key.take() {
            Some(key) => key.into(),
            None => own_key(event, kind)?,
        };
        let (metadata, message) =
            encode(event, options, self.cause.as_deref(), self.shared.clock.now(), wire::new_id)?;
        let (size, limit) = (message.body.len(), self.shared.settings.max_body);
        if size > limit {
            return Err(PublishError::TooLarge { what: "the body".to_owned(), size, limit });
        }
        let exchange = match kind.exchange {
            None => self.shared.settings.exchange.clone(),
            Some(name) => ExchangeName::new(name).map_err(|error| PublishError::Encode(error.into()))?,
        };
        let lane = lane_of(event, metadata.aggregate_id.as_deref());
        Ok(Prepared {
            publication: Publication { exchange, routing_key, message, mandatory: true, lane },
            event_id: metadata.event_id,
            event_type: kind.name,
            unroutable: kind.unroutable,
            parent: otel::Parent::current(),
        })
    }

    pub(super) async fn send(&self, prepared: &mut Prepared, patience: Patience) -> Result<(), PublishError> {
        let Prepared { publication, event_id, event_type, unroutable, parent } = prepared;
        let span = otel::Sending::start(self.shared.settings.tracing, parent, publication);
        let verdict = loop {
            match self.confirm(publication).await {
                Err(error @ (PublishError::TimedOut { .. } | PublishError::Interrupted { .. }))
                    if patience == Patience::Endless =>
                {
                    tracing::warn!(event_id, %error, "an event waits in the background; it is sent again");
                    Counters::add(&self.shared.counters.republished);
                }
                verdict => break verdict,
            }
        };
        span.end(verdict.as_ref().map(|&()| ()));
        match verdict {
            Ok(()) => {
                self.shared.counters.event_published(event_type, self.shared.clock.now());
                Ok(())
            }
            Err(PublishError::Unroutable { .. }) if !self.is_an_error(*unroutable, publication) => {
                Counters::add(&self.shared.counters.unroutable);
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Counts a publish that is given up.
    fn failed(&self, error: &PublishError) {
        let counters = &self.shared.counters;
        Counters::add(&counters.publish_errors);
        counters.went_wrong(self.shared.clock.now(), format!("a publish failed: {error}"));
    }

    /// Whether nobody taking an event is an error; where it is none, says so once per key.
    fn is_an_error(&self, unroutable: Unroutable, publication: &Publication) -> bool {
        let (exchange, routing_key) = (publication.exchange.as_str(), &*publication.routing_key);
        match unroutable {
            Unroutable::Mandatory => true,
            Unroutable::Optional => false,
            Unroutable::Known if self.knows_a_queue(publication) => true,
            Unroutable::Known => {
                let mut warned = self.shared.warned.lock().unwrap_or_else(PoisonError::into_inner);
                // Keys with fields in them could be any number; past this many the point is made.
                if warned.len() < 1000 && warned.insert(routing_key.to_owned()) {
                    tracing::warn!(
                        exchange,
                        routing_key,
                        "no queue takes this event; it is gone. `#[event(mandatory)]` makes this an error, \
                         `#[event(optional)]` makes it silent"
                    );
                }
                false
            }
        }
    }

    /// Whether this program itself declares a binding for the message, on its exchange or on the
    /// alternate exchange of that one.
    fn knows_a_queue(&self, publication: &Publication) -> bool {
        let topology = self.shared.provision.topology();
        topology.routes(publication.exchange.as_str(), &publication.routing_key, &publication.message.headers)
    }

    /// Publishes until the broker confirms, refuses, or time is up.
    ///
    /// Killed at any of the awaits: the broker has the message or not, and the caller never saw `Ok`.
    async fn confirm(&self, publication: &Publication) -> Result<(), PublishError> {
        let verdict = self.until_confirmed(publication).await;
        match &verdict {
            Ok(()) => {
                Counters::add(&self.shared.counters.confirmed);
                self.shared.counters.refusals.confirmed();
            }
            Err(PublishError::Unroutable { .. }) => {
                Counters::add(&self.shared.counters.returned);
                self.shared.counters.refusals.confirmed();
            }
            Err(error) if is_the_brokers_fault(error) => {
                self.shared.counters.refusals.refused(self.shared.clock.now(), error.to_string());
            }
            Err(_) => {}
        }
        verdict
    }

    async fn until_confirmed(&self, publication: &Publication) -> Result<(), PublishError> {
        let shared = &*self.shared;
        let after = shared.settings.timeout;
        let deadline = Instant::now() + after;
        let timed_out = |last: Option<String>| PublishError::TimedOut {
            after,
            reason: waits_for(&shared.provision.transport().link().borrow(), last),
        };
        let _turn = match publication.lane {
            Some(lane) => {
                let turn = timeout_at(deadline, shared.turns.take(lane)).await;
                Some(turn.map_err(|_elapsed| timed_out(None))?)
            }
            None => None,
        };
        let mut pause = Duration::from_millis(20);
        let mut last = None;
        loop {
            if shared.closed.load(Ordering::Relaxed) {
                return Err(PublishError::Closed);
            }
            let attempt = async {
                shared.provision.ready().await.map_err(|error| match error {
                    ProvisionError::Closed => PublishError::Closed,
                    other => PublishError::Unavailable { reason: other.to_string() },
                })?;
                shared.provision.transport().publish(publication).await
            };
            match timeout_at(deadline, attempt).await {
                Err(_elapsed) => return Err(timed_out(last)),
                Ok(Err(PublishError::Interrupted { reason })) => {
                    tracing::debug!(reason, "publishing again after an interruption");
                    last = Some(reason);
                    if Instant::now() + pause >= deadline {
                        return Err(timed_out(last));
                    }
                    Counters::add(&shared.counters.republished);
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Ok(verdict) => {
                    // It was declared, and somebody deleted it: the next publish declares it anew.
                    let is_missing = match &verdict {
                        Err(PublishError::NoExchange { exchange, .. }) => {
                            shared.provision.topology().exchange(exchange).is_some()
                        }
                        Err(PublishError::Unroutable { .. }) => self.knows_a_queue(publication),
                        _ => false,
                    };
                    if is_missing {
                        shared.provision.invalidate();
                    }
                    return verdict;
                }
            }
        }
    }
}

/// The key of an event, held to what its kind says where fields are words of it. Pure.
fn own_key(event: &dyn AnyEvent, kind: &EventKind) -> Result<Text, PublishError> {
    let key = event.any_routing_key();
    if !kind.has_fields() {
        return Ok(key);
    }
    let fault = match topic::routing_key_fault(&key) {
        Some(fault) => fault.describe(),
        None if kind.has_key(&key) => return Ok(key),
        None => "has more words than that: the value of a field has a dot",
    };
    Err(PublishError::Key {
        event: kind.name,
        pattern: kind.key,
        // What is too long is not repeated.
        key: key.chars().take(topic::MAX_KEY_LEN).collect(),
        fault,
    })
}

/// Whether another publish may fail of the same, whatever it is. Pure.
const fn is_the_brokers_fault(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::Refused { .. }
            | PublishError::Rejected { .. }
            | PublishError::NoExchange { .. }
            | PublishError::TimedOut { .. }
            | PublishError::Interrupted { .. }
            | PublishError::Unavailable { .. }
    )
}

/// What a publish that gets no answer waits for. Pure.
fn waits_for(link: &Link, last: Option<String>) -> String {
    match (&link.state, &link.blocked, last) {
        (LinkState::Backoff { reason, .. }, ..) => format!("no connection: {reason}"),
        (LinkState::Up, Some(reason), _) => format!("the broker takes no publishes: {reason}"),
        (_, _, Some(last)) => last,
        (LinkState::Up, None, None) => "the broker does not answer".to_owned(),
        (LinkState::Connecting, ..) => "the connection is being made".to_owned(),
        (LinkState::Fatal(error), ..) => error.to_string(),
        (LinkState::Closed, ..) => "the connection is closed".to_owned(),
    }
}

/// The lane of an aggregate: events of one never overtake each other.
pub(crate) fn lane(aggregate_type: &str, aggregate_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (aggregate_type, aggregate_id).hash(&mut hasher);
    hasher.finish()
}

impl FromDelivery for Publisher {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let publisher = invocation
            .state::<Self>()
            .ok_or_else(|| HandlerError::retry("this bus has no publisher".to_owned()))?;
        // A raw event of a foreign format has no envelope to carry on.
        Ok(match invocation.metadata() {
            Ok(cause) => publisher.caused_by(cause),
            Err(_) => publisher,
        })
    }
}
