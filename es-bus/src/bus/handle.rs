//! A running bus.

use std::{fmt, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{groups::Groups, run::listen, subscribe::Subscriptions};
use crate::{
    dead_letters::{DeadLetterError, DeadLetters, Desk, KnownGroup},
    error::Result,
    monitor::{Health, Monitor, QueueInfo, QueueInfoError, Stats},
    publish::Publisher,
    shutdown::Signals,
    telemetry::Counts,
    worker::Dispatching,
};

/// A running bus: publish through it, stop it, wait for it.
///
/// Dropped, it ends the bus at once: handlers are aborted and their events go back to the queues.
/// [`stop`](Self::stop) is the orderly way.
///
/// # Examples
///
/// ```standalone_crate
/// # use es_bus::Bus;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> es_bus::Result<()> {
/// let running = Bus::builder().url("memory://").publish_only().build()?.start().await?;
///
/// let publisher = running.publisher().clone(); // for the web server, say
/// # drop(publisher);
/// assert_eq!(running.counts().published, 0);
/// running.stop().await
/// # }
/// ```
pub struct Handle {
    pub(super) publisher: Publisher,
    pub(super) monitor: Monitor,
    pub(super) groups: Arc<Groups>,
    pub(super) desk: Arc<Desk>,
    pub(super) stop: CancellationToken,
    pub(super) kill: CancellationToken,
    pub(super) running: Option<JoinHandle<Result<()>>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Handle {
    /// Publishes through the bus's connection; clone it to keep it.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The broker.
    #[cfg(feature = "cli")]
    pub(crate) fn transport(&self) -> &Arc<dyn crate::transport::Transport> {
        self.desk.provision.transport()
    }

    /// Runs the handlers of a group that is consumed here. For those who measure it.
    #[doc(hidden)]
    #[must_use]
    pub fn dispatching(&self, group: &str) -> Option<Dispatching> {
        self.groups.dispatching(group)
    }

    /// Subscribes, binds and pauses while the bus runs; clone it to keep it.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions::new(Arc::clone(&self.groups))
    }

    /// What happened since the bus was started.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.monitor.counts()
    }

    /// Looks at this bus, from wherever it is wanted: a web server, say. It stays valid after the bus
    /// has ended, and tells that it has.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Statistics since the bus was built, or since they were reset.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.monitor.stats()
    }

    /// Starts to count from zero: the statistics, and no metrics, which only go up.
    pub fn reset_stats(&self) {
        self.monitor.reset_stats();
    }

    /// Asks the broker how full the queues of a group are.
    ///
    /// # Errors
    ///
    /// [`QueueInfoError`] when no such group is consumed here, or the broker does not answer within
    /// five seconds.
    pub async fn queue_info(&self, group: &str) -> Result<QueueInfo, QueueInfoError> {
        self.monitor.queue_info(group).await
    }

    /// How the bus is, after asking the broker how the queues are. Takes five seconds at most.
    pub async fn health(&self) -> Health {
        self.monitor.health().await
    }

    /// The dead letters of a group that this program declares, whether this process consumes it or
    /// not, or that it has subscribed to.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::UnknownGroup`], with the names that there are.
    pub fn dead_letters(&self, group: &str) -> Result<DeadLetters, DeadLetterError> {
        self.desk.of_group(group, || Some(KnownGroup::from(&*self.groups.spec(group)?)))
    }

    /// The dead letters in a queue, by its name: of a service that this program knows nothing of, of
    /// eventsource-py too.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::Name`] when no queue can have that name. Whether there is one shows at the
    /// first call.
    pub fn dead_letter_queue(&self, queue: &str) -> Result<DeadLetters, DeadLetterError> {
        self.desk.of_queue(queue)
    }

    /// Stops taking events, finishes what is in hand within `shutdown_timeout`, gives the rest
    /// back, and closes the connection.
    ///
    /// # Errors
    ///
    /// What ended the bus before it was told to stop.
    ///
    /// # Cancel safety
    ///
    /// The stop goes on when this is dropped, but then so is the handle: the bus ends at once.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.wait().await
    }

    /// Waits for SIGTERM or SIGINT, then stops as [`stop`](Self::stop) does: the end of a `main` that
    /// starts the bus itself.
    ///
    /// Signals are listened for from this call on; before it, they do what they do to any program. A
    /// second one ends the process at once, with exit code 130. Ends earlier when the bus does.
    ///
    /// # Errors
    ///
    /// What ended the bus before it was told to stop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handle, which ends the bus at once.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use es_bus::Bus;
    /// # async fn example() -> es_bus::Result<()> {
    /// let running = Bus::builder().build()?.start().await?;
    /// // … start what publishes through `running.publisher()`, then:
    /// running.stop_on_signal().await
    /// # }
    /// ```
    pub async fn stop_on_signal(self) -> Result<()> {
        let signals = listen().await?;
        self.stop_at(signals).await
    }

    pub(super) async fn stop_at(mut self, mut signals: Signals) -> Result<()> {
        let stop = self.stopper();
        let ended = self.ended();
        tokio::pin!(ended);
        tokio::select! {
            ended = &mut ended => return ended,
            signal = signals.first() => {
                tracing::info!(signal, "stopping; a second signal ends at once");
            }
        }
        stop.cancel();
        ended.await
    }

    /// Waits until the bus ends: because it was stopped elsewhere, or because it cannot go on.
    ///
    /// # Errors
    ///
    /// What ended it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handle, which ends the bus at once.
    pub async fn wait(mut self) -> Result<()> {
        self.ended().await
    }

    /// A way to stop the bus from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(super) async fn ended(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let ended = running.await;
        self.running = None;
        ended.unwrap_or_else(|join| Err(join.into()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill.cancel();
            self.stop.cancel();
        }
    }
}
