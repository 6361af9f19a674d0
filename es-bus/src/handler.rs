//! One call of a handler: what it is called with, and what the macro generated to call it.
//!
//! The worker makes an [`Invocation`] of a delivery and gives it to a [`Call`]; the extractors read
//! it; what they registered to be completed is run by the worker, with the outcome, before anything
//! is settled. An invocation is cheap to clone and cannot settle.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    event::Event,
    message::Received,
    metadata::Metadata,
    outcome::{BoxError, HandlerError, Outcome},
    scope::Scope,
    wire,
};

mod pace;
mod service;

pub(crate) use self::pace::Pace;
pub use self::service::HandlerService;
pub(crate) use self::service::{LayerFn, Level, Route};
pub(crate) use crate::wire::Origin;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a handler is run.
#[derive(Clone)]
#[non_exhaustive]
pub enum Call {
    /// One event at a time.
    One(fn(Invocation) -> BoxFuture<'static, Outcome>),
    /// Several events at once, one outcome each, in order.
    Batch(fn(Vec<Invocation>) -> BoxFuture<'static, Vec<Outcome>>),
    /// One event at a time, by a closure: what was subscribed while the program runs.
    Shared(Arc<dyn Fn(Invocation) -> BoxFuture<'static, Outcome> + Send + Sync>),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Batch(_) => "Batch",
            Self::Shared(_) => "Shared",
        })
    }
}

/// Runs when the outcome of a handler is known and nothing is settled yet.
pub(crate) struct Completion {
    /// How long it may take; as long as the handler when not said.
    pub(crate) within: Option<Duration>,
    /// What it does.
    pub(crate) run: RunCompletion,
}

type RunCompletion = Box<dyn for<'a> FnOnce(&'a Outcome) -> BoxFuture<'a, Result<(), BoxError>> + Send>;

/// One run of one handler for one delivery: what extractors read.
#[derive(Clone)]
pub struct Invocation {
    inner: Arc<Inner>,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("handler", &self.inner.handler)
            .field("attempt", &self.inner.attempt)
            .field("delivery", &self.inner.delivery)
            .finish_non_exhaustive()
    }
}

struct Inner {
    delivery: Arc<DeliveryInfo>,
    handler: Arc<str>,
    attempt: Attempt,
    state: Arc<TypeMap>,
    extensions: Mutex<TypeMap>,
    completions: Mutex<Vec<Completion>>,
    route: Option<Route>,
    waiting: AtomicBool,
    said: OnceLock<Arc<Scope>>,
}

/// What is known of a delivery, by every handler that it goes to.
pub struct DeliveryInfo {
    received: Received,
    queue: Arc<str>,
    group: Arc<str>,
    origin: Origin,
    envelope: Mutex<Envelope>,
    /// Cancelled when the channel that brought it is gone.
    lost: Arc<CancellationToken>,
}

/// What is known of the envelope: it is read beside the event, and most handlers never ask for it.
#[derive(Default)]
enum Envelope {
    #[default]
    Unread,
    Read(wire::Envelope),
    Asked(Metadata),
}

impl fmt::Debug for DeliveryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message may hold what belongs in no log.
        f.debug_struct("DeliveryInfo")
            .field("group", &self.group)
            .field("queue", &self.queue)
            .field("event_type", &self.origin.event_type)
            .field("routing_key", &self.origin.routing_key)
            .finish_non_exhaustive()
    }
}

/// Which attempt a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How many attempts failed before this one: 0 at first.
    pub number: u32,
    /// How many retries the handler's policy has.
    pub retries: u32,
}

impl Attempt {
    /// Whether a failure of this attempt dead-letters the event.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.number >= self.retries
    }
}

impl DeliveryInfo {
    /// What a worker knows of a delivery.
    #[must_use]
    pub fn new(received: Received, queue: String, group: String, origin: Origin) -> Self {
        Self::leased(received, queue.into(), group.into(), origin, Arc::default())
    }

    /// The same, with what is cancelled when the channel is gone that brought it.
    pub(crate) fn leased(
        received: Received,
        queue: Arc<str>,
        group: Arc<str>,
        origin: Origin,
        lost: Arc<CancellationToken>,
    ) -> Self {
        Self { received, queue, group, origin, envelope: Mutex::default(), lost }
    }

    /// Cancelled when the channel is gone that brought it.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// The delivery as the broker gave it.
    #[must_use]
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// The queue that it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The group whose queue that is.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Where it came from at first.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Invocation {
    /// A run of `handler`; `state` holds what the program provided.
    #[must_use]
    pub fn new(
        delivery: Arc<DeliveryInfo>,
        handler: Arc<str>,
        attempt: Attempt,
        state: Arc<TypeMap>,
    ) -> Self {
        Self::routed(delivery, handler, attempt, state, None)
    }

