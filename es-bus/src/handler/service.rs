//! A handler as a tower service, and the layers that a program puts around it.
//!
//! There is one service per handler, one per group, and one for the bus, each only where something
//! was layered there; the innermost runs the handler. Every delivery goes through the same
//! instances, so that a limit counts all of them.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use tower::{Layer, Service, ServiceExt, util::BoxService};

use super::{BoxFuture, Invocation};
use crate::outcome::{BoxError, Outcome};

type Boxed = BoxService<Invocation, Outcome, BoxError>;

/// What a layer is put around: a handler, or everything that a group or the bus runs.
///
/// A `tower` service from [`Invocation`] to [`Outcome`]. `Bus::builder().layer(..)` and
/// `#[handler(layer = ..)]` take whatever implements `tower::Layer<HandlerService>`: the layers of
/// tower 0.5, several of them put together with `tower::ServiceBuilder`, or your own.
///
/// Clones are the same service: what one of them counts, all of them know. A layer may clone it
/// and call the clone, ready or not: a call waits until the service is ready.
///
/// # Examples
///
/// A layer of your own is a function from service to service:
///
/// ```
/// use es_bus::{BoxError, Bus, HandlerService, Invocation, Outcome};
/// use tower::{Service, ServiceExt, layer::layer_fn};
///
/// let timed = layer_fn(|inner: HandlerService| {
///     tower::service_fn(move |invocation: Invocation| {
///         let mut inner = inner.clone();
///         async move {
///             let (handler, started) = (invocation.handler().to_owned(), std::time::Instant::now());
///             let outcome = inner.ready().await?.call(invocation).await?;
///             tracing::info!(handler, elapsed = ?started.elapsed(), done = outcome.is_done());
///             Ok::<Outcome, BoxError>(outcome)
///         }
///     })
/// });
/// let builder = Bus::builder().layer(timed);
/// # drop(builder);
/// ```
pub struct HandlerService {
    shared: Arc<Shared>,
    waiting: Registration,
}

/// Puts the layer that an attribute names around a service.
pub(crate) type LayerFn = fn(HandlerService) -> HandlerService;

/// Where the layers of the levels inwards are found, for one handler.
pub(crate) struct Route {
    /// What was layered around the group.
    pub(crate) group: Option<HandlerService>,
    /// The handler, with what was layered around it.
    pub(crate) handler: HandlerService,
}

impl HandlerService {
    /// A service that no layer is around yet.
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Invocation, Response = Outcome, Error = BoxError> + Send + 'static,
        S::Future: Send + 'static,
    {
        Self::of(Slot::Made(BoxService::new(service)))
    }

    /// What the layers of a group or of the bus are put around: whatever stands inwards.
    pub(crate) fn inwards(level: Level) -> Self {
        Self::new(Router(level))
    }

    /// Puts a layer around the service.
    ///
    /// The layer is asked for its service when the first delivery comes, inside the runtime: some of
    /// tower's layers need its timer.
    #[must_use]
    pub fn layered<L>(self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
        <L::Service as Service<Invocation>>::Error: Into<BoxError>,
        <L::Service as Service<Invocation>>::Future: Send + 'static,
    {
        Self::of(Slot::Unmade(Box::new(move || BoxService::new(layer.layer(self).map_err(Into::into)))))
    }

    fn of(slot: Slot) -> Self {
        let shared = Shared { slot: Mutex::new(slot), wakers: Arc::default() };
        Self { waiting: Registration::new(&shared), shared: Arc::new(shared) }
    }

    /// Calls the service, once it is ready; until then the invocation counts as waiting.
    pub(crate) fn dispatch(&self, invocation: Invocation) -> BoxFuture<'static, Result<Outcome, BoxError>> {
        let mut slot = self.shared.slot();
        // Whoever waits already is told by the same waker, so this wakes nobody up for nothing.
        let waker = Waker::from(Arc::clone(&self.shared.wakers));
        match slot.ready(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(service)) => return service.call(invocation),
            Poll::Ready(Err(error)) => return Box::pin(async { Err(error) }),
            Poll::Pending => {}
        }
        drop(slot);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            invocation.set_waiting(true);
            let waiting = Registration::new(&shared);
            let mut next = Some(invocation);
            let called = poll_fn(|cx| {
                waiting.register(cx.waker());
                let mut slot = shared.slot();
                let service = ready!(slot.ready(&mut Context::from_waker(&waker)))?;
                let invocation = next.take().expect("polled until it is ready, and no further");
                invocation.set_waiting(false);
                Poll::Ready(Ok::<_, BoxError>(service.call(invocation)))
            })
            .await?;
            drop((waiting, waker));
            called.await
        })
    }
}

