//! The groups of a running bus, and how they change while it runs.
//!
//! A change is made in this order: what it needs is declared on the broker; then, in one step under a
//! lock, the worker's group and the topology that is kept over reconnects change; then the worker is
//! waited for. Whatever is refused or given up before the step leaves the bus as it was.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    assemble::{group_settings, retry_policy},
    subscribe::{SubscribeError, Subscribers, Subscription, Wanted, Wish, is_lost, misfit},
    summary,
};
use crate::{
    config::Config,
    error::{Error, Result},
    event::EventKind,
    handler::Call,
    model::{ExchangeKind, Topology},
    name::GroupName,
    registry::Registry,
    topology::{Asked, Bound, Exchanges, GroupSpec, HandlerSpec, LateBound, bound, build},
    worker::{Assignment, Dispatching, Post, WorkerContext},
};

/// How many keys that were unbound are remembered per group, for what they had brought before.
const UNBOUND: usize = 1000;

pub(super) struct Groups {
    context: WorkerContext,
    registry: Registry,
    config: Box<Config>,
    exchanges: Exchanges,
    published: Vec<EventKind>,
    /// One change at a time: what it declares is what it commits.
    changing: tokio::sync::Mutex<()>,
    running: Mutex<Running>,
    /// Workers to be started by whoever owns them.
    posts: mpsc::UnboundedSender<Post>,
}

#[derive(Default)]
struct Running {
    groups: BTreeMap<String, Group>,
    /// Whether groups that come are paused at first.
    paused: bool,
    closed: bool,
}

struct Group {
    assignment: watch::Sender<Assignment>,
    consuming: watch::Receiver<bool>,
}

/// What a worker is assigned to, and what it does.
struct Change {
    assignment: watch::Receiver<Assignment>,
    consuming: watch::Receiver<bool>,
}

impl Group {
    fn spec(&self) -> Arc<GroupSpec> {
        Arc::clone(&self.assignment.borrow().group)
    }

    fn pause(&self, paused: bool) -> Change {
        self.assignment.send_modify(|now| now.paused = paused);
        self.changing()
    }

    fn changing(&self) -> Change {
        Change { assignment: self.assignment.subscribe(), consuming: self.consuming.clone() }
    }
}

impl Groups {
    /// The groups that the program declares, and their workers.
    pub(super) fn new(
        declared: &[Arc<GroupSpec>],
        context: WorkerContext,
        registry: Registry,
        config: Box<Config>,
        exchanges: Exchanges,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Post>) {
        let (posts, workers) = mpsc::unbounded_channel();
        let groups = Arc::new(Self {
            context,
            published: registry.kinds().into_iter().copied().collect(),
            registry,
            config,
            exchanges,
            changing: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            posts,
        });
        let mut running = groups.running();
        for spec in declared {
            groups.add(&mut running, Arc::clone(spec));
        }
        drop(running);
        (groups, workers)
    }

    /// Subscribes; gives the guard once the group consumes.
    pub(super) async fn subscribe(self: &Arc<Self>, wanted: Wanted) -> Result<Subscription> {
        let wanted = wanted.check(&self.context.state, &self.exchanges)?;
        let one_at_a_time = self.changing.lock().await;
        let spec = self.group_or_new(&wanted.group)?;
        let (alive, gone) = oneshot::channel();
        let handler = self.handler(wanted, &spec, alive)?;
        let mut after = (*spec).clone();
        after.handlers.push(handler.clone());
        let commit = || self.change(&spec, |group| group.handlers.push(handler.clone()));
        let name = Arc::clone(&handler.name);
        self.declare(after, commit).await?;
        // It holds the handler, and with it what tells that the last run is over.
        drop(handler);
        drop(one_at_a_time);
        // From here on, dropping this future drops the guard.
        let subscription = Subscription::new(Arc::clone(self), spec.name.clone(), name, gone);
        self.until_consuming(spec.name.as_str()).await?;
        Ok(subscription)
    }