    /// As [`new`](Self::new), for the layers on the way.
    pub(crate) fn routed(
        delivery: Arc<DeliveryInfo>,
        handler: Arc<str>,
        attempt: Attempt,
        state: Arc<TypeMap>,
        route: Option<Route>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                delivery,
                handler,
                attempt,
                state,
                extensions: Mutex::default(),
                completions: Mutex::default(),
                route,
                waiting: AtomicBool::new(false),
                said: OnceLock::new(),
            }),
        }
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        self.inner.route.as_ref()
    }

    /// Whether it waits for a service that is not ready.
    pub(crate) fn is_waiting(&self) -> bool {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.inner.waiting.store(waiting, Ordering::Relaxed);
    }

    /// What is said of everything published within, once it was asked for.
    pub(crate) fn said(&self) -> &OnceLock<Arc<Scope>> {
        &self.inner.said
    }

    /// The delivery, without the right to settle it.
    #[must_use]
    pub fn delivery(&self) -> &DeliveryInfo {
        &self.inner.delivery
    }

    /// The name of the handler that runs.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.inner.handler
    }

    /// Which attempt this is.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.inner.attempt
    }

    /// What the program provided of this type with `Bus::builder().state(..)`.
    #[must_use]
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.inner.state.get::<T>().cloned()
    }

    /// Keeps a value for the extractors and layers that come after, within this run.
    pub fn extend<T: Send + Sync + 'static>(&self, value: T) {
        self.inner.extensions.lock().unwrap_or_else(PoisonError::into_inner).insert(value);
    }

    /// A value that an earlier extractor or layer kept.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.inner.extensions.lock().unwrap_or_else(PoisonError::into_inner).get::<T>().cloned()
    }

    /// Registers what has to run once the outcome is known, before the delivery is settled.
    ///
    /// Completions run in reverse order of registration, also after a panic, a timeout, or an
    /// extractor that failed; each within the handler's timeout. One that fails turns a success
    /// into a failed attempt, and those that run after it see that. This is how a transaction
    /// commits on success and rolls back on anything else.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{FromDelivery, HandlerError, Invocation};
    ///
    /// struct Stopwatch;
    ///
    /// impl FromDelivery for Stopwatch {
    ///     async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
    ///         let started = std::time::Instant::now();
    ///         invocation.on_outcome(move |outcome| {
    ///             let done = outcome.is_done();
    ///             Box::pin(async move {
    ///                 tracing::info!(done, elapsed = ?started.elapsed(), "handled");
    ///                 Ok(())
    ///             })
    ///         });
    ///         Ok(Self)
    ///     }
    /// }
    /// ```
    pub fn on_outcome<F>(&self, completion: F)
    where
        F: for<'a> FnOnce(&'a Outcome) -> BoxFuture<'a, Result<(), BoxError>> + Send + 'static,
    {
        self.push_completion(Completion { within: None, run: Box::new(completion) });
    }

    /// Registers a completion with a time limit of its own.
    pub(crate) fn on_outcome_within<F>(&self, limit: Duration, completion: F)
    where
        F: for<'a> FnOnce(&'a Outcome) -> BoxFuture<'a, Result<(), BoxError>> + Send + 'static,
    {
        self.push_completion(Completion { within: Some(limit), run: Box::new(completion) });
    }

    fn push_completion(&self, completion: Completion) {
        self.inner.completions.lock().unwrap_or_else(PoisonError::into_inner).push(completion);
    }

    /// Takes the completion that is to run next, if one is left.
    #[must_use]
    pub(crate) fn pop_completion(&self) -> Option<Completion> {
        self.inner.completions.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Decodes the body as an event.
    ///
    /// # Errors
    ///
    /// [`HandlerError::undecodable`] when the body is not what the event says.
    pub fn decode<E: Event>(&self) -> Result<E, HandlerError> {
        let delivery = self.delivery();
        let origin = &delivery.origin;
        let kind = match origin.event_type.as_deref() {
            // Two aggregates may have an event of one name: the key tells them apart.
            Some(name) => {
                let named = || E::KINDS.iter().filter(|kind| kind.name == name);
                named().find(|kind| kind.has_key(&origin.routing_key)).or_else(|| named().next())
            }
            None => E::KINDS.iter().find(|kind| kind.has_key(&origin.routing_key)),
        };
        let kind = kind.ok_or_else(|| {
            let claimed = origin.event_type.as_deref().unwrap_or(&origin.routing_key);
            HandlerError::undecodable(format!("{claimed:?} is not an event of this handler"))
        })?;
        let (envelope, event) =
            wire::decode_event::<E>(&delivery.received, kind).map_err(HandlerError::undecodable)?;
        // Several handlers may decode one delivery; what each reads is the same.
        let mut known = delivery.envelope.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*known, Envelope::Unread) {
            *known = Envelope::Read(envelope);
        }
        Ok(event)
    }

    /// The event's envelope.
    ///
    /// # Errors
    ///
    /// [`HandlerError::undecodable`] when the body does not hold one.
    pub fn metadata(&self) -> Result<Metadata, HandlerError> {
        let DeliveryInfo { received, envelope, .. } = self.delivery();
        let mut known = envelope.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match std::mem::take(&mut *known) {
            Envelope::Unread => wire::decode_metadata(received).map_err(HandlerError::undecodable)?,
            Envelope::Read(envelope) => envelope.metadata(received),
            Envelope::Asked(metadata) => metadata,
        };
        *known = Envelope::Asked(metadata.clone());
        Ok(metadata)
    }
}

/// One value per type.
#[derive(Default)]
pub struct TypeMap(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl fmt::Debug for TypeMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeMap").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

impl TypeMap {
    /// Puts a value in, and says whether one of its type was there already.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Box::new(value)).is_some()
    }

    /// The value of a type.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>()).and_then(|value| value.downcast_ref())
    }

    /// Whether there is a value of the type.
    #[must_use]
    pub fn contains(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }
}
