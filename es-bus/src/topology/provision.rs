//! Keeps a broker at its topology: applied once per connection, before anyone publishes or consumes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use super::{ApplyError, apply};
use crate::{
    model::Topology,
    transport::{LinkState, Transport, TransportError},
};

/// Why a broker could not be brought to its topology.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProvisionError {
    /// The connection is refused for good.
    #[error(transparent)]
    Transport(Arc<TransportError>),
    /// The topology is refused.
    #[error(transparent)]
    Topology(ApplyError),
    /// This program closed the connection.
    #[error("the bus is closed")]
    Closed,
}

/// A broker and the topology that it is kept at.
pub(crate) struct Provision {
    transport: Arc<dyn Transport>,
    topology: Topology,
    /// The generation for which the topology was applied last; 0 for none.
    applied: watch::Sender<u64>,
    applying: Mutex<()>,
    /// How often the topology was applied.
    times: watch::Sender<u64>,
    /// Whether the topology was ever applied.
    held: AtomicBool,
}

/// How long a broker that refuses what it took before is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

impl fmt::Debug for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provision")
            .field("broker", &self.transport.describe())
            .field("applied", &*self.applied.borrow())
            .finish_non_exhaustive()
    }
}

impl Provision {
    /// Keeps `transport` at `topology`.
    #[must_use]
    pub(crate) fn new(transport: Arc<dyn Transport>, topology: Topology) -> Self {
        Self {
            transport,
            topology,
            applied: watch::Sender::new(0),
            applying: Mutex::new(()),
            times: watch::Sender::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// The broker.
    #[must_use]
    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The topology.
    #[must_use]
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Waits until the broker is there and at its topology; gives the generation of the connection.
    ///
    /// A topology that was applied before and is refused since, in a way that may pass, is waited
    /// for as well: the node of a classic queue that restarts, say, answers for a while that there is
    /// no such queue.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`] when waiting longer cannot help.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves at worst a part of the topology declared.
    pub(crate) async fn ready(&self) -> Result<u64, ProvisionError> {
        let mut link = self.transport.link();
        loop {
            let (state, generation) = {
                let now = link.borrow_and_update();
                (now.state.clone(), now.generation)
            };
            match state {
                LinkState::Up if *self.applied.borrow() == generation => return Ok(generation),
                LinkState::Up => match self.apply_for(generation).await {
                    Ok(()) => {}
                    Err(error) if error.is_interrupted() => {
                        tracing::debug!(%error, "the connection was lost while the topology was applied");
                        // A link that is still up will be told of its loss in a moment.
                        if link.has_changed().is_ok_and(|changed| !changed) {
                            sleep(Duration::from_millis(50)).await;
                        }
                    }
                    Err(error) => return Err(ProvisionError::Topology(error)),
                },
                LinkState::Fatal(error) => return Err(ProvisionError::Transport(error)),
                LinkState::Closed => return Err(ProvisionError::Closed),
                LinkState::Connecting | LinkState::Backoff { .. } => {
                    if link.changed().await.is_err() {
                        return Err(ProvisionError::Closed);
                    }
                }
            }
        }
    }

    /// Changes each time the topology is applied. A consumer from before may be that of a queue which
    /// was deleted and declared again: RabbitMQ does not always say so (seen on 3.10, quorum queues
    /// declared again within milliseconds).
    pub(crate) fn applications(&self) -> watch::Receiver<u64> {
        self.times.subscribe()
    }

    /// Forgets that the topology was applied: something of it is missing.
    pub(crate) fn invalidate(&self) {
        self.applied.send_replace(0);
    }

    async fn apply_for(&self, generation: u64) -> Result<(), ApplyError> {
        let _one_at_a_time = self.applying.lock().await;
        // A newer one may have been applied while this call waited; the caller looks again.
        if *self.applied.borrow() >= generation {
            return Ok(());
        }
        loop {
            match apply(&*self.transport, &self.topology).await {
                Ok(()) => break,
                Err(error) if self.held.load(Ordering::Relaxed) && error.may_pass() => {
                    let errors: Vec<String> = error.errors.iter().map(ToString::to_string).collect();
                    tracing::warn!(
                        "the broker refuses what it took before; trying again: {}",
                        errors.join("; ")
                    );
                    // With the lock held: whoever else needs the topology waits as well.
                    sleep(REFUSED_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.held.store(true, Ordering::Relaxed);
        self.applied.send_replace(generation);
        self.times.send_modify(|times| *times += 1);
        Ok(())
    }
}