impl Service<Invocation> for HandlerService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.waiting.register(cx.waker());
        let waker = Waker::from(Arc::clone(&self.shared.wakers));
        let is_ready = ready!(self.shared.slot().ready(&mut Context::from_waker(&waker)).map_ok(|_| ()));
        self.waiting.forget();
        Poll::Ready(is_ready)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.dispatch(invocation)
    }
}

impl Clone for HandlerService {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), waiting: Registration::new(&self.shared) }
    }
}

impl fmt::Debug for HandlerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// What every clone of a service shares.
struct Shared {
    slot: Mutex<Slot>,
    wakers: Arc<Wakers>,
}

impl Shared {
    /// The service itself. It is held while the service is asked, never over an await; after a panic
    /// in there the service is what it is.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service, or how to make it.
enum Slot {
    Unmade(Box<dyn FnOnce() -> Boxed + Send>),
    Made(Boxed),
    /// The layer panicked when it was asked for its service.
    Broken,
}

impl Slot {
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Boxed, BoxError>> {
        if let Self::Unmade(_) = self
            && let Self::Unmade(make) = std::mem::replace(self, Self::Broken)
        {
            *self = Self::Made(make());
        }
        let Self::Made(service) = self else {
            return Poll::Ready(Err("a layer panicked when it was put around its service".into()));
        };
        ready!(service.poll_ready(cx))?;
        Poll::Ready(Ok(service))
    }
}

/// Everybody who waits for one service, which itself may know only the last who asked.
#[derive(Default)]
struct Wakers {
    waiting: Mutex<Vec<(u64, Waker)>>,
    next: AtomicU64,
}

impl Wakers {
    fn waiting(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.waiting());
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

/// One who may wait for a service; forgotten when dropped.
struct Registration {
    wakers: Arc<Wakers>,
    key: u64,
}

impl Registration {
    fn new(shared: &Shared) -> Self {
        Self { key: shared.wakers.next.fetch_add(1, Ordering::Relaxed), wakers: Arc::clone(&shared.wakers) }
    }

    /// Asks to be woken; before the service is asked, so that no wake is missed.
    fn register(&self, waker: &Waker) {
        self.forget();
        self.wakers.waiting().push((self.key, waker.clone()));
    }

    fn forget(&self) {
        let mut waiting = self.wakers.waiting();
        let at = waiting.iter().position(|(key, _)| *key == self.key);
        let forgotten = at.map(|at| waiting.remove(at));
        // What a waker frees when it is dropped is not our business, and not under our lock.
        drop(waiting);
        drop(forgotten);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.forget();
    }
}

/// What a layer is around, where that is not one handler.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// All that the bus runs.
    Bus,
    /// All that a group runs.
    Group,
}

/// Goes one level inwards, on the way that the invocation knows. Always ready: what stands inwards
/// is not known before the invocation is there, and the call waits for it.
struct Router(Level);

impl Service<Invocation> for Router {
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let Some(route) = invocation.route() else {
            return Box::pin(async { Err("the invocation was not made by a worker".into()) });
        };
        let next = match (self.0, &route.group) {
            (Level::Bus, Some(group)) => group,
            (Level::Bus, None) | (Level::Group, _) => &route.handler,
        };
        let next = next.clone();
        next.dispatch(invocation)
    }
}
