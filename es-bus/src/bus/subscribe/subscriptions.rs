//! Where a program subscribes, binds and pauses.

use std::{fmt, sync::Arc};

use super::{
    Subscribe, Subscribers,
    request::{Wish, check_key},
};
use crate::{
    bus::groups::Groups,
    error::Result,
    event::Event,
    extract::Input,
    model::Topology,
    subscriber::{BlockingFn, Described, HandlerFn, Subscriber},
};

/// Subscribes handlers, binds queues and pauses groups of a running bus. A clone is cheap, and means
/// the same bus.
///
/// # Examples
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use es_bus::{Bus, Registry, event};
/// # use tokio::sync::mpsc;
///
/// #[event(aggregate = "Order", aggregate_id = order_id)]
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlaced {
///     order_id: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> es_bus::Result<()> {
/// # let (seen, mut orders) = mpsc::unbounded_channel();
/// # let bus = Bus::builder().without_environment().registry(Registry::new().event::<OrderPlaced>());
/// let running = bus.url("memory://").publish_only().build()?.start().await?;
///
/// let subscription = running
///     .subscriptions()
///     .subscribe("projections", move |order: OrderPlaced| {
///         let seen = seen.clone();
///         async move { seen.send(order.order_id) }
///     })
///     .await?;
///
/// running.publisher().publish(&OrderPlaced { order_id: "1".into() }).await?;
/// assert_eq!(orders.recv().await.as_deref(), Some("1"));
///
/// subscription.unsubscribe().await;
/// running.stop().await
/// # }
/// ```
#[derive(Clone)]
pub struct Subscriptions {
    groups: Arc<Groups>,
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions").field("subscribers", &self.subscribers()).finish_non_exhaustive()
    }
}

impl Subscriptions {
    pub(in crate::bus) fn new(groups: Arc<Groups>) -> Self {
        Self { groups }
    }

    /// Subscribes an async function or closure in a group.
    ///
    /// Its arguments are those of a `#[handler]`: one event (`E`, an event set, `Envelope<E>`,
    /// `RawEvent`) and any extractors. It returns `()` or `Result<(), E>`, and is retried and
    /// dead-lettered as any handler is.
    ///
    /// A group that the process does not have yet is made: queue, retry queues and dead-letter queue
    /// are declared, under the settings that `[group.{name}]` says
    /// ([`BusBuilder::group`](crate::BusBuilder::group)), else under those of the bus. Returns once
    /// the queue is bound and consumed; a broker that is not there is waited for.
    ///
    /// A group is one queue, from which each event goes to one process: subscribe the same in each
    /// process of a group, or give a process that wants every event a group of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Subscribe`](crate::Error::Subscribe) for what cannot be; [`Error::Conflict`](crate::Error::Conflict), [`Error::Topology`](crate::Error::Topology),
    /// [`Error::Transport`](crate::Error::Transport) where the broker refuses what the group needs; [`Error::Closed`](crate::Error::Closed) once the
    /// bus stops. The bus goes on as it was.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the end nothing is subscribed; the queue may have been declared and bound,
    /// and then collects events. A kill leaves the same.
    pub fn subscribe<F, Args>(&self, group: impl Into<String>, handler: F) -> Subscribe
    where
        F: HandlerFn<Args>,
    {
        Subscribe::new(Arc::clone(&self.groups), group.into(), Described::function(handler))
    }

    /// As [`subscribe`](Self::subscribe), for a function that is not async: it runs on tokio's
    /// blocking pool.
    pub fn subscribe_blocking<F, Args>(&self, group: impl Into<String>, handler: F) -> Subscribe
    where
        F: BlockingFn<Args>,
    {
        Subscribe::new(Arc::clone(&self.groups), group.into(), Described::blocking(handler))
    }

    /// As [`subscribe`](Self::subscribe), for every event of the group's home exchange, known to this
    /// program or not: the handler takes a [`RawEvent`](crate::RawEvent).
    pub fn subscribe_to_all<F, Args>(&self, group: impl Into<String>, handler: F) -> Subscribe
    where
        F: HandlerFn<Args>,
    {
        const { takes_raw(F::INPUTS) };
        self.subscribe(group, handler).bind("#")
    }

    /// As [`subscribe`](Self::subscribe), for an object that takes several events.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use es_bus::Subscriber;
    /// # async fn of<OrderStatistics: Subscriber + Default>(running: es_bus::Handle) -> es_bus::Result<()> {
    /// let statistics = Arc::new(OrderStatistics::default());
    ///
    /// running.subscriptions().subscribe_all("statistics", Arc::clone(&statistics)).await?.keep();
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_all<S: Subscriber>(&self, group: impl Into<String>, subscriber: Arc<S>) -> Subscribe {
        Subscribe::new(Arc::clone(&self.groups), group.into(), Described::object(subscriber))
    }

