//! The checked program, and how it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    BusBuilder, Handle, assemble,
    connect::{eyes, policy_eyes},
    groups::Groups,
    summary,
};
use crate::{
    clock::Clock,
    config::Config,
    dead_letters::{Desk, KnownGroup},
    duration,
    error::{Error, Result},
    handler::{HandlerService, TypeMap},
    model::{Permissions, Topology},
    monitor::{Monitor, measure_queues, watch_drift, watch_link},
    publish::{Background, Publisher, PublisherSettings},
    registry::Registry,
    shutdown::Signals,
    topology::{
        Exchanges, GraphFinding, GroupSpec, Program, Provision, ProvisionError,
        explain::{self, ExplainError, Explanation, Question},
        graph,
    },
    transport::{Link, LinkState, Transport, TransportError},
    wire,
    worker::{FullQueues, Handovers, Observation, Post, WorkerContext, work},
};

/// How long the broker may take over the last words of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that was checked and is not yet connected.
pub struct Bus {
    pub(super) monitor: Monitor,
    pub(super) registry: Registry,
    /// Boxed, as futures hold it.
    pub(super) config: Box<Config>,
    pub(super) groups: Vec<Arc<GroupSpec>>,
    /// Where the dead letters of every group are that the program declares.
    pub(super) dead_letters: BTreeMap<String, KnownGroup>,
    pub(super) topology: Topology,
    pub(super) publishing: PublisherSettings,
    pub(super) exchanges: Exchanges,
    pub(super) transport: TransportChoice,
    pub(super) state: TypeMap,
    pub(super) service: Option<HandlerService>,
    pub(super) clock: Clock,
    pub(super) observer: Option<mpsc::UnboundedSender<Observation>>,
    /// Whether it runs handlers (not `publish_only`).
    pub(super) consumes: bool,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration prints itself on demand; it is long, and so is the topology.
        f.debug_struct("Bus")
            .field("groups", &self.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>())
            .field("queues", &self.queues().map(|queue| queue.as_str()).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The broker that the bus will run on.
#[derive(Clone)]
pub(super) enum TransportChoice {
    /// This one.
    Given(Arc<dyn Transport>),
    /// A new one in this process; somebody asked for it or not.
    Memory { chosen: bool, name: Option<String> },
    /// RabbitMQ.
    #[cfg(feature = "amqp")]
    Amqp(Box<crate::transport::amqp::AmqpOptions>),
}

impl Bus {
    /// Starts a builder.
    pub fn builder() -> BusBuilder {
        BusBuilder::new()
    }

    /// The effective configuration; prints with the source of each value, secrets masked.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the broker will be brought to.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The groups that this process will consume.
    pub(crate) fn groups(&self) -> &[Arc<GroupSpec>] {
        &self.groups
    }

    /// Which exchange a name means.
    pub(crate) fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// What users of the broker have to be allowed, and no more: one who makes the topology, one as whom this program
    /// runs with `declare = "passive"`.
    ///
    /// The runtime user may publish the events that the program knows, each with its key; what is published raw
    /// ([`Publisher::raw`]) to a topic exchange needs topic permissions besides.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        let mut published: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for kind in self.registry.kinds() {
            published.entry(self.exchanges.of(kind)).or_default().insert(kind.key);
        }
        Permissions::of(&self.topology, &published)
    }

    /// The queues that this process will consume.
    pub fn queues(&self) -> impl Iterator<Item = &crate::name::QueueName> {
        self.groups.iter().map(|group| &group.queue)
    }

    /// Looks at the bus from elsewhere, from before it is started until after it has ended.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// What the program declares.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says who gets an event or a message, by which exchange, binding and queue, what follows a failure, and why
    /// a handler does not get it. Looks at what the program declares, and at no broker.
    ///
    /// All groups of the program are asked, also those that this process does not consume.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] for an event, an exchange or a handler that the program does not know, with the nearest
    /// one that it does.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{Bus, Registry, explain::Question};
    ///
    /// # fn main() -> es_bus::Result<()> {
    /// let bus = Bus::builder().url("memory://").registry(Registry::new()).publish_only().build()?;
    ///
    /// let explanation = bus.explain(&Question::key("Order.OrderPlaced")).unwrap();
    /// assert!(explanation.to_string().contains("nobody in this program gets it"));
    ///
    /// assert!(bus.explain(&Question::event("OrderPlaced")).is_err(), "no such event is declared");
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain(&self, question: &Question) -> std::result::Result<Explanation, ExplainError> {
        self.as_a_whole(|program| explain::explain(program, question))
    }

