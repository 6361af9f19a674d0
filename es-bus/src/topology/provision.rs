//! Keeps a broker at its topology: applied once per connection, before anyone publishes or consumes.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    ApplyError,
    apply::{bind_but, declare, declare_own, look, see_renamed},
    migrate,
    plan::Eyes,
    policies::{self, Move},
};
use crate::{
    model::{Binding, Policy, Topology, policy::Declare},
    transport::{DeclareError, Link, LinkState, Transport, TransportError},
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
    /// Kept, so that a publish need not ask for one of its own.
    link: watch::Receiver<Link>,
    /// Grows and shrinks with what is subscribed while the program runs.
    topology: RwLock<Arc<Topology>>,
    /// Bindings that subscriptions of this process left on their queues when they ended, the latest last.
    left: Mutex<Vec<Binding>>,
    declare: Declare,
    /// What policies are set with; `None` where nobody has any to set, or it is left to others.
    eyes: Option<Eyes>,
    /// The generation for which the topology was applied last; 0 for none.
    applied: watch::Sender<u64>,
    applying: tokio::sync::Mutex<()>,
    /// How often the topology was applied.
    times: watch::Sender<u64>,
    /// Whether the topology was ever applied.
    held: AtomicBool,
}

/// How many bindings that ended subscriptions left are remembered.
const LEFT: usize = 1000;

/// How long it may take until a connection is known to be lost.
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(50);

/// How long a management API that does not answer is waited for while the broker is there.
const UNANSWERED_FOR: Duration = Duration::from_secs(20);

/// How long a broker that refuses what it took before is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done about policies.
#[derive(Debug, Default)]
struct Limits {
    set: Vec<Policy>,
    /// By their names.
    delete: Vec<String>,
}

impl fmt::Debug for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provision")
            .field("broker", &self.transport.describe())
            .field("applied", &*self.applied.borrow())
            .finish_non_exhaustive()
    }
}

impl Provision {
    /// Keeps `transport` at `topology`, or sees that others do.
    #[must_use]
    pub(crate) fn new(transport: Arc<dyn Transport>, topology: Topology, declare: Declare) -> Self {
        Self {
            link: transport.link(),
            transport,
            topology: RwLock::new(Arc::new(topology)),
            left: Mutex::default(),
            declare,
            eyes: None,
            applied: watch::Sender::new(0),
            applying: tokio::sync::Mutex::new(()),
            times: watch::Sender::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// Sets the policies of queues as well, with these.
    #[must_use]
    pub(crate) fn with_policies(mut self, eyes: Option<Eyes>) -> Self {
        self.eyes = eyes;
        self
    }

    /// The broker.
    #[must_use]
    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// Whether this program may declare what is not its own alone.
    #[must_use]
    pub(crate) fn may_declare(&self) -> bool {
        self.declare == Declare::Create
    }

    /// The topology, as it is now.
    #[must_use]
    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the broker at this topology from now on. Nothing is declared for it, and nothing removed.
    pub(crate) fn hold(&self, topology: Topology) {
        let now = Arc::new(topology);
        let before = {
            let mut held = self.topology.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, Arc::clone(&now))
        };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.extend(before.without(&now).bindings().cloned());
        left.retain(|it| !now.bindings().chain(now.unbound()).any(|there| there == it));
        let forgotten = left.len().saturating_sub(LEFT);
        left.drain(..forgotten);
    }

    /// What this process once asked for, no longer does, and did not unbind: it stays on the broker, and is no
    /// drift.
    pub(crate) fn left(&self) -> Topology {
        let mut topology = Topology::new();
        for binding in &*self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            topology.add_binding(binding.clone());
        }
        topology
    }

    /// Declares `part` on the broker, waiting for one that is not there, then runs `commit` before
    /// anyone applies the topology again: it is to [`hold`](Self::hold) one with the part in it.
    ///
    /// What is refused never comes into the topology, so that it cannot stop the bus when it connects
    /// anew.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`] when waiting longer cannot help.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves at worst a part of it declared; `commit` runs whole or not at all.
    pub(crate) async fn extend<T>(
        &self,
        part: &Topology,
        commit: impl FnOnce() -> T,
    ) -> Result<T, ProvisionError> {
        loop {
            let generation = self.ready().await?;
            let one_at_a_time = self.applying.lock().await;
            if *self.applied.borrow() != generation {
                continue;
            }
            match self.bring_to(part, true).await {
                Ok(()) => return Ok(commit()),
                Err(error) if error.is_interrupted() => {
                    drop(one_at_a_time);
                    tracing::debug!(%error, "the connection was lost while a part was declared");
                    // A link that is still up will be told of its loss in a moment.
                    sleep(INTERRUPTED_PAUSE).await;
                }
                Err(error) => return Err(ProvisionError::Topology(error)),
            }
        }
    }