    /// Binds a group's queue to its home exchange by this key (`Payment.*`).
    ///
    /// What it brings goes to every handler of the group that takes the type: to all that take raw
    /// events, and to those that name the event, whatever their own keys are. Kept over reconnects
    /// until it is unbound. A group that the process does not have yet is made, and its queue
    /// collects until somebody subscribes.
    ///
    /// # Errors
    ///
    /// As of [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the end the queue may be bound, and is not kept so over a reconnect.
    pub async fn bind(&self, group: &str, key: impl Into<String>) -> Result<()> {
        let key = key.into();
        check_key(&key)?;
        self.groups.bind(group, Wish::Key(key)).await
    }

    /// Binds a group's queue by the routing key of an event, on the exchange that the event is
    /// published to; for an event set, by those of all its events.
    ///
    /// # Errors
    ///
    /// As of [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As of [`bind`](Self::bind).
    pub async fn bind_event<E: Event>(&self, group: &str) -> Result<()> {
        self.groups.bind(group, Wish::Events(E::KINDS)).await
    }

    /// Takes back what [`bind`](Self::bind) bound, or what a subscription that has ended left bound.
    ///
    /// Nothing more is routed to the queue by the key; what it brought before is handled as ever.
    /// A key that is not bound does nothing. Other processes of the group go without it too, until
    /// one of them binds it again.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::StillBound`](crate::SubscribeError::StillBound) for the key of a handler that is there,
    /// [`SubscribeError::NoGroup`](crate::SubscribeError::NoGroup) when neither this process nor the broker knows the
    /// group; else as of [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the end the queue may still be bound, and is not bound anew over a reconnect.
    pub async fn unbind(&self, group: &str, key: impl Into<String>) -> Result<()> {
        let key = key.into();
        check_key(&key)?;
        self.groups.unbind(group, Wish::Key(key)).await
    }

    /// Takes back what [`bind_event`](Self::bind_event) bound, or what a subscription to the event
    /// left bound.
    ///
    /// # Errors
    ///
    /// As of [`unbind`](Self::unbind).
    ///
    /// # Cancel safety
    ///
    /// As of [`unbind`](Self::unbind).
    pub async fn unbind_event<E: Event>(&self, group: &str) -> Result<()> {
        self.groups.unbind(group, Wish::Events(E::KINDS)).await
    }

    /// Stops taking events in one group; publishing and other groups go on.
    ///
    /// Returns once the consumer is cancelled and what had not started is back in the queue, in
    /// order. Handlers that run finish. Kept over reconnects, until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// [`SubscribeError::NoGroup`](crate::SubscribeError::NoGroup).
    ///
    /// # Cancel safety
    ///
    /// The pause holds when this is first polled; dropped, the call only waits no longer.
    pub async fn pause(&self, group: &str) -> Result<()> {
        self.groups.pause(group, true).await
    }

    /// Takes events in the group again; returns once it consumes, and waits for a broker that is not
    /// there.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::NoGroup`](crate::SubscribeError::NoGroup).
    ///
    /// # Cancel safety
    ///
    /// As of [`pause`](Self::pause).
    pub async fn resume(&self, group: &str) -> Result<()> {
        self.groups.pause(group, false).await
    }

    /// As [`pause`](Self::pause), for every group, and for those that come until
    /// [`resume_all`](Self::resume_all).
    pub async fn pause_all(&self) {
        self.groups.pause_all(true).await;
    }

    /// As [`resume`](Self::resume), for every group, also for one that was paused by itself.
    pub async fn resume_all(&self) {
        self.groups.pause_all(false).await;
    }

    /// How many handlers there are now, those marked `#[handler]` among them.
    #[must_use]
    pub fn subscribers(&self) -> Subscribers {
        self.groups.subscribers()
    }

    /// What the broker is kept at now.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        self.groups.topology()
    }
}

/// What is subscribed to everything cannot name its types. Asked when the program is compiled.
const fn takes_raw(inputs: &[Input]) {
    let mut index = 0;
    while index < inputs.len() {
        if let Input::Event { .. } = inputs[index] {
            panic!(
                "`subscribe_to_all` gives every event, known or not: take a `RawEvent`, or use `subscribe`"
            );
        }
        index += 1;
    }
}
