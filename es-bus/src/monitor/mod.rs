//! What a bus tells of itself: statistics, queues, health.
//!
//! In come the counters, the state of the connections, and what the broker says when it is asked; out
//! goes plain data, for a program, a web server or a test. [`Monitor`] is the front: it can be had
//! before the bus is started, and stays valid after it has ended.

mod attend;
mod drift;
mod health;
mod queue;
mod stats;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use self::health::{Facts, GroupFacts, LinkFacts, Phase, assess};
pub(crate) use self::{
    attend::{measure_queues, watch_link},
    drift::watch_drift,
};
pub use self::{
    drift::Drift,
    health::{ConnectionStatus, Details, GroupHealth, Health, HealthStatus, Part, Problem},
    queue::{QueueInfo, QueueInfoError, QueueState},
    stats::Stats,
};
use crate::{
    clock::Clock,
    name::QueueName,
    telemetry::{Copies, Counters, Counts, GroupWatch},
    topology::Provision,
    transport::{Link, LinkState, QueueStatus},
};

/// How long the broker has to say how its queues are.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Looks at a bus: its statistics, its queues, its health. A clone is cheap, and looks at the same bus.
///
/// It opens no connection: what has to be asked of the broker goes over the one that the bus has.
///
/// # Examples
///
/// ```standalone_crate
/// # use es_bus::Bus;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> es_bus::Result<()> {
/// let bus = Bus::builder().url("memory://").publish_only().build()?;
/// let monitor = bus.monitor(); // for the web server, say
/// assert!(!monitor.is_ready());
///
/// let running = bus.start().await?;
///
/// assert!(monitor.is_ready());
/// assert_eq!(monitor.stats().events_published, 0);
/// running.stop().await
/// # }
/// ```
#[derive(Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

struct Shared {
    counters: Arc<Counters>,
    clock: Clock,
    exchange: String,
    stop: CancellationToken,
    started: OnceLock<OffsetDateTime>,
    provision: OnceLock<Arc<Provision>>,
    /// Whether the workers were started.
    serves: OnceLock<()>,
    /// Why the bus ended; `None` when it was told to.
    ended: OnceLock<Option<String>>,
    link: Mutex<Seen>,
    /// How the broker differed when it was last looked at.
    drift: Mutex<Option<Drift>>,
    /// The connections, for whoever watches them.
    links: watch::Sender<Link>,
    /// Where health and metrics are served.
    #[cfg(feature = "http")]
    http: OnceLock<std::net::SocketAddr>,
    /// Held while the broker is asked: however many ask, one does at a time.
    asking: tokio::sync::Mutex<()>,
}

/// What was seen of the connections.
#[derive(Default)]
struct Seen {
    generation: u64,
    connected_at: Option<OffsetDateTime>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("is_live", &self.is_live())
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl Monitor {
    /// Statistics since the bus was built, or since they were reset.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let groups = shared.counters.groups();
        let is_consuming = groups.iter().any(|group| group.is_consuming())
            && groups.iter().all(|group| group.is_consuming() || group.is_idle());
        let in_flight = groups.iter().map(|group| group.in_flight()).sum();
        let now = shared.clock.now();
        let uptime = shared.started.get().map_or(Duration::ZERO, |started| (now - *started).unsigned_abs());
        let link = self.link_facts();
        let connected_at = shared.seen().connected_at.filter(|_| link.is_up());
        Stats::new(
            self.counts(),
            shared.counters.moments(),
            stats::Now { connected_at, is_connected: link.is_up(), is_consuming, in_flight, uptime },
        )
    }

