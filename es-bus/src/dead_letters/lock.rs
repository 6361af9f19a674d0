//! One call at a time per dead-letter queue.
//!
//! Two tools on one queue would each see a part of it, and the order in which they put it back would
//! be anyone's. Within the program a mutex keeps them apart; between programs an exclusive queue,
//! which belongs to a connection: a tool that is killed takes it along.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::DeadLetterError;
use crate::{
    model::{Queue, QueueKind},
    name::QueueName,
    transport::{DeclareError, Transport},
};

/// How long a call of this program is waited for: long enough for one that was dropped to clear up.
const PATIENCE: Duration = Duration::from_secs(1);

/// The locks of one program.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<QueueName, Arc<tokio::sync::Mutex<()>>>>);

/// The right to work on a dead-letter queue; gives it back when dropped.
pub(super) struct Lock {
    transport: Arc<dyn Transport>,
    /// What is left to give back.
    held: Option<(QueueName, OwnedMutexGuard<()>)>,
}

impl Locks {
    pub(super) async fn acquire(
        &self,
        transport: &Arc<dyn Transport>,
        dlq: &QueueName,
    ) -> Result<Lock, DeadLetterError> {
        let name = QueueName::new(format!("{dlq}.lock"))?;
        let busy = || DeadLetterError::Busy { queue: dlq.to_string(), lock: name.to_string() };
        let own = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(dlq.clone()).or_default())
        };
        let guard = timeout(PATIENCE, own.lock_owned()).await.map_err(|_elapsed| busy())?;
        // Before it is declared: a call that is dropped meanwhile gives back what there may be.
        let lock = Lock { transport: Arc::clone(transport), held: Some((name.clone(), guard)) };
        let queue =
            Queue { durable: false, exclusive: true, ..Queue::durable(name.clone(), QueueKind::Classic) };
        match transport.declare_queue(&queue).await {
            Ok(()) => Ok(lock),
            // 405, in the broker's own word: it belongs to another connection.
            Err(DeclareError::Refused { reason, .. }) if reason.contains("RESOURCE_LOCKED") => Err(busy()),
            Err(DeclareError::Forbidden { .. }) => {
                tracing::warn!(
                    lock = %name,
                    "the user of the URL may not declare the lock, so that another program may work on these dead \
                     letters at the same time; nothing is lost by that, and either sees a part of them"
                );
                Ok(lock)
            }
            Err(DeclareError::Interrupted { reason, .. }) => {
                Err(DeadLetterError::Interrupted { queue: dlq.to_string(), done: 0, reason })
            }
            Err(source) => Err(DeadLetterError::Lock { queue: dlq.to_string(), source }),
        }
    }
}

impl Lock {
    /// Gives it back, and waits until others can have it.
    pub(super) async fn release(mut self) {
        if let Some((name, _guard)) = &self.held {
            unlock(&*self.transport, name).await;
        }
        // Only now: a release that is dropped half-way is done again by `drop`.
        self.held = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Some((name, guard)) = self.held.take() else { return };
        // Without a runtime the connection ends, and the lock with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let transport = Arc::clone(&self.transport);
            runtime.spawn(async move {
                unlock(&*transport, &name).await;
                drop(guard);
            });
        }
    }
}

async fn unlock(transport: &dyn Transport, name: &QueueName) {
    // Of another connection it cannot be deleted, and one that was lost has taken it along.
    if let Err(error) = transport.delete_queue(name).await {
        tracing::debug!(%error, "the lock was not deleted");
    }
}