    /// Ends a subscription: no delivery that starts from now on goes to it.
    pub(super) fn unsubscribe(self: &Arc<Self>, group: &GroupName, handler: &str) {
        let Some(spec) = self.running().groups.get(group.as_str()).map(Group::spec) else { return };
        let change = |group: &mut GroupSpec| group.handlers.retain(|it| *it.name != *handler);
        if let Err(error) = self.change(&spec, change) {
            tracing::debug!(%error, "a subscription ended after its bus");
        }
    }

    /// Binds a group's queue to an exchange; makes the group when there is none.
    pub(super) async fn bind(self: &Arc<Self>, group: &str, wish: Wish) -> Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let spec = self.group_or_new(group)?;
        let wished = self.wished(&spec, wish)?;
        let bind = |group: &mut GroupSpec| {
            for bound in &wished {
                group.bound.retain(|late| late.bound != *bound);
                group.bound.push(LateBound { bound: bound.clone(), holds: true });
            }
        };
        let mut after = (*spec).clone();
        bind(&mut after);
        self.declare(after, || self.change(&spec, bind)).await
    }

    /// Takes bindings back that were made by [`bind`](Self::bind), or that an ended subscription left.
    pub(super) async fn unbind(self: &Arc<Self>, group: &str, wish: Wish) -> Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let spec = self.group_or_new(group)?;
        let wished = self.wished(&spec, wish)?;
        let needed = spec.bindings();
        if let Some(bound) = wished.iter().find(|bound| needed.contains(bound)) {
            let key = bound.key.clone().into_owned();
            return Err(SubscribeError::StillBound { group: group.to_owned(), key }.into());
        }
        let unbind = |group: &mut GroupSpec| {
            for late in &mut group.bound {
                if wished.contains(&late.bound) {
                    late.holds = false;
                }
            }
            let forgotten = group.bound.iter().filter(|bound| !bound.holds).count().saturating_sub(UNBOUND);
            let mut left = forgotten;
            group.bound.retain(|bound| {
                let goes = !bound.holds && left > 0;
                left -= usize::from(goes);
                !goes
            });
        };
        // First from what is kept: a reconnect meanwhile must not bind it again.
        if self.is_running(group) {
            self.change(&spec, unbind)?;
        }
        let mut part = Topology::new();
        for bound in &wished {
            part.add_unbound(bound.of(spec.bound_queue(), spec.settings.weight));
        }
        self.context.provision.extend(&part, || ()).await?;
        // A group of an earlier run, or of another program, has a queue; a slip in the name has none.
        let transport = self.context.provision.transport();
        if !self.is_running(group) && matches!(transport.queue_status(&spec.queue).await, Ok(None)) {
            let known = self.running().groups.keys().cloned().collect();
            return Err(SubscribeError::NoGroup { group: group.to_owned(), known }.into());
        }
        Ok(())
    }

    /// Pauses or resumes a group; waits until it is so.
    pub(super) async fn pause(&self, group: &str, paused: bool) -> Result<()> {
        let change = {
            let running = self.running();
            running.groups.get(group).map(|group| group.pause(paused)).ok_or_else(|| {
                let known = running.groups.keys().cloned().collect();
                SubscribeError::NoGroup { group: group.to_owned(), known }
            })?
        };
        self.until_done(change).await;
        Ok(())
    }

    /// Pauses or resumes all groups, and those that come; waits until it is so.
    pub(super) async fn pause_all(&self, paused: bool) {
        let changes: Vec<Change> = {
            let mut running = self.running();
            running.paused = paused;
            running.groups.values().map(|group| group.pause(paused)).collect()
        };
        for change in changes {
            self.until_done(change).await;
        }
    }

    /// How many handlers there are, of what.
    pub(super) fn subscribers(&self) -> Subscribers {
        let running = self.running();
        let specs: Vec<_> = running.groups.values().map(Group::spec).collect();
        Subscribers::of_groups(specs.iter().map(AsRef::as_ref))
    }

    /// The topology that the broker is kept at.
    pub(super) fn topology(&self) -> Arc<Topology> {
        self.context.provision.topology()
    }

    /// Refuses every change from now on.
    pub(super) fn close(&self) {
        self.running().closed = true;
    }

    /// Lets go of every handler: one may hold what holds these groups.
    pub(super) fn clear(&self) {
        let groups = std::mem::take(&mut self.running().groups);
        drop(groups);
    }

    /// The bindings that are wished for, by the kinds of the exchanges that they stand on.
    fn wished(&self, group: &GroupSpec, wish: Wish) -> Result<Vec<Bound>> {
        let home = &group.settings.home;
        let bounds = match wish {
            Wish::Key(key) => {
                misfit(&key, home.as_str(), &self.exchanges)?;
                bound(Some(&[Asked::Key(key.into())]), None, home, &self.exchanges)
            }
            Wish::Events(kinds) => {
                if let Some(kind) = kinds.iter().find(|kind| is_lost(kind, &self.exchanges)) {
                    return Err(SubscribeError::NoHeaders { event: kind.key.to_owned() }.into());
                }
                bound(None, Some(kinds), home, &self.exchanges)
            }
        };
        bounds.map_err(|error| Error::Conflict(vec![error.into()]))
    }

    pub(super) fn dispatching(&self, group: &str) -> Option<Dispatching> {
        Some(Dispatching::new(self.spec(group)?, Arc::clone(&self.context.state)))
    }

    /// A group that is there now, declared or subscribed.
    pub(super) fn spec(&self, name: &str) -> Option<Arc<GroupSpec>> {
        self.running().groups.get(name).map(Group::spec)
    }

    fn is_running(&self, group: &str) -> bool {
        self.running().groups.contains_key(group)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group as it is now, or as it would be.
    fn group_or_new(&self, name: &str) -> Result<Arc<GroupSpec>> {
        if let Some(group) = self.running().groups.get(name) {
            return Ok(group.spec());
        }
        let name = GroupName::new(name).map_err(SubscribeError::Group)?;
        // Without them, the group's queue would be emptied of what is theirs.
        let handlers: Vec<&str> = self.registry.handlers_of(name.as_str()).map(|def| def.name).collect();
        if !handlers.is_empty() {
            let handlers = handlers.join(", ");
            return Err(SubscribeError::NotConsumed { group: name.as_str().to_owned(), handlers }.into());
        }
        let config = self.config.groups.get(name.as_str()).unwrap_or(&self.config.others);
        let settings = group_settings(config, &self.config.bus);
        let settings = settings.map_err(|error| Error::Conflict(vec![error.into()]))?;
        let spec = GroupSpec::new(name, settings, Vec::new());
        Ok(Arc::new(spec.map_err(|error| Error::Conflict(vec![error.into()]))?))
    }

    /// The handler of a subscription. Once nobody holds it any more, `alive` is gone.
    fn handler(
        &self,
        wanted: Wanted,
        group: &GroupSpec,
        alive: oneshot::Sender<std::convert::Infallible>,
    ) -> Result<HandlerSpec> {
        let config = self.config.groups.get(group.name.as_str()).unwrap_or(&self.config.others);
        let mut policy = retry_policy(&config.policy);
        policy.retries = wanted.retries.unwrap_or(policy.retries);
        let name = wanted.name_in(group)?;
        let home = &group.settings.home;
        let is_share = self.exchanges.kind(home.as_str()) == ExchangeKind::ConsistentHash;
        if wanted.handler.kinds.is_none() || is_share {
            wanted.binds.iter().try_for_each(|key| misfit(key, home.as_str(), &self.exchanges))?;
        }
        let asked: Vec<Asked> = wanted.binds.into_iter().map(|key| Asked::Key(key.into())).collect();
        let asked = (!asked.is_empty()).then_some(asked);
        let bound = bound(asked.as_deref(), wanted.handler.kinds, home, &self.exchanges)
            .map_err(|error| Error::Conflict(vec![error.into()]))?;
        let call = match wanted.handler.call {
            Call::Shared(call) => Call::Shared(Arc::new(move |invocation| {
                let _ = &alive;
                call(invocation)
            })),
            // What is written down for all of the program has no end to wait for.
            other => other,
        };
        Ok(HandlerSpec {
            name: name.into(),
            formerly: &[],
            bound,
            kinds: wanted.handler.kinds.map(Into::into),
            emits: wanted.handler.emits,
            call,
            policy,
            timeout: wanted.timeout.unwrap_or(config.policy.timeout.value),
            slow: config.policy.slow_handler.value,
            service: None,
            pace: Arc::default(),
        })
    }

    /// Declares what a changed group needs, then commits the change.
    async fn declare(&self, group: GroupSpec, commit: impl FnOnce() -> Result<()>) -> Result<()> {
        let part = {
            let running = self.running();
            if running.closed {
                return Err(Error::Closed);
            }
            let others = running.groups.values().map(Group::spec).filter(|it| it.name != group.name);
            let groups: Vec<_> = others.chain([Arc::new(group.clone())]).collect();
            self.topology_of(&groups)?.without(&self.topology())
        };
        self.context.provision.extend(&part, commit).await?
    }

    /// Changes a group, or adds the changed one, and keeps the broker at what is needed now.
    fn change(self: &Arc<Self>, spec: &GroupSpec, change: impl FnOnce(&mut GroupSpec)) -> Result<()> {
        let mut running = self.running();
        if running.closed {
            return Err(Error::Closed);
        }
        let before = match running.groups.get(spec.name.as_str()) {
            Some(group) => {
                let before = group.spec();
                let mut changed = (*before).clone();
                change(&mut changed);
                group.assignment.send_modify(|now| now.group = Arc::new(changed));
                Some(before)
            }
            None => {
                let mut changed = spec.without_handlers();
                change(&mut changed);
                tracing::info!("{}", summary::line(&changed, self.exchanges.default()));
                self.add(&mut running, Arc::new(changed));
                None
            }
        };
        let kept = self.keep(&running);
        drop(running);
        // A handler may own another subscription, whose end changes the groups in turn.
        drop(before);
        kept
    }

    fn add(self: &Arc<Self>, running: &mut Running, spec: Arc<GroupSpec>) {
        let name = spec.name.as_str().to_owned();
        let (assignment, assigned) = watch::channel(Assignment { group: spec, paused: running.paused });
        let (consuming, is_consuming) = watch::channel(false);
        let groups = Arc::downgrade(self);
        let of_group = name.clone();
        let is_over = Box::new(move || groups.upgrade().is_none_or(|groups| groups.forget(&of_group)));
        running.groups.insert(name, Group { assignment, consuming: is_consuming });
        // Nobody takes it once the bus has ended, and then nobody waits for it.
        let _ = self.posts.send(Post { assignment: assigned, consuming, is_over });
    }

    /// Forgets a group that nothing is left of; says whether it did.
    fn forget(&self, name: &str) -> bool {
        let mut running = self.running();
        match running.groups.get(name) {
            Some(group) if !group.spec().is_empty() => false,
            // One that the program declares has handlers to the end.
            Some(_) => {
                running.groups.remove(name);
                if let Err(error) = self.keep(&running) {
                    tracing::error!(%error, "a topology without a group is none");
                }
                tracing::info!(group = name, "nobody subscribes to the group any more; its queue stays");
                true
            }
            None => true,
        }
    }

    fn keep(&self, running: &Running) -> Result<()> {
        let groups: Vec<_> = running.groups.values().map(Group::spec).collect();
        self.context.provision.hold(self.topology_of(&groups)?);
        Ok(())
    }

    fn topology_of(&self, groups: &[Arc<GroupSpec>]) -> Result<Topology> {
        build(groups, &self.published, &self.exchanges).map_err(Error::Conflict)
    }

    async fn until_consuming(&self, name: &str) -> Result<()> {
        let change = self.running().groups.get(name).map(Group::changing);
        if let Some(change) = change {
            self.until_done(change).await;
        }
        if self.running().closed { Err(Error::Closed) } else { Ok(()) }
    }

    /// Waits until a worker does what it is assigned to: consumes, or does not.
    async fn until_done(&self, Change { mut assignment, mut consuming }: Change) {
        loop {
            let is_active = assignment.borrow_and_update().is_active();
            if *consuming.borrow_and_update() == is_active {
                return;
            }
            tokio::select! {
                () = self.context.stop.cancelled() => return,
                changed = assignment.changed() => if changed.is_err() { return },
                changed = consuming.changed() => if changed.is_err() { return },
            }
        }
    }
}
