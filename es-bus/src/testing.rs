//! A bus for tests: the in-process broker, a clock that a test moves, and what became of every event.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{
    bus::{Bus, BusBuilder, Handle, Subscriptions},
    clock::Clock,
    dead_letters::{DeadLetterError, DeadLetters},
    error::Result,
    event::Event,
    monitor::Monitor,
    publish::{Publish, Publisher},
    registry::Registry,
    telemetry::Counts,
    transport::memory::Memory,
};

pub use crate::worker::{Fate, Observation};

/// A bus on the in-process broker, under a test's control.
///
/// Needs a paused clock (`#[tokio::test(start_paused = true)]`): an hour of retries passes in a
/// millisecond.
///
/// # Examples
///
/// ```
/// use es_bus::{Registry, testing::TestBus};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> es_bus::Result<()> {
/// let bus = TestBus::start(|builder| builder.registry(Registry::new()).publish_only()).await?;
///
/// bus.run_until_idle().await;
///
/// assert!(bus.outcomes().is_empty());
/// bus.stop().await
/// # }
/// ```
pub struct TestBus {
    handle: Handle,
    broker: Arc<Memory>,
    outcomes: std::sync::Mutex<Outcomes>,
}

impl fmt::Debug for TestBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBus").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

struct Outcomes {
    coming: mpsc::UnboundedReceiver<Observation>,
    seen: Vec<Observation>,
}

impl TestBus {
    /// Builds and starts a bus on an in-process broker of its own.
    ///
    /// The builder reads neither file nor environment.
    ///
    /// # Errors
    ///
    /// What [`BusBuilder::build`] and [`Bus::start`] find.
    pub async fn start(configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Result<Self> {
        Self::on(Arc::new(Memory::new()), configure).await
    }

    /// Builds and starts a bus on this broker, which other buses may share.
    ///
    /// # Errors
    ///
    /// What [`BusBuilder::build`] and [`Bus::start`] find.
    pub async fn on(broker: Arc<Memory>, configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Result<Self> {
        let (observer, coming) = mpsc::unbounded_channel();
        let builder = Bus::builder().without_environment().url("memory://");
        let bus = configure(builder)
            .transport(Arc::clone(&broker) as _)
            .clock(Clock::of_runtime())
            .observer(observer)
            .build()?;
        let groups = bus.queues().count() as u64;
        let handle = bus.start().await?;
        // An event that is published before its consumer is there would not count as due.
        while handle.counts().consumers < groups {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { handle, broker, outcomes: std::sync::Mutex::new(Outcomes { coming, seen: Vec::new() }) })
    }

    /// Starts a bus with all that is linked into the test.
    ///
    /// # Errors
    ///
    /// What [`BusBuilder::build`] and [`Bus::start`] find.
    pub async fn collected() -> Result<Self> {
        Self::start(|builder| builder.registry(Registry::collected())).await
    }

    /// Publishes an event.
    pub fn publish<'a, E: Event>(&'a self, event: &'a E) -> Publish<'a> {
        self.handle.publisher().publish(event)
    }

    /// The publisher of the bus.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        self.handle.publisher()
    }

    /// Subscribes, binds and pauses while the bus runs.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        self.handle.subscriptions()
    }

    /// The dead letters of a group.
    ///
    /// # Errors
    ///
    /// As [`Handle::dead_letters`].
    pub fn dead_letters(&self, group: &str) -> Result<DeadLetters, DeadLetterError> {
        self.handle.dead_letters(group)
    }

    /// The dead letters in a queue, by its name.
    ///
    /// # Errors
    ///
    /// As [`Handle::dead_letter_queue`].
    pub fn dead_letter_queue(&self, queue: &str) -> Result<DeadLetters, DeadLetterError> {
        self.handle.dead_letter_queue(queue)
    }

    /// The broker, to look into or to break.
    #[must_use]
    pub fn broker(&self) -> &Arc<Memory> {
        &self.broker
    }

    /// Waits until every event that is due has been handled, and what is published in the background
    /// is confirmed. Time stands still meanwhile, but for handlers that sleep and for a broker that
    /// is away; what waits for a retry goes on waiting.
    pub async fn run_until_idle(&self) {
        let mut changes = self.broker.changes();
        loop {
            while self.publisher().in_background() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let pending = self.broker.pending();
            if pending.ready == 0 && pending.unsettled == 0 {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until nothing is left that will be handled: the clock runs through every retry.
    pub async fn run_to_the_end(&self) {
        self.broker.idle().await;
    }

    /// Moves the clock, then waits until every event that came due has been handled.
    pub async fn advance(&self, by: Duration) {
        self.run_until_idle().await;
        tokio::time::advance(by).await;
        self.run_until_idle().await;
    }

    /// What became of every event so far, run by run.
    ///
    /// # Panics
    ///
    /// When another thread panicked while it looked.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Observation> {
        let mut outcomes = self.outcomes.lock().expect("nobody panics while looking");
        while let Ok(observation) = outcomes.coming.try_recv() {
            outcomes.seen.push(observation);
        }
        outcomes.seen.clone()
    }

    /// What became of every run of a handler so far.
    #[must_use]
    pub fn fates(&self, handler: &str) -> Vec<Fate> {
        let of_handler = |seen: &Observation| seen.handler.as_deref() == Some(handler);
        self.outcomes().into_iter().filter(of_handler).map(|seen| seen.fate).collect()
    }

    /// What happened, in numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.handle.counts()
    }

    /// Looks at the bus: statistics, queues, health.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.handle.monitor()
    }

    /// Stops the bus in order.
    ///
    /// # Errors
    ///
    /// What ended it before.
    pub async fn stop(self) -> Result<()> {
        self.handle.stop().await
    }
}
