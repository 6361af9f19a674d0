//! The broker behind its lock, its timers, and the connections to it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::broker::{Broker, ConnectionId};
use crate::transport::Link;

/// A broker that several connections share.
pub(super) struct Shared {
    name: Option<String>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    timer: Arc<Notify>,
}

struct State {
    broker: Broker,
    /// What the timer sleeps until.
    armed: Option<Instant>,
    /// Lives in the runtime of whoever needed it first; made again when that runtime is gone.
    timer_task: Option<JoinHandle<()>>,
}

impl Shared {
    pub(super) fn new(name: Option<String>) -> Arc<Self> {
        let broker = Broker::new(Instant::now(), SystemTime::now());
        Arc::new(Self {
            name,
            state: Mutex::new(State { broker, armed: None, timer_task: None }),
            changes: watch::Sender::new(0),
            timer: Arc::new(Notify::new()),
        })
    }

    pub(super) fn named(name: &str) -> Arc<Self> {
        static BROKERS: LazyLock<Mutex<HashMap<String, Arc<Shared>>>> = LazyLock::new(Mutex::default);
        let mut brokers = BROKERS.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = brokers.entry(name.to_owned()).or_insert_with(|| Self::new(Some(name.to_owned())));
        Arc::clone(shared)
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Does something to the broker as it is at this moment, and lets it come to rest.
    pub(super) fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut Broker, Instant) -> R) -> R {
        let now = Instant::now();
        let result = {
            let mut state = self.lock();
            // What was due before this call happens before it.
            state.broker.run(now);
            let result = act(&mut state.broker, now);
            state.broker.run(now);
            self.arm(&mut state);
            result
        };
        // Whoever subscribes from now on looks at the broker as it is already.
        if self.changes.receiver_count() > 0 {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        result
    }

    /// Lets happen what is due, and nothing else.
    pub(super) fn catch_up(self: &Arc<Self>) {
        if self.look(Broker::next_due).is_some_and(|due| due <= Instant::now()) {
            self.with(|_, _| ());
        }
    }

    /// Looks at the broker and changes nothing.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Broker) -> R) -> R {
        look(&self.lock().broker)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that somebody wakes when the next message expires.
    fn arm(self: &Arc<Self>, state: &mut State) {
        let Some(due) = state.broker.next_due() else { return };
        let is_alive = state.timer_task.as_ref().is_some_and(|task| !task.is_finished());
        if is_alive {
            if state.armed.is_none_or(|armed| due < armed) {
                state.armed = Some(due);
                self.timer.notify_one();
            }
        } else if let Ok(runtime) = Handle::try_current() {
            state.armed = Some(due);
            let run = run_timer(Arc::downgrade(self), Arc::clone(&self.timer));
            state.timer_task = Some(runtime.spawn(run));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = state.timer_task.take() {
            task.abort();
        }
    }
}

/// Wakes the broker when something is due; ends with it.
async fn run_timer(broker: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let due = {
            let Some(shared) = broker.upgrade() else { return };
            shared.catch_up();
            let mut state = shared.lock();
            state.armed = state.broker.next_due();
            state.armed
        };
        match due {
            Some(due) => tokio::select! {
                () = sleep_until(due) => {}
                () = changed.notified() => {}
            },
            None => changed.notified().await,
        }
    }
}

/// One connection; the last clone of its [`super::Memory`] closes it.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConnectionId,
    pub(super) link: watch::Receiver<Link>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (id, link) = shared.with(|broker, _| broker.connect());
        Self { shared, id, link }
    }

    pub(super) fn close(&self) {
        self.shared.with(|broker, now| broker.close_connection(self.id, now));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// How long a connection that was cut stays away.
#[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "only faults cut links"))]
pub(super) const RECONNECT_AFTER: Duration = Duration::from_millis(200);