    /// What about the program's topology is allowed and probably not meant: settings that lose events or undo each
    /// other, events that nobody takes, exchanges that lead nowhere, handlers that may call each other for ever. The
    /// gravest first.
    ///
    /// All groups of the program are looked at. A start tells those of the groups that it consumes.
    #[must_use]
    pub fn cautions(&self) -> Vec<GraphFinding> {
        self.as_a_whole(graph::findings)
    }

    /// Looks at the program beyond what this process consumes.
    fn as_a_whole<T>(&self, look: impl FnOnce(&Program<'_>) -> T) -> T {
        let whole = assemble::whole(self);
        let groups: Vec<&GroupSpec> = whole.groups.iter().map(|group| &**group).collect();
        look(&Program {
            registry: &self.registry,
            exchanges: &self.exchanges,
            groups: &groups,
            topology: &whole.topology,
            is_consumed: &|name| self.is_consumed(name),
        })
    }

    fn is_consumed(&self, group: &str) -> bool {
        self.groups.iter().any(|there| there.name.as_str() == group)
    }

    /// The dead-letter queues of all groups that the program declares and that keep dead letters.
    #[cfg(feature = "cli")]
    pub(crate) fn dead_letter_queues(&self) -> impl Iterator<Item = (&str, &crate::name::QueueName)> {
        self.dead_letters.iter().filter_map(|(name, group)| Some((name.as_str(), group.dlq()?)))
    }

    /// The same program for somebody who operates it: started, it consumes nothing, declares nothing and serves
    /// nothing.
    #[cfg(feature = "cli")]
    pub(crate) fn at_rest(mut self) -> Self {
        self.groups.clear();
        self.topology = Topology::new();
        self.config.bus.declare.value = crate::model::policy::Declare::None;
        self.config.bus.http.value = None;
        self.config.bus.drift_interval.value = None;
        self
    }

    /// Connects, brings the broker to the topology, and consumes, until SIGTERM or SIGINT.
    ///
    /// A broker that is not there yet is waited for, as long as `start_timeout` says. A second signal
    /// ends the process at once, with exit code 130: handlers that block their thread cannot be waited
    /// for. What happens is told through `tracing`, as [`start`](Self::start) says.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the broker refuses the login or the topology, at the start or later.
    pub async fn run(self) -> Result<()> {
        let mut signals = listen().await?;
        let handle = tokio::select! {
            handle = self.start() => handle?,
            signal = signals.first() => {
                tracing::info!(signal, "stopped before the broker was there");
                return Ok(());
            }
        };
        handle.stop_at(signals).await
    }

    /// Connects, brings the broker to the topology, and consumes in the background.
    ///
    /// Returns once the topology is there; a broker that is not there yet is waited for, as long as
    /// `start_timeout` says: for ever, unless it is set.
    ///
    /// Failures of handlers, events that no queue takes, and lost connections are told through
    /// `tracing`, and nowhere else but in [`Handle::counts`]: install a subscriber first
    /// (`tracing_subscriber::fmt().init()`), or call [`es_bus::run`](crate::run), which does.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the broker refuses the login or the topology, or is not there in
    /// time.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way it leaves at worst a part of the topology declared.
    pub async fn start(self) -> Result<Handle> {
        for warning in &self.config.warnings {
            tracing::warn!("{warning}");
        }
        tracing::debug!("effective configuration:\n{}", self.config);
        let mut findings = self.cautions();
        findings.retain(|finding| finding.group.as_deref().is_none_or(|group| self.is_consumed(group)));
        let drift = match self.config.bus.drift_interval.value {
            Some(every) => Some((eyes(&self.config, &self.transport)?, every)),
            None => None,
        };
        let policies = policy_eyes(&self.config, &self.transport, &self.topology)?;
        let monitor = self.monitor;
        monitor.starts();
        // Ended with this call when it fails, and with the supervisor when it does not.
        let mut attendants = attendants(&self.config, &monitor).await?;
        let counters = Arc::clone(monitor.counters());
        counters.register(self.registry.kinds().iter().map(|kind| kind.name));
        let transport = self.transport.connect();
        tracing::info!(broker = transport.describe(), "connecting");
        let provision = Provision::new(Arc::clone(&transport), self.topology, self.config.bus.declare.value);
        let provision = Arc::new(provision.with_policies(policies));
        monitor.connects(&provision);
        attendants.spawn(watch_link(monitor.clone(), Arc::clone(&provision)));
        if let Err(error) = first_ready(&provision, self.config.bus.start_timeout.value).await {
            close(&*transport).await;
            monitor.ended(Some(error.to_string()));
            return Err(error);
        }
        if let (true, Some(every)) = (cfg!(feature = "metrics"), self.config.bus.queue_size_interval.value) {
            attendants.spawn(measure_queues(Arc::clone(&provision), every));
        }
        if let Some((eyes, every)) = drift {
            attendants.spawn(watch_drift(monitor.clone(), Arc::clone(&provision), eyes, every, rand::random));
        }
        summary::log(&self.groups, &self.registry, &self.exchanges, &findings);
        let shutdown_timeout = self.config.bus.shutdown_timeout.value;

        let (publisher, background) =
            Publisher::new(Arc::clone(&provision), self.publishing, self.clock, Arc::clone(&counters));
        let mut state = self.state;
        state.insert(publisher.clone());
        let header_limit = wire::header_limit(
            usize::try_from(self.config.bus.frame_max.value.bytes()).unwrap_or(usize::MAX),
        );
        let desk = Desk::new(
            Arc::clone(&provision),
            publisher.clone(),
            self.clock,
            Arc::clone(&counters),
            header_limit,
            self.dead_letters,
            self.config.bus.dlq_exchange_suffix.value.clone(),
        );
        let (stop, kill) = (monitor.stop().clone(), CancellationToken::new());
        let context = WorkerContext {
            provision,
            state: Arc::new(state),
            clock: self.clock,
            counters: Arc::clone(&counters),
            service: self.service,
            consumer_name: self.config.bus.consumer_name.value.clone(),
            header_limit,
            tracing: self.config.bus.tracing.value,
            stop: stop.clone(),
            kill: kill.clone(),
            watchdog: self.config.bus.watchdog_interval.value,
            full: FullQueues::default(),
            alone: Arc::default(),
            handovers: Handovers::default(),
            observer: self.observer,
        };
        for group in &self.groups {
            // Their workers find what is made here: none is to be missed until they run.
            let _ = counters.group(group.watch());
        }
        let (groups, posts) =
            Groups::new(&self.groups, context.clone(), self.registry, self.config, self.exchanges);
        let supervisor = Supervisor {
            groups: Arc::clone(&groups),
            posts,
            context,
            publisher: publisher.clone(),
            background,
            transport,
            shutdown_timeout,
            monitor: monitor.clone(),
            _attendants: attendants,
        };
        monitor.serves();
        let running = tokio::spawn(supervisor.run());
        Ok(Handle { publisher, monitor, groups, desk, stop, kill, running: Some(running) })
    }
}

/// Waits until the broker is there and at its topology, for so long at most.
async fn first_ready(provision: &Provision, patience: Option<Duration>) -> Result<u64> {
    let Some(patience) = patience else { return Ok(provision.ready().await?) };
    let transport = provision.transport();
    tokio::select! {
        biased;
        ready = provision.ready() => Ok(ready?),
        reason = unavailable(transport.link(), patience) => Err(not_in_time(&**transport, patience, reason)),
    }
}

/// Waits until the connections are there, for so long at most.
pub(super) async fn connected(transport: &dyn Transport, patience: Duration) -> Result<()> {
    let mut link = transport.link();
    let up = async {
        loop {
            match &link.borrow_and_update().state {
                LinkState::Up => return Ok(()),
                LinkState::Fatal(error) => return Err(Error::from(Arc::clone(error))),
                LinkState::Closed => return Err(Error::Closed),
                LinkState::Connecting | LinkState::Backoff { .. } => {}
            }
            if link.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    };
    tokio::select! {
        biased;
        up = up => up,
        reason = unavailable(transport.link(), patience) => Err(not_in_time(transport, patience, reason)),
    }
}

fn not_in_time(transport: &dyn Transport, patience: Duration, reason: String) -> Error {
    let waited = match patience {
        Duration::ZERO => "at the first attempt at each host".to_owned(),
        patience => format!("within {}", duration::print(patience)),
    };
    TransportError::NotInTime { address: transport.describe(), waited, reason }.into()
}

/// Waits until the time is up, or, where there is none, until each host has been tried in vain; says what
/// failed last.
async fn unavailable(mut link: watch::Receiver<Link>, patience: Duration) -> String {
    let mut last = "no answer yet".to_owned();
    let failures = async {
        loop {
            if let LinkState::Backoff { reason, retry_in } = &link.borrow_and_update().state {
                last.clone_from(reason);
                // A pause is made once all have had their turn.
                if patience.is_zero() && !retry_in.is_zero() {
                    return;
                }
            }
            if link.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    match patience {
        Duration::ZERO => failures.await,
        patience => drop(timeout(patience, failures).await),
    }
    last
}

pub(super) async fn listen() -> Result<Signals> {
    let signals = Signals::listen().await;
    signals.map_err(|error| Error::Internal(format!("signals cannot be listened for: {error}")))
}

/// What goes on beside the workers, from before the broker is there.
#[cfg(feature = "http")]
async fn attendants(config: &Config, monitor: &Monitor) -> Result<JoinSet<()>> {
    let mut attendants = JoinSet::new();
    if let Some(address) = config.http()? {
        crate::http::install();
        let server = crate::http::Server::bind(address).await?;
        monitor.serves_http(server.address());
        attendants.spawn(server.serve(monitor.clone()));
    }
    Ok(attendants)
}

/// What goes on beside the workers, from before the broker is there.
#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "with the feature `http` it binds a port")]
async fn attendants(_config: &Config, _monitor: &Monitor) -> Result<JoinSet<()>> {
    Ok(JoinSet::new())
}

/// Owns the workers of a running bus.
struct Supervisor {
    groups: Arc<Groups>,
    /// Workers that are to be started: of the groups that are declared, then of those that come.
    posts: mpsc::UnboundedReceiver<Post>,
    context: WorkerContext,
    publisher: Publisher,
    background: Background,
    transport: Arc<dyn Transport>,
    shutdown_timeout: Duration,
    monitor: Monitor,
    /// Aborted when the supervisor is done, or gone: none of them holds anything that could be lost.
    _attendants: JoinSet<()>,
}

impl Supervisor {
    /// Runs the workers until they are stopped, or until one of them cannot go on.
    ///
    /// Killed anywhere: what is not acknowledged comes again.
    async fn run(mut self) -> Result<()> {
        let (stop, kill) = (self.context.stop.clone(), self.context.kill.clone());
        let mut workers = JoinSet::new();
        let mut background = JoinSet::new();
        background.spawn(self.background.run(self.publisher.clone()));
        let mut result = Ok(());
        {
            let mut given_up = pin!(given_up(&self.context.provision));
            while result.is_ok() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    Some(post) = self.posts.recv() => {
                        workers.spawn(work(post, self.context.clone()));
                    }
                    // One that nobody subscribes to any more ends in order, and the others go on.
                    Some(ended) = workers.join_next() => result = worker_ended(ended),
                    // Also when the consumers could go on: nothing that fails could be retried any more.
                    error = &mut given_up => result = Err(error.into()),
                }
            }
        }
        self.groups.close();
        stop.cancel();
        let deadline = Instant::now() + self.shutdown_timeout;
        if timeout_at(deadline, all_ended(&mut workers, &mut result)).await.is_err() {
            kill.cancel();
            if timeout(CLOSE_TIMEOUT, all_ended(&mut workers, &mut result)).await.is_err() {
                tracing::error!("a worker did not end; its events come again when the connection is closed");
            }
        }
        // Nobody publishes any more but those who keep a publisher.
        self.publisher.drain();
        tokio::select! {
            () = kill.cancelled() => {}
            _ = timeout_at(deadline, background.join_next()) => {}
        }
        // What is left is told to be lost.
        background.shutdown().await;
        self.publisher.close();
        close(&*self.transport).await;
        self.groups.clear();
        self.monitor.ended(result.as_ref().err().map(ToString::to_string));
        result
    }
}

/// Keeps the broker at the topology over reconnects, also where nobody consumes; ends when it cannot
/// be kept any more.
async fn given_up(provision: &Provision) -> ProvisionError {
    let mut link = provision.transport().link();
    loop {
        link.mark_unchanged();
        if let Err(error) = provision.ready().await {
            return error;
        }
        if link.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn worker_ended(
    ended: std::result::Result<std::result::Result<(), ProvisionError>, tokio::task::JoinError>,
) -> Result<()> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(join) => Err(join.into()),
    }
}

/// Waits for every worker; keeps the first failure.
async fn all_ended(workers: &mut JoinSet<std::result::Result<(), ProvisionError>>, result: &mut Result<()>) {
    while let Some(ended) = workers.join_next().await {
        let ended = worker_ended(ended);
        if result.is_ok() {
            *result = ended;
        }
    }
}

pub(super) async fn close(transport: &dyn Transport) {
    if timeout(CLOSE_TIMEOUT, transport.close()).await.is_err() {
        tracing::warn!("the broker did not answer while the connection was closed");
    }
}