    /// The counters behind the statistics, and some more.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.snapshot()
    }

    /// Starts to count from zero: the statistics, and no metrics, which only go up.
    pub fn reset_stats(&self) {
        self.shared.counters.reset();
    }

    /// Asks the broker how full the queues of a group are: its work queue, and its dead-letter queue.
    ///
    /// # Errors
    ///
    /// [`QueueInfoError`] when no such group is consumed here, or the broker does not answer within
    /// five seconds.
    ///
    /// # RabbitMQ
    ///
    /// A passive `queue.declare` each: it counts messages that are ready, not those that are with a
    /// consumer.
    pub async fn queue_info(&self, group: &str) -> Result<QueueInfo, QueueInfoError> {
        let groups = self.shared.counters.groups();
        let Some(watch) = groups.iter().find(|watch| watch.name.as_str() == group) else {
            let known = groups.iter().map(|watch| watch.name.as_str().to_owned()).collect();
            return Err(QueueInfoError::UnknownGroup { group: group.to_owned(), known });
        };
        let unavailable = |reason: String| QueueInfoError::Unavailable { group: group.to_owned(), reason };
        let looked = match self.look(std::slice::from_ref(watch)).await {
            Ok(mut looked) => looked.pop(),
            Err(reason) => return Err(unavailable(reason)),
        };
        let Some(looked) = looked else { return Err(unavailable("nothing was asked".to_owned())) };
        let status = looked.queue.map_err(unavailable)?;
        let dlq = looked.dlq.transpose().map_err(unavailable)?.flatten();
        Ok(QueueInfo::new(watch, status, dlq))
    }

    /// How the bus is, after asking the broker how the queues are. Takes five seconds at most.
    ///
    /// What a probe should ask, that comes every few seconds, is [`is_live`](Self::is_live) or
    /// [`is_ready`](Self::is_ready), which trouble nobody.
    pub async fn health(&self) -> Health {
        let groups = self.shared.counters.groups();
        if !self.link_facts().is_up() {
            return self.assess(&groups, None);
        }
        let looked = self.look(&groups).await;
        self.assess(&groups, Some(looked))
    }

    /// How the bus is, as far as it knows without asking the broker.
    #[must_use]
    pub fn glance(&self) -> Health {
        self.assess(&self.shared.counters.groups(), None)
    }

    /// Whether starting the process anew would not help: `false` once the bus has ended, or was
    /// refused for good.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.glance().live
    }

    /// Whether the bus does its work: connected, at its topology, a consumer for every group, not
    /// blocked by the broker, no queue found that does not deliver, and not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.glance().ready
    }

    /// How the broker differs from what the program declares, as it was last seen; `None` where nobody looks (setting
    /// `drift_interval`), or has not looked yet.
    #[must_use]
    pub fn drift(&self) -> Option<Drift> {
        self.shared.drift.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connections to the broker as they are, and as they change, from before the bus is started until it
    /// has ended.
    ///
    /// A receiver sees the latest state; of several changes in a moment it may see the last one only.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// # use es_bus::{Bus, transport::LinkState};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> es_bus::Result<()> {
    /// let bus = Bus::builder().url("memory://").publish_only().build()?;
    /// let mut link = bus.monitor().link();
    /// let running = bus.start().await?;
    ///
    /// let now = link.borrow_and_update().clone();
    /// if let LinkState::Backoff { reason, retry_in } = &now.state {
    ///     println!("{} attempts failed, the next one in {retry_in:?}: {reason}", now.failures);
    /// }
    /// # assert!(matches!(now.state, LinkState::Up));
    /// running.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.links.subscribe()
    }

    /// Where health and metrics are served, once they are: the port, where the setting `http` left it
    /// to the system.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    #[must_use]
    pub fn http_address(&self) -> Option<std::net::SocketAddr> {
        self.shared.http.get().copied()
    }

    fn assess(&self, groups: &[Arc<GroupWatch>], looked: Option<Result<Vec<Looked>, String>>) -> Health {
        let shared = &*self.shared;
        let phase = match (shared.ended.get(), shared.serves.get()) {
            (Some(ended), _) => Phase::Ended(ended.clone()),
            (None, _) if shared.stop.is_cancelled() => Phase::Stopping,
            (None, None) => Phase::Starting,
            (None, Some(())) => Phase::Running,
        };
        let (mut answers, no_answer) = match looked {
            None => (Vec::new().into_iter(), None),
            Some(Ok(looked)) => (looked.into_iter(), None),
            Some(Err(reason)) => (Vec::new().into_iter(), Some(reason)),
        };
        let groups = groups
            .iter()
            .map(|group| GroupFacts {
                group: group.name.as_str().to_owned(),
                queue: group.queue.as_str().to_owned(),
                dlq: group.dlq.as_ref().map(|dlq| dlq.as_str().to_owned()),
                is_consuming: group.is_consuming(),
                is_idle: group.is_idle(),
                trouble: group.trouble(),
                held: [Copies::Retry, Copies::DeadLetter].map(|copies| group.held_by(copies)),
                looked: answers.next(),
            })
            .collect();
        assess(Facts {
            phase,
            link: self.link_facts(),
            is_provisioned: shared.provision.get().is_some_and(|provision| provision.is_applied()),
            no_answer,
            refused: shared.counters.refusals.reason(shared.clock.now()),
            groups,
            exchange: shared.exchange.clone(),
            stats: self.stats(),
            drift: self.drift(),
        })
    }

    fn link_facts(&self) -> LinkFacts {
        match self.shared.provision.get() {
            None => LinkFacts::none(),
            Some(provision) => LinkFacts::of(&provision.transport().link().borrow()),
        }
    }

    /// Asks the broker about the queues of groups, in their order.
    async fn look(&self, groups: &[Arc<GroupWatch>]) -> Result<Vec<Looked>, String> {
        let Some(provision) = self.shared.provision.get() else {
            return Err("the bus is not started".to_owned());
        };
        let ask = async {
            let _one_at_a_time = self.shared.asking.lock().await;
            let mut looked = Vec::with_capacity(groups.len());
            for group in groups {
                let queue = status(provision, &group.queue).await;
                let dlq = match &group.dlq {
                    Some(dlq) => Some(status(provision, dlq).await),
                    None => None,
                };
                looked.push(Looked { queue, dlq });
            }
            looked
        };
        timeout(ANSWER_WITHIN, ask)
            .await
            .map_err(|_elapsed| format!("the broker did not answer within {ANSWER_WITHIN:?}"))
    }
}