    /// Waits until the broker is there and at its topology; gives the generation of the connection.
    ///
    /// The node of a classic queue is waited for as well. So is a topology that was applied before and is
    /// refused since, in a way that may pass: a node that restarts, say, answers for a while that there
    /// is no such queue. A queue that was applied before and has other settings since is taken as it is.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`] when waiting longer cannot help.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves at worst a part of the topology declared.
    pub(crate) async fn ready(&self) -> Result<u64, ProvisionError> {
        if let Some(generation) = self.applied_to() {
            return Ok(generation);
        }
        let mut link = self.transport.link();
        loop {
            let (state, generation) = {
                let now = link.borrow_and_update();
                (now.state.clone(), now.generation)
            };
            match state {
                LinkState::Up if *self.applied.borrow() == generation => return Ok(generation),
                // Boxed: every publish in flight holds this future.
                LinkState::Up => match Box::pin(self.apply_for(generation)).await {
                    Ok(()) => {}
                    Err(error) if error.is_interrupted() => {
                        tracing::debug!(%error, "the connection was lost while the topology was applied");
                        // A link that is still up will be told of its loss in a moment.
                        if link.has_changed().is_ok_and(|changed| !changed) {
                            sleep(INTERRUPTED_PAUSE).await;
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

    /// The generation of the connection that is there and at its topology.
    fn applied_to(&self) -> Option<u64> {
        let generation = {
            let now = self.link.borrow();
            matches!(now.state, LinkState::Up).then_some(now.generation)
        };
        generation.filter(|generation| *self.applied.borrow() == *generation)
    }

    /// Whether the broker is there and at its topology, as far as this program knows.
    pub(crate) fn is_applied(&self) -> bool {
        let applied = *self.applied.borrow();
        applied != 0 && applied == self.transport.link().borrow().generation
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

    /// Declares, or looks whether others did. What is brought anew was never there before.
    async fn bring_to(&self, topology: &Topology, anew: bool) -> Result<(), ApplyError> {
        let admin = &*self.transport;
        // Once it was bound beside its former queue, it is for a plan to tell.
        if !self.held.load(Ordering::Relaxed) && self.declare != Declare::None {
            see_renamed(admin, topology).await?;
        }
        match self.declare {
            Declare::Create => {
                // Looked for before anything is declared, and set before anything is bound: no event comes into a
                // queue that has not its limits.
                let limits = self.limits(topology, anew).await?;
                declare(admin, topology).await?;
                self.set(limits, anew).await?;
                bind_but(admin, topology, topology, &BTreeSet::new()).await
            }
            Declare::Passive => {
                look(admin, topology).await?;
                declare_own(admin, topology).await
            }
            Declare::None => declare_own(admin, topology).await,
        }
    }

    /// What is to be done about policies, which needs no more rights than to look where they are as declared.
    ///
    /// After the first time nothing is changed but what is missing: a newer version of the program may have set them
    /// since, and this one is not to take that back when it connects anew. What is in the way then is told by
    /// `drift_interval`, and stops nobody who was served before.
    async fn limits(&self, topology: &Topology, anew: bool) -> Result<Limits, ApplyError> {
        let mut limits = Limits::default();
        let first = topology.queues().find(|queue| queue.has_policy());
        let (Some(eyes), Some(first)) = (&self.eyes, first) else { return Ok(limits) };
        let name = topology
            .policies()
            .next()
            .map_or_else(|| Policy::name_for(&first.name), |it| it.name().to_owned());
        let there = match eyes.policies(&*self.transport, &name).await {
            Ok(there) => there,
            Err(error) if anew => return Err(ApplyError { errors: vec![error] }),
            Err(error) => {
                tracing::warn!(%error, "cannot see whether the policies of queues are there; they were");
                return Ok(limits);
            }
        };
        let mut errors = Vec::new();
        for it in policies::moves(topology, &there, |_| None) {
            match it {
                Move::Set { policy, was, .. } if anew || was.is_none() => limits.set.push(policy),
                Move::Delete { policy, queue, .. } if anew && queue.has_policy() => {
                    limits.delete.push(policy.name.clone());
                }
                Move::Blocked { policy, others, .. } if anew => {
                    errors.push(policies::refusal(&policy, &others));
                }
                Move::Set { .. } | Move::Delete { .. } | Move::Blocked { .. } => {}
            }
        }
        if errors.is_empty() { Ok(limits) } else { Err(ApplyError { errors }) }
    }

    async fn set(&self, limits: Limits, anew: bool) -> Result<(), ApplyError> {
        let Some(eyes) = &self.eyes else { return Ok(()) };
        let mut errors: Vec<DeclareError> = Vec::new();
        for policy in &limits.set {
            tracing::info!(
                policy = policy.name(),
                "setting the limits of a queue: {}",
                policies::table(&policy.definition)
            );
            errors.extend(eyes.put_policy(&*self.transport, policy).await.err());
        }
        for name in &limits.delete {
            tracing::info!(policy = name, "deleting the policy of a queue that has no limits any more");
            errors.extend(eyes.delete_policy(&*self.transport, name).await.err());
        }
        match errors.is_empty() {
            true => Ok(()),
            false if anew => Err(ApplyError { errors }),
            false => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                tracing::warn!("policies that were there are missing: {}", errors.join("; "));
                Ok(())
            }
        }
    }

    /// Binds what the topology has, but for those of these queues that are being migrated: they are not to be
    /// bound while messages are moved, and whoever does that binds them in the end.
    async fn bind_around(&self, topology: &Topology, mut changed: BTreeSet<&str>) -> Result<(), ApplyError> {
        let admin = &*self.transport;
        for queue in topology.queues().filter(|queue| !queue.exclusive) {
            let name = queue.name.as_str();
            let Some(aside) = changed.contains(name).then(|| migrate::aside(&queue.name)).flatten() else {
                continue;
            };
            let status = admin.queue_status(&aside).await;
            if status.map_err(|error| ApplyError { errors: vec![error] })?.is_none() {
                changed.remove(name);
            }
        }
        bind_but(admin, topology, topology, &changed).await
    }

    async fn apply_for(&self, generation: u64) -> Result<(), ApplyError> {
        let _one_at_a_time = self.applying.lock().await;
        // A newer one may have been applied while this call waited; the caller looks again.
        if *self.applied.borrow() >= generation {
            return Ok(());
        }
        let mut was_forbidden = false;
        let since = Instant::now();
        loop {
            // The topology is read anew each time: a subscription may have ended meanwhile.
            let topology = self.topology();
            match self.bring_to(&topology, !self.held.load(Ordering::Relaxed)).await {
                Ok(()) => break,
                // More likely somebody else's address than one that comes up beside a broker that is there.
                Err(error) if error.is_unanswered() && since.elapsed() > UNANSWERED_FOR => return Err(error),
                // Another version of this program has migrated them. To consume, and to publish, they need not be
                // what is declared here, so that this one may serve until it is replaced.
                Err(error) if self.held.load(Ordering::Relaxed) && error.changed_queues().is_some() => {
                    let changed = error.changed_queues().unwrap_or_default();
                    tracing::warn!(
                        queues = ?changed,
                        "queues have other settings than this program declares since it declared them: they were migrated \
                         by another version of it, or changed by hand; going on with them as they are. This program does \
                         not start again until it declares what is there"
                    );
                    self.bind_around(&topology, changed).await?;
                    break;
                }
                Err(error) if error.is_down() || self.held.load(Ordering::Relaxed) && error.may_pass() => {
                    let errors: Vec<String> = error.errors.iter().map(ToString::to_string).collect();
                    tracing::warn!("the topology cannot be had now; trying again: {}", errors.join("; "));
                    // With the lock held: whoever else needs the topology waits as well.
                    sleep(REFUSED_PAUSE).await;
                }
                // What was allowed before. Of a virtual host that is deleted the broker says this, and ends the
                // connection in the next moment; what it says then is clearer.
                Err(error) if self.held.load(Ordering::Relaxed) && error.is_forbidden() && !was_forbidden => {
                    was_forbidden = true;
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