/// What the broker said about the queues of a group: `None` for a queue that is not there.
pub(super) struct Looked {
    queue: Result<Option<QueueStatus>, String>,
    dlq: Option<Result<Option<QueueStatus>, String>>,
}

async fn status(provision: &Provision, queue: &QueueName) -> Result<Option<QueueStatus>, String> {
    provision.transport().queue_status(queue).await.map_err(|error| error.to_string())
}

/// What the bus tells its monitor.
impl Monitor {
    pub(crate) fn new(counters: Arc<Counters>, clock: Clock, exchange: String) -> Self {
        Self {
            shared: Arc::new(Shared {
                counters,
                clock,
                exchange,
                stop: CancellationToken::new(),
                started: OnceLock::new(),
                provision: OnceLock::new(),
                serves: OnceLock::new(),
                ended: OnceLock::new(),
                link: Mutex::default(),
                drift: Mutex::default(),
                links: watch::Sender::new(Link {
                    state: LinkState::Connecting,
                    generation: 0,
                    failures: 0,
                    blocked: None,
                }),
                #[cfg(feature = "http")]
                http: OnceLock::new(),
                asking: tokio::sync::Mutex::default(),
            }),
        }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// What stops the bus.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// The bus starts.
    pub(crate) fn starts(&self) {
        let _ = self.shared.started.set(self.shared.clock.now());
    }

    /// The bus connects.
    pub(crate) fn connects(&self, provision: &Arc<Provision>) {
        let _ = self.shared.provision.set(Arc::clone(provision));
    }

    /// Health and metrics are served here.
    #[cfg(feature = "http")]
    pub(crate) fn serves_http(&self, address: std::net::SocketAddr) {
        let _ = self.shared.http.set(address);
    }

    /// The workers start.
    pub(crate) fn serves(&self) {
        if let Some(provision) = self.shared.provision.get() {
            self.see(&provision.transport().link().borrow());
        }
        let _ = self.shared.serves.set(());
    }

    /// The bus ended; for this reason, unless it was told to.
    pub(crate) fn ended(&self, reason: Option<String>) {
        if let Some(provision) = self.shared.provision.get() {
            self.see(&provision.transport().link().borrow());
        }
        let _ = self.shared.ended.set(reason);
    }

    /// The broker was looked at.
    pub(super) fn drifts(&self, drift: Drift) {
        *self.shared.drift.lock().unwrap_or_else(PoisonError::into_inner) = Some(drift);
    }

    /// Takes note of the connections.
    pub(super) fn see(&self, link: &Link) {
        let shared = &*self.shared;
        shared.links.send_replace(link.clone());
        let mut seen = shared.seen();
        match &link.state {
            LinkState::Up if link.generation > seen.generation => {
                // The first one is no reconnection; several may have passed unseen.
                shared.counters.reconnected.add(link.generation - seen.generation.max(1));
                *seen = Seen { generation: link.generation, connected_at: Some(shared.clock.now()) };
            }
            LinkState::Backoff { reason, .. } => {
                shared.counters.went_wrong(shared.clock.now(), format!("no connection: {reason}"));
            }
            LinkState::Fatal(error) => shared.counters.went_wrong(shared.clock.now(), error.to_string()),
            LinkState::Up | LinkState::Connecting | LinkState::Closed => {}
        }
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
