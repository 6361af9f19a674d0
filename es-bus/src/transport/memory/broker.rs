//! The state machine: exchanges, queues, consumers, and what happens to a message between them.
//!
//! Pure and synchronous: the time comes in as an argument, deliveries go out through channels that
//! never wait. Every operation changes something, marks the queues that this concerns as dirty, and
//! [`Broker::run`] then looks at them until nothing moves any more: expired messages leave at the
//! head, ready ones go to consumers in turn, what is beyond the length goes, dead letters go on.
//!
//! Names are looked up where they come in; inside, queues go by numbers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{Difference, MAX_EXPIRY_MS, OverflowMode, Settings, exchange_difference, queue_difference},
    death::{Death, Reason, is_cycle},
    queue::{Entry, Letter, QueueState, Routed},
    routing::Bindings,
};
use crate::{
    message::{Headers, Message, Received, Text, Value},
    model::{
        Binding, Exchange, ExchangeBinding, ExchangeSettings, Observed, ObservedBinding, ObservedExchange,
        ObservedPolicy, ObservedQueue, Policy, Queue, QueueSettings, StreamOffset, View,
    },
    name::{ExchangeName, QueueName},
    transport::{
        ConsumeError, ConsumeRequest, DeclareError, Link, LinkState, Publication, PublishError, QueueStatus,
        Settlement,
    },
};

/// A connection to the broker.
pub(super) type ConnectionId = u64;
/// A consumer, with the channel of its own that it has.
pub(super) type ConsumerId = u64;
/// A queue; another one of the same name has another.
pub(super) type QueueId = u64;

/// What a consumer finds in its channel.
#[derive(Debug)]
pub(super) enum Mail {
    Delivery(Dispatch),
    End(ConsumeError),
}

/// A message on its way to a consumer.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) tag: u64,
    routed: Arc<Routed>,
    redelivered: bool,
    /// How often it came back, where its queue tells.
    returns: Option<u64>,
    /// Its place, in a stream.
    offset: Option<u64>,
}

impl Dispatch {
    /// What the consumer sees of it: a copy, which is made when it is taken, and outside of the lock.
    pub(super) fn received(&self) -> Received {
        let Routed { exchange, routing_key, message, .. } = &*self.routed;
        let mut message = message.clone();
        if let Some(returns) = self.returns {
            let count = i64::try_from(returns).unwrap_or(i64::MAX);
            message.headers.insert("x-delivery-count", Value::I64(count));
        }
        if let Some(offset) = self.offset {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            message.headers.insert(STREAM_OFFSET, Value::I64(offset));
        }
        Received {
            message,
            exchange: exchange.clone(),
            routing_key: routing_key.clone().into_owned(),
            redelivered: self.redelivered,
        }
    }
}

/// What moves, and what waits, on a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// Messages that are ready in queues with consumers, whose prefetch is spent.
    pub ready: usize,
    /// Messages that consumers have and did not settle.
    pub unsettled: usize,
    /// Messages in queues without consumers that will leave them when their time is up.
    pub scheduled: usize,
    /// Messages that nobody consumes and that do not expire: a dead-letter queue's, for one.
    pub parked: usize,
    /// Dead letters that their target does not take, or that have none, kept where they were.
    pub held: usize,
    /// When the next message, queue or link changes by itself.
    pub next_due: Option<Instant>,
}

impl Pending {
    /// Whether nothing moves any more unless somebody publishes, consumes or declares.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready == 0 && self.unsettled == 0 && self.scheduled == 0
    }
}

/// The in-process broker.
#[derive(Debug)]
pub(super) struct Broker {
    exchanges: BTreeMap<ExchangeName, ExchangeState>,
    /// Exchanges that are bound to others, by the id that they have among the queues there.
    destinations: BTreeMap<QueueId, ExchangeName>,
    queues: BTreeMap<QueueId, QueueState>,
    queue_ids: BTreeMap<QueueName, QueueId>,
    consumers: BTreeMap<ConsumerId, ConsumerState>,
    pub(super) connections: BTreeMap<ConnectionId, ConnectionState>,
    /// Queues that a change concerns.
    dirty: VecDeque<QueueId>,
    /// Queues that have to be looked at when their time comes.
    due: BTreeSet<(Instant, QueueId)>,
    /// Queues that hold dead letters back.
    holding: BTreeSet<QueueId>,
    /// By name. Each is of one queue, whether that is there or not.
    policies: BTreeMap<String, Policy>,
    /// What the clock on the wall showed at an instant.
    wall: (Instant, SystemTime),
    next_id: u64,
    pub(super) blocked: Option<String>,
    pub(super) faults: PublishFaults,
    /// How many of the next consumers will get nothing.
    pub(super) deaf: u32,
    /// Whether a queue of the latest publish has more waiting than its consumers keep up with.
    pub(super) in_flow: bool,
    /// Room for the targets of a message, kept from one to the next.
    targets: Vec<QueueId>,
}

#[derive(Debug)]
struct ExchangeState {
    declared: Exchange,
    bindings: Bindings,
}

#[derive(Debug)]
struct ConsumerState {
    queue: QueueId,
    connection: ConnectionId,
    prefetch: usize,
    /// Gone once no more deliveries come.
    mail: Option<mpsc::UnboundedSender<Mail>>,
    unsettled: BTreeMap<u64, Entry>,
    next_tag: u64,
    /// What it reads next, in a stream.
    next_offset: Option<u64>,
    /// Whether it gets nothing, by an injected fault.
    is_deaf: bool,
    /// Cancelled when the channel is gone.
    lost: CancellationToken,
}

#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) link: watch::Sender<Link>,
    /// When a lost connection is there again.
    pub(super) down_until: Option<Instant>,
}

/// Publishes that are to fail.
#[derive(Debug, Default)]
pub(super) struct PublishFaults {
    pub(super) refuse: u32,
    pub(super) lose_publish: u32,
    pub(super) lose_confirm: u32,
}

impl Broker {
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            exchanges: BTreeMap::new(),
            destinations: BTreeMap::new(),
            queues: BTreeMap::new(),
            queue_ids: BTreeMap::new(),
            consumers: BTreeMap::new(),
            connections: BTreeMap::new(),
            dirty: VecDeque::new(),
            due: BTreeSet::new(),
            holding: BTreeSet::new(),
            policies: BTreeMap::new(),
            wall: (now, wall),
            next_id: 1,
            blocked: None,
            faults: PublishFaults::default(),
            deaf: 0,
            in_flow: false,
            targets: Vec::new(),
        }
    }

    // Connections.

    pub(super) fn connect(&mut self) -> (ConnectionId, watch::Receiver<Link>) {
        let id = self.new_id();
        let (link, state) = watch::channel(Link {
            state: LinkState::Up,
            generation: 1,
            failures: 0,
            blocked: self.blocked.clone(),
        });
        self.connections.insert(id, ConnectionState { link, down_until: None });
        (id, state)
    }

    /// Ends a connection for good.
    pub(super) fn close_connection(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.link.send_modify(|link| link.state = LinkState::Closed);
            self.drop_clients(id, "this program closed the connection", now);
        }
    }

    /// Ends the consumers of a connection, and deletes what it has alone.
    pub(super) fn drop_clients(&mut self, id: ConnectionId, reason: &str, now: Instant) {
        let gone: Vec<ConsumerId> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.connection == id)
            .map(|(consumer, _)| *consumer)
            .collect();
        for consumer in gone {
            let error = ConsumeError::Interrupted { reason: reason.to_owned() };
            self.end_consumer(consumer, Some(error), now);
        }
        let owned: Vec<QueueId> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.owner == Some(id))
            .map(|(queue, _)| *queue)
            .collect();
        for queue in owned {
            self.remove_queue(queue);
        }
    }

    /// Why a connection cannot be used now.
    pub(super) fn link_fault(&self, id: ConnectionId) -> Option<LinkFault> {
        match self.connections.get(&id) {
            None => Some(LinkFault::Closed),
            Some(connection) if connection.down_until.is_some() => Some(LinkFault::Down),
            Some(_) => None,
        }
    }

    // Declarations.

    pub(super) fn declare_exchange(&mut self, exchange: &Exchange) -> Result<(), DeclareError> {
        let name = exchange.name.as_str();
        if name.is_empty() {
            return Err(default_exchange());
        }
        if let Some(there) = self.exchanges.get(name) {
            return exchange_difference(exchange, &there.declared)
                .map_or(Ok(()), |difference| Err(mismatch("exchange", name, difference)));
        }
        let bindings = Bindings::of(exchange).map_err(|reason| refused("exchange", name, reason))?;
        let state = ExchangeState { declared: exchange.clone(), bindings };
        self.exchanges.insert(exchange.name.clone(), state);
        self.wake_letters();
        Ok(())
    }

    pub(super) fn declare_queue(
        &mut self,
        connection: ConnectionId,
        queue: &Queue,
        now: Instant,
    ) -> Result<(), DeclareError> {
        let name = queue.name.as_str();
        if let Some(id) = self.queue_id(name) {
            self.check_owner(connection, name)?;
            let there = self.queue_mut(id);
            if let Some(difference) = queue_difference(queue, &there.declared) {
                return Err(mismatch("queue", name, difference));
            }
            there.touch(now);
            self.mark(id);
            return Ok(());
        }
        let settings = Settings::of(queue).map_err(|reason| refused("queue", name, reason))?;
        let owner = queue.exclusive.then_some(connection);
        let policy = self.policies.get(&Policy::name_for(&queue.name));
        let settings = settings.with(queue, policy.map(|policy| &policy.definition));
        let mut state = QueueState::new(queue.clone(), settings, owner);
        state.touch(now);
        let id = self.new_id();
        self.queues.insert(id, state);
        self.queue_ids.insert(queue.name.clone(), id);
        self.mark(id);
        self.wake_letters();
        Ok(())
    }

    pub(super) fn put_policy(&mut self, policy: &Policy, now: Instant) {
        self.policies.insert(policy.name().to_owned(), policy.clone());
        self.govern(policy.queue(), now);
    }

    pub(super) fn delete_policy(&mut self, name: &str, now: Instant) {
        if let Some(policy) = self.policies.remove(name) {
            self.govern(policy.queue(), now);
        }
    }

    /// Has the limits of a queue be those that its arguments and its policy say now. What is in it already keeps the
    /// time that it has.
    fn govern(&mut self, name: &QueueName, now: Instant) {
        let Some(id) = self.queue_id(name.as_str()) else { return };
        let policy = self.policies.get(&Policy::name_for(name)).map(|policy| policy.definition.clone());
        let queue = self.queue_mut(id);
        let own = Settings::of(&queue.declared).expect("it was declared with them");
        queue.settings = own.with(&queue.declared, policy.as_ref());
        queue.touch(now);
        self.mark(id);
        self.wake_letters();
    }

    pub(super) fn bind(&mut self, connection: ConnectionId, binding: &Binding) -> Result<(), DeclareError> {
        let source = binding.source.as_str();
        if source.is_empty() {
            return Err(default_exchange());
        }
        let Some(exchange) = self.exchanges.get(source) else {
            return Err(refused("binding", source, not_found("exchange", source)));
        };
        let Some(queue) = self.queue_id(binding.queue.as_str()) else {
            let queue = binding.queue.as_str();
            return Err(refused("binding", queue, not_found("queue", queue)));
        };
        if let Some(reason) = exchange.bindings.fault(&binding.key, &binding.arguments) {
            return Err(refused("binding", source, reason));
        }
        self.check_owner(connection, binding.queue.as_str())?;
        self.exchanges.get_mut(source).expect("looked up above").bindings.add(
            &binding.key,
            queue,
            &binding.arguments,
        );
        self.wake_letters();
        Ok(())
    }

    pub(super) fn unbind(&mut self, connection: ConnectionId, binding: &Binding) -> Result<(), DeclareError> {
        if binding.source.as_str().is_empty() {
            return Err(default_exchange());
        }
        self.check_owner(connection, binding.queue.as_str())?;
        if let Some(queue) = self.queue_id(binding.queue.as_str())
            && let Some(exchange) = self.exchanges.get_mut(&binding.source)
            && exchange.bindings.remove(&binding.key, queue, &binding.arguments)
            && exchange.declared.auto_delete
            && exchange.bindings.is_empty()
        {
            self.remove_exchange(&binding.source);
        }
        self.wake_letters();
        Ok(())
    }

    pub(super) fn bind_exchange(&mut self, binding: &ExchangeBinding) -> Result<(), DeclareError> {
        let (source, destination) = (binding.source.as_str(), binding.destination.as_str());
        if source.is_empty() || destination.is_empty() {
            return Err(default_exchange());
        }
        for name in [source, destination] {
            if !self.exchanges.contains_key(name) {
                return Err(refused("binding", name, not_found("exchange", name)));
            }
        }
        let known = self.destination_id(destination);
        let id = known.unwrap_or_else(|| self.new_id());
        let exchange = self.exchanges.get_mut(source).expect("looked up above");
        if let Some(reason) = exchange.bindings.fault(&binding.key, &binding.arguments) {
            return Err(refused("binding", source, reason));
        }
        exchange.bindings.add(&binding.key, id, &binding.arguments);
        self.destinations.insert(id, binding.destination.clone());
        self.wake_letters();
        Ok(())
    }

    pub(super) fn unbind_exchange(&mut self, binding: &ExchangeBinding) -> Result<(), DeclareError> {
        if binding.source.as_str().is_empty() || binding.destination.as_str().is_empty() {
            return Err(default_exchange());
        }
        if let Some(id) = self.destination_id(binding.destination.as_str())
            && let Some(exchange) = self.exchanges.get_mut(&binding.source)
            && exchange.bindings.remove(&binding.key, id, &binding.arguments)
            && exchange.declared.auto_delete
            && exchange.bindings.is_empty()
        {
            self.remove_exchange(&binding.source);
        }
        self.wake_letters();
        Ok(())
    }

    fn destination_id(&self, name: &str) -> Option<QueueId> {
        self.destinations.iter().find(|(_, there)| there.as_str() == name).map(|(id, _)| *id)
    }

    /// Removes an exchange with the bindings that lead to it, and the exchanges that end with those.
    fn remove_exchange(&mut self, name: &ExchangeName) {
        self.exchanges.remove(name);
        if let Some(id) = self.destination_id(name.as_str()) {
            self.destinations.remove(&id);
            self.remove_bindings_to(id);
        }
    }

    /// Removes what leads to a queue or an exchange. An exchange that goes with its last binding goes.
    fn remove_bindings_to(&mut self, id: QueueId) {
        let mut gone = Vec::new();
        for (name, exchange) in &mut self.exchanges {
            let lost_one = exchange.bindings.remove_queue(id);
            if lost_one && exchange.declared.auto_delete && exchange.bindings.is_empty() {
                gone.push(name.clone());
            }
        }
        for name in gone {
            self.remove_exchange(&name);
        }
    }

    pub(super) fn delete_queue(
        &mut self,
        connection: ConnectionId,
        name: &QueueName,
    ) -> Result<(), DeclareError> {
        self.check_owner(connection, name.as_str())?;
        self.remove_queue_named(name);
        Ok(())
    }

    pub(super) fn delete_idle_queue(
        &mut self,
        connection: ConnectionId,
        name: &QueueName,
    ) -> Result<(), DeclareError> {
        if let Some(queue) = self.queue_named(name.as_str()) {
            let reason = match () {
                () if !queue.consumers.is_empty() => "in use",
                () if queue.len() + queue.unsettled + queue.letters.len() + queue.log.len() > 0 => {
                    "not empty"
                }
                () => return self.delete_queue(connection, name),
            };
            return Err(refused(
                "queue",
                name.as_str(),
                format!("PRECONDITION_FAILED - queue '{name}' {reason}"),
            ));
        }
        Ok(())
    }

    pub(super) fn delete_unused_exchange(&mut self, name: &ExchangeName) -> Result<(), DeclareError> {
        if self.exchanges.get(name).is_some_and(|exchange| !exchange.bindings.is_empty()) {
            let reason = format!("PRECONDITION_FAILED - exchange '{name}' in use");
            return Err(refused("exchange", name.as_str(), reason));
        }
        self.delete_exchange(name)
    }

    pub(super) fn delete_exchange(&mut self, name: &ExchangeName) -> Result<(), DeclareError> {
        if name.as_str().is_empty() {
            return Err(default_exchange());
        }
        self.remove_exchange(name);
        self.wake_letters();
        Ok(())
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        name.is_empty() || self.exchanges.contains_key(name)
    }

    pub(super) fn queue_status(
        &self,
        connection: ConnectionId,
        name: &QueueName,
    ) -> Result<Option<QueueStatus>, DeclareError> {
        self.check_owner(connection, name.as_str())?;
        Ok(self.queue_named(name.as_str()).map(|queue| QueueStatus {
            messages: (queue.len() + queue.log.len()) as u64,
            consumers: queue.consumers.len() as u64,
        }))
    }

    pub(super) fn purge(&mut self, connection: ConnectionId, name: &QueueName) -> Result<u64, DeclareError> {
        self.check_owner(connection, name.as_str())?;
        let Some(queue) = self.queue_id(name.as_str()) else {
            return Err(refused("queue", name.as_str(), not_found("queue", name.as_str())));
        };
        if self.queue_mut(queue).settings.stream {
            let reason =
                format!("NOT_IMPLEMENTED - queue.purge not supported by stream queues queue '{name}'");
            return Err(refused("queue", name.as_str(), reason));
        }
        let purged = self.queue_mut(queue).purge();
        self.mark(queue);
        self.wake_letters();
        Ok(purged)
    }

    /// All that there is.
    pub(super) fn observe(&self) -> Observed {
        let mut observed = Observed::new(View::Memory);
        let mut bindings = Vec::new();
        for (name, ExchangeState { declared, bindings: of_exchange }) in &self.exchanges {
            let settings = ExchangeSettings {
                kind: declared.kind.as_str().to_owned(),
                durable: declared.durable,
                auto_delete: declared.auto_delete,
                internal: declared.internal,
                arguments: declared.arguments.clone(),
            };
            let exchange = ObservedExchange { settings: Some(settings) };
            observed.exchanges.insert(name.as_str().to_owned(), exchange);
            bindings.extend(of_exchange.iter().filter_map(|(key, queue, arguments)| {
                let to_exchange = self.destinations.get(&queue);
                let destination = match to_exchange {
                    Some(exchange) => exchange.as_str(),
                    None => self.queues.get(&queue)?.declared.name.as_str(),
                };
                Some(ObservedBinding {
                    source: name.as_str().to_owned(),
                    destination: destination.to_owned(),
                    to_exchange: to_exchange.is_some(),
                    key: key.to_owned(),
                    arguments: arguments.clone(),
                })
            }));
        }
        for queue in self.queues.values() {
            let declared = &queue.declared;
            let settings = QueueSettings {
                kind: declared.kind.as_str().to_owned(),
                durable: declared.durable,
                exclusive: declared.exclusive,
                auto_delete: declared.auto_delete,
                arguments: declared.argument_table(),
            };
            let policy = self.policies.get(&Policy::name_for(&declared.name));
            let seen = ObservedQueue {
                policy: policy.map(|policy| policy.name().to_owned()),
                policy_sets: policy.map(|policy| policy.definition.clone()).unwrap_or_default(),
                settings: Some(settings),
                ready: Some((queue.len() + queue.log.len()) as u64),
                unacknowledged: Some(queue.unsettled as u64),
                dead_letters: Some(queue.letters.len() as u64),
                consumers: Some(queue.consumers.len() as u64),
                ..ObservedQueue::default()
            };
            observed.queues.insert(declared.name.as_str().to_owned(), seen);
        }
        observed.bindings = Some(bindings);
        let policies = self.policies.values().map(|it| ObservedPolicy {
            name: it.name().to_owned(),
            pattern: it.pattern(),
            apply_to: Policy::APPLY_TO.to_owned(),
            definition: it.definition.clone(),
            priority: Policy::PRIORITY,
        });
        observed.policies = Some(policies.collect());
        observed
    }

    // Publishing.

    pub(super) fn publish(&mut self, publication: &Publication, now: Instant) -> Result<(), PublishError> {
        let Publication { exchange, routing_key, message, mandatory, lane: _ } = publication;
        self.in_flow = false;
        let refusal = || PublishError::Refused {
            exchange: exchange.to_string(),
            routing_key: routing_key.clone().into_owned(),
        };
        if spend(&mut self.faults.refuse) {
            return Err(refusal());
        }
        if spend(&mut self.faults.lose_publish) {
            return Err(lost_confirm());
        }
        let rejected = |reason: String| PublishError::Rejected { exchange: exchange.to_string(), reason };
        if !exchange.as_str().is_empty() {
            match self.exchanges.get(exchange) {
                None => {
                    let reason = not_found("exchange", exchange.as_str());
                    return Err(PublishError::NoExchange { exchange: exchange.to_string(), reason });
                }
                Some(there) if there.declared.internal => {
                    return Err(rejected(format!(
                        "ACCESS_REFUSED - cannot publish to internal exchange '{exchange}'"
                    )));
                }
                Some(_) => {}
            }
        }
        let routed = Arc::new(to_routed(exchange.as_str(), routing_key, message).map_err(rejected)?);
        let mut targets = std::mem::take(&mut self.targets);
        self.route(exchange.as_str(), &routed, &mut targets);
        let is_unroutable = *mandatory && targets.is_empty();
        let mut stored = true;
        for queue in targets.drain(..) {
            stored &= self.enqueue(queue, &routed, now);
        }
        self.targets = targets;
        if spend(&mut self.faults.lose_confirm) {
            return Err(lost_confirm());
        }
        if is_unroutable {
            return Err(PublishError::Unroutable {
                exchange: exchange.to_string(),
                routing_key: routing_key.clone().into_owned(),
            });
        }
        if stored { Ok(()) } else { Err(refusal()) }
    }

    /// Finds the queues that a message goes to, over all exchanges that it comes to: those that are bound to where
    /// it is, and the alternate exchange of one that gives it to nothing.
    fn route(&self, exchange: &str, routed: &Routed, queues: &mut Vec<QueueId>) {
        // Most messages come to one exchange, and then neither of these takes room.
        let (mut seen, mut left): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut next = Some(exchange);
        while let Some(name) = next {
            let before = queues.len();
            let mut go = |to| {
                if to != exchange && !seen.contains(&to) {
                    seen.push(to);
                    left.push(to);
                }
            };
            if name.is_empty() {
                queues.extend(routed.keys().filter_map(|key| self.queue_id(key)));
            } else if let Some(there) = self.exchanges.get(name) {
                there.bindings.route(routed, queues);
                if queues.len() == before {
                    there.declared.arguments.get_str("alternate-exchange").into_iter().for_each(&mut go);
                }
                if !self.destinations.is_empty() {
                    let mut at = before;
                    while let Some(id) = queues.get(at) {
                        match self.destinations.get(id) {
                            Some(destination) => {
                                go(destination.as_str());
                                queues.swap_remove(at);
                            }
                            None => at += 1,
                        }
                    }
                }
            }
            next = left.pop();
        }
        // A message goes to a queue once, however many bindings bring it there.
        queues.sort_unstable();
        queues.dedup();
    }

    /// Stores a message in a queue; `false` when the queue refuses it.
    fn enqueue(&mut self, id: QueueId, routed: &Arc<Routed>, now: Instant) -> bool {
        let wall = self.wall;
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        if queue.settings.stream {
            queue.log.append(routed, wall_time(wall, now), &queue.settings);
            self.mark(id);
            return true;
        }
        let is_refused = queue.refuses(routed.message.body.len() as u64);
        if is_refused && queue.settings.overflow != OverflowMode::RejectPublishDlx {
            return false;
        }
        let entry = queue.new_entry(Arc::clone(routed), now);
        if is_refused {
            self.dead_letter(id, entry, Reason::MaxLen, now);
            return false;
        }
        // A classic queue hands a message to a consumer that waits before it looks at its TTL; a
        // quorum queue looks first (this shows with a TTL of 0 only).
        let is_direct = queue.len() == 0 && !queue.settings.quorum;
        match is_direct.then(|| self.free_consumer(id)).flatten() {
            Some(consumer) => self.deliver(id, consumer, entry),
            None => {
                let queue = self.queue_mut(id);
                queue.put(entry);
                let is_behind = queue.is_behind();
                self.in_flow |= is_behind;
                self.mark(id);
            }
        }
        true
    }

    // Consuming.

    pub(super) fn consume(
        &mut self,
        connection: ConnectionId,
        request: &ConsumeRequest,
        now: Instant,
    ) -> Result<(ConsumerId, mpsc::UnboundedReceiver<Mail>, CancellationToken), ConsumeError> {
        let id = self.new_id();
        let name = request.queue.as_str();
        let Some(queue_id) = self.queue_id(name) else {
            return Err(ConsumeError::NoQueue { queue: name.to_owned(), reason: not_found("queue", name) });
        };
        let queue = self.queue_mut(queue_id);
        let refused = |reason: String| ConsumeError::Refused { queue: name.to_owned(), reason };
        if queue.owner.is_some_and(|owner| owner != connection) {
            return Err(refused(locked(name)));
        }
        if queue.has_exclusive_consumer || (request.exclusive && !queue.consumers.is_empty()) {
            return Err(refused(format!("ACCESS_REFUSED - queue '{name}' in exclusive use")));
        }
        queue.has_exclusive_consumer = request.exclusive;
        queue.consumers.push_back(id);
        queue.touch(now);
        let offset = request.offset.unwrap_or(StreamOffset::Next);
        let next_offset = queue.settings.stream.then(|| queue.log.begin(offset));
        let (mail, mailbox) = mpsc::unbounded_channel();
        let lost = CancellationToken::new();
        let next_deaf = self.deaf.saturating_sub(1);
        let consumer = ConsumerState {
            queue: queue_id,
            connection,
            prefetch: usize::from(request.prefetch.max(1)),
            mail: Some(mail),
            unsettled: BTreeMap::new(),
            next_tag: 1,
            next_offset,
            is_deaf: self.deaf > 0,
            lost: lost.clone(),
        };
        self.deaf = next_deaf;
        self.consumers.insert(id, consumer);
        self.mark(queue_id);
        Ok((id, mailbox, lost))
    }

    /// Sends a consumer nothing more; what it has, it may still settle.
    pub(super) fn cancel(&mut self, id: ConsumerId, now: Instant) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        if consumer.mail.take().is_none() {
            return;
        }
        let queue_id = consumer.queue;
        let queue = self.queue_mut(queue_id);
        queue.consumers.retain(|there| *there != id);
        queue.touch(now);
        if queue.consumers.is_empty() {
            queue.has_exclusive_consumer = false;
            if queue.declared.auto_delete {
                self.remove_queue(queue_id);
                return;
            }
        }
        self.mark(queue_id);
    }

    /// Closes the channel of a consumer: what it did not settle goes back, in order.
    pub(super) fn close_consumer(&mut self, id: ConsumerId, now: Instant) {
        self.end_consumer(id, None, now);
    }

    fn end_consumer(&mut self, id: ConsumerId, error: Option<ConsumeError>, now: Instant) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let queue = consumer.queue;
        let unsettled = std::mem::take(&mut consumer.unsettled);
        consumer.lost.cancel();
        if let (Some(mail), Some(error)) = (&consumer.mail, error) {
            // Nobody listens when the stream was dropped.
            let _ = mail.send(Mail::End(error));
        }
        for entry in unsettled.into_values() {
            self.give_back(queue, entry, now);
        }
        self.cancel(id, now);
        self.consumers.remove(&id);
    }

    /// Settles a delivery; `false` when its channel is gone.
    pub(super) fn settle(&mut self, id: ConsumerId, tag: u64, settlement: Settlement, now: Instant) -> bool {
        let Some(consumer) = self.consumers.get_mut(&id) else { return false };
        let Some(entry) = consumer.unsettled.remove(&tag) else {
            // Its queue was deleted: the broker takes the settlement, and nothing comes of it.
            return tag < consumer.next_tag;
        };
        let queue = consumer.queue;
        if consumer.next_offset.is_some() {
            // Whatever is said of it, it makes room for another one, and stays where it is.
            self.queue_mut(queue).unsettled -= 1;
            self.mark(queue);
            return true;
        }
        match settlement {
            Settlement::Ack => {
                let queue = self.queue_mut(queue);
                queue.unsettled -= 1;
                if queue.len() == 0 {
                    // Nobody waits for the room that there is now.
                    return true;
                }
            }
            Settlement::Requeue => self.give_back(queue, entry, now),
            Settlement::Reject => {
                self.queue_mut(queue).unsettled -= 1;
                self.dead_letter(queue, entry, Reason::Rejected, now);
            }
        }
        self.mark(queue);
        true
    }

    fn give_back(&mut self, id: QueueId, mut entry: Entry, now: Instant) {
        let queue = self.queue_mut(id);
        queue.unsettled -= 1;
        if queue.settings.stream {
            return;
        }
        entry.redelivered = true;
        entry.returns += 1;
        if queue.settings.delivery_limit.is_some_and(|most| entry.returns > most) {
            self.dead_letter(id, entry, Reason::DeliveryLimit, now);
        } else {
            queue.put(entry);
        }
        self.mark(id);
    }

    /// From now on the consumers of a queue get nothing, and are not told.
    #[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "only faults do it"))]
    pub(super) fn deafen(&mut self, queue: &QueueName) {
        let Some(queue) = self.queue_id(queue.as_str()) else { return };
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.queue == queue) {
            consumer.is_deaf = true;
        }
    }

    // Between queues.

    /// When the broker has to run although nobody calls it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let links = self.connections.values().filter_map(|connection| connection.down_until);
        self.due.first().map(|(at, _)| *at).into_iter().chain(links).min()
    }

    /// Looks at every queue that something happened to, or whose time has come, until nothing moves.
    pub(super) fn run(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            if connection.down_until.is_some_and(|until| until <= now) {
                connection.down_until = None;
                connection.link.send_modify(|link| {
                    link.state = LinkState::Up;
                    link.generation += 1;
                });
            }
        }
        loop {
            while let Some(id) = self.dirty.pop_front() {
                if let Some(queue) = self.queues.get_mut(&id) {
                    queue.is_dirty = false;
                    self.look_at(id, now);
                }
            }
            // One after the other, so that what one queue sends to another comes in order of time.
            match self.due.first() {
                Some(&(at, id)) if at <= now => self.mark(id),
                _ => break,
            }
        }
    }

    fn look_at(&mut self, id: QueueId, now: Instant) {
        let queue = self.queue_mut(id);
        if queue.unused_until.is_some_and(|until| until <= now) {
            self.remove_queue(id);
            return;
        }
        if queue.settings.stream {
            self.read_on(id);
            return;
        }
        let mut freed = false;
        loop {
            let queue = self.queue_mut(id);
            if let Some(entry) = queue.take_expired(now) {
                self.dead_letter(id, entry, Reason::Expired, now);
            } else if queue.len() > 0
                && let Some(consumer) = self.free_consumer(id)
            {
                let entry = self.queue_mut(id).take().expect("it is not empty");
                self.deliver(id, consumer, entry);
            } else {
                break;
            }
            freed = true;
        }
        let mut queue = self.queue_mut(id);
        if queue.settings.overflow == OverflowMode::DropHead && queue.is_bounded() {
            while let Some(entry) = self.queue_mut(id).take_overflow() {
                self.dead_letter(id, entry, Reason::MaxLen, now);
            }
            queue = self.queue_mut(id);
        }
        if std::mem::take(&mut queue.try_letters) {
            self.send_letters(id, now);
            queue = self.queue_mut(id);
        }
        if freed && queue.is_bounded() {
            self.wake_letters();
        }
        self.list_due(id);
    }

    /// Gives each consumer of a stream what it has room for.
    fn read_on(&mut self, id: QueueId) {
        for consumer_id in self.queue_mut(id).consumers.clone() {
            while let Some(consumer) = self.consumers.get(&consumer_id)
                && !consumer.is_deaf
                && consumer.unsettled.len() < consumer.prefetch
                && let Some(next) = consumer.next_offset
                && let Some((offset, routed)) = self.queue_mut(id).log.at(next)
            {
                let entry =
                    Entry { position: offset, routed, expires_at: None, redelivered: false, returns: 0 };
                self.deliver(id, consumer_id, entry);
            }
        }
    }

    fn list_due(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let due = queue.due();
        if due == queue.listed_due {
            return;
        }
        if let Some(listed) = std::mem::replace(&mut queue.listed_due, due) {
            self.due.remove(&(listed, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }

    /// The next consumer in turn that has prefetch left.
    fn free_consumer(&mut self, id: QueueId) -> Option<ConsumerId> {
        let queue = self.queues.get_mut(&id)?;
        let consumers = &self.consumers;
        let is_free = |id: &ConsumerId| {
            consumers.get(id).is_some_and(|it| !it.is_deaf && it.unsettled.len() < it.prefetch)
        };
        if queue.settings.single_active_consumer {
            return queue.consumers.front().copied().filter(is_free);
        }
        let at = queue.consumers.iter().position(is_free)?;
        queue.consumers.rotate_left(at + 1);
        queue.consumers.back().copied()
    }

    fn deliver(&mut self, queue: QueueId, id: ConsumerId, entry: Entry) {
        let queue = self.queue_mut(queue);
        queue.unsettled += 1;
        let is_counted = queue.settings.quorum && entry.returns > 0;
        let is_stream = queue.settings.stream;
        let consumer = self.consumers.get_mut(&id).expect("a queue lists only consumers that are there");
        let tag = consumer.next_tag;
        consumer.next_tag += 1;
        if is_stream {
            consumer.next_offset = Some(entry.position + 1);
        }
        if let Some(mail) = &consumer.mail {
            let dispatch = Dispatch {
                tag,
                routed: Arc::clone(&entry.routed),
                redelivered: entry.redelivered,
                returns: is_counted.then_some(entry.returns),
                offset: is_stream.then_some(entry.position),
            };
            // A stream that was dropped closes its channel, and the message goes back.
            let _ = mail.send(Mail::Delivery(dispatch));
        }
        consumer.unsettled.insert(tag, entry);
    }

    /// Sends a message that a queue does not keep to the queue's dead-letter exchange.
    fn dead_letter(&mut self, id: QueueId, entry: Entry, reason: Reason, now: Instant) {
        let time = self.wall_time(now);
        let queue = self.queue_mut(id);
        let Some(exchange) = queue.settings.dead_letter_exchange.clone() else { return };
        let Entry { routed, .. } = entry;
        let mut message = routed.message.clone();
        Death {
            queue: &queue.declared.name,
            reason,
            exchange: &routed.exchange,
            routing_key: &routed.routing_key,
            time,
        }
        .record(&mut message);
        let (routing_key, more_keys) = match &queue.settings.dead_letter_routing_key {
            Some(key) => {
                message.headers.remove("CC");
                (key.clone().into(), Vec::new())
            }
            None => (routed.routing_key.clone(), routed.more_keys.clone()),
        };
        let mut letter = Letter {
            routed: Arc::new(Routed { exchange, routing_key, more_keys, message }),
            was_rejected: reason == Reason::Rejected,
            delivered: BTreeSet::new(),
        };
        if queue.settings.at_least_once {
            queue.letters.push_back(letter);
            queue.try_letters = true;
            self.holding.insert(id);
            self.mark(id);
        } else {
            // At most once: what the target does not take is lost.
            self.send_letter(&mut letter, now);
        }
    }

    /// Sends the dead letters that a queue holds; those that are not taken stay.
    fn send_letters(&mut self, id: QueueId, now: Instant) {
        let letters = std::mem::take(&mut self.queue_mut(id).letters);
        let mut kept = VecDeque::new();
        for mut letter in letters {
            if !self.send_letter(&mut letter, now) {
                kept.push_back(letter);
            }
        }
        let queue = self.queue_mut(id);
        // A target that is this queue itself may have added some meanwhile.
        kept.append(&mut queue.letters);
        queue.letters = kept;
        if queue.letters.is_empty() {
            self.holding.remove(&id);
        }
    }

    /// Sends one dead letter; `false` when a target is missing or does not take it.
    fn send_letter(&mut self, letter: &mut Letter, now: Instant) -> bool {
        let Letter { routed, was_rejected, delivered } = letter;
        if !self.has_exchange(&routed.exchange) {
            return false;
        }
        let mut targets = Vec::new();
        self.route(&routed.exchange, routed, &mut targets);
        if targets.is_empty() {
            return false;
        }
        let mut taken = true;
        for queue in targets {
            let name = self.queue_mut(queue).declared.name.clone();
            // Nobody would ever end a cycle that no consumer takes part in.
            let is_endless = !*was_rejected && is_cycle(&name, &routed.message.headers);
            if is_endless || delivered.contains(&name) {
                continue;
            }
            if self.enqueue(queue, routed, now) {
                delivered.insert(name);
            } else {
                taken = false;
            }
        }
        taken
    }

    /// Tries the dead letters again that are held back: a target may be there now, or have room.
    fn wake_letters(&mut self) {
        if self.holding.is_empty() {
            return;
        }
        let holding: Vec<QueueId> = self.holding.iter().copied().collect();
        for id in holding {
            self.queue_mut(id).try_letters = true;
            self.mark(id);
        }
    }

    pub(super) fn remove_queue_named(&mut self, name: &QueueName) {
        if let Some(id) = self.queue_id(name.as_str()) {
            self.remove_queue(id);
        }
    }

    fn remove_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        let name = &queue.declared.name;
        self.queue_ids.remove(name);
        if let Some(due) = queue.listed_due {
            self.due.remove(&(due, id));
        }
        self.holding.remove(&id);
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.queue == id) {
            consumer.unsettled.clear();
            if let Some(mail) = consumer.mail.take() {
                // Nobody listens when the stream was dropped.
                let _ = mail.send(Mail::End(ConsumeError::Cancelled { queue: name.to_string() }));
            }
        }
        self.remove_bindings_to(id);
        self.wake_letters();
    }

    /// What moves and what waits.
    pub(super) fn pending(&self) -> Pending {
        let mut pending = Pending { next_due: self.next_due(), ..Pending::default() };
        for queue in self.queues.values() {
            let name = queue.declared.name.as_str();
            if queue.settings.single_active_consumer && name.ends_with(POSITION) {
                // Whoever reads a stream keeps the message that says how far.
                continue;
            }
            pending.unsettled += queue.unsettled;
            pending.held += queue.letters.len();
            if queue.settings.stream {
                let end = queue.log.end();
                let readers = queue.consumers.iter().filter_map(|id| self.consumers.get(id)?.next_offset);
                let unread = readers.map(|next| end.saturating_sub(next)).sum::<u64>();
                pending.ready += usize::try_from(unread).unwrap_or(usize::MAX);
                pending.parked += queue.log.len();
                let position = name.strip_suffix(STREAM).map(|stem| format!("{stem}{POSITION}"));
                let position = position.and_then(|name| self.queue_named(&name));
                if queue.consumers.is_empty() && position.is_some_and(|it| !it.consumers.is_empty()) {
                    // Its reader is about to come.
                    pending.ready += queue.log.len();
                }
            } else if !queue.consumers.is_empty() {
                pending.ready += queue.len();
            } else if queue.head_expiry().is_some() {
                pending.scheduled += queue.with_expiry();
                pending.parked += queue.len() - queue.with_expiry();
            } else {
                pending.parked += queue.len();
            }
        }
        pending
    }

    // Helpers.

    fn queue_id(&self, name: &str) -> Option<QueueId> {
        self.queue_ids.get(name).copied()
    }

    fn queue_named(&self, name: &str) -> Option<&QueueState> {
        self.queues.get(&self.queue_id(name)?)
    }

    fn queue_mut(&mut self, id: QueueId) -> &mut QueueState {
        self.queues.get_mut(&id).expect("whoever has the number of a queue here has just looked at it")
    }

    fn mark(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id)
            && !std::mem::replace(&mut queue.is_dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    fn check_owner(&self, connection: ConnectionId, queue: &str) -> Result<(), DeclareError> {
        match self.queue_named(queue).and_then(|queue| queue.owner) {
            Some(owner) if owner != connection => Err(refused("queue", queue, locked(queue))),
            _ => Ok(()),
        }
    }

    fn wall_time(&self, now: Instant) -> u64 {
        wall_time(self.wall, now)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// What the stream of a group, and the queue of its position, are named after the group's queue.
const STREAM: &str = ".stream";
const POSITION: &str = ".position";

/// The header in which a delivery of a stream says where it stands.
const STREAM_OFFSET: &str = "x-stream-offset";

/// What the clock on the wall shows now, in seconds since the Unix epoch.
fn wall_time((then, wall): (Instant, SystemTime), now: Instant) -> u64 {
    let since = now.saturating_duration_since(then);
    let wall = wall.checked_add(since).unwrap_or(wall);
    wall.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

/// Why a connection cannot be used.
pub(super) enum LinkFault {
    Closed,
    Down,
}

/// Checks what RabbitMQ checks in a message (406), and gathers its routing keys.
fn to_routed(exchange: &str, routing_key: &Text, message: &Message) -> Result<Routed, String> {
    if let Some(expiration) = message.properties.expiration.as_deref() {
        let is_legal = !expiration.is_empty()
            && expiration.bytes().all(|byte| byte.is_ascii_digit())
            && expiration.parse().is_ok_and(|ms: u64| ms <= MAX_EXPIRY_MS);
        if !is_legal {
            return Err(format!("PRECONDITION_FAILED - invalid expiration '{expiration}'"));
        }
    }
    let mut more_keys = further_keys(&message.headers, "CC")?;
    more_keys.extend(further_keys(&message.headers, "BCC")?);
    let mut message = message.clone();
    message.headers.remove("BCC");
    Ok(Routed { exchange: exchange.to_owned(), routing_key: routing_key.clone(), more_keys, message })
}

fn further_keys(headers: &Headers, name: &str) -> Result<Vec<String>, String> {
    match headers.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(keys)) => {
            let texts = keys.iter().filter(|key| matches!(key, Value::Str(_)));
            Ok(texts.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(_) => {
            Err(format!("PRECONDITION_FAILED - unsupported type in header '{name}'; expected an array"))
        }
    }
}

fn spend(fault: &mut u32) -> bool {
    let is_due = *fault > 0;
    *fault -= u32::from(is_due);
    is_due
}

fn lost_confirm() -> PublishError {
    PublishError::Interrupted { reason: "a fault was injected".to_owned() }
}

fn mismatch(what: &'static str, name: &str, difference: Difference) -> DeclareError {
    DeclareError::Mismatch {
        what,
        name: name.to_owned(),
        reason: difference.reason(what, name),
        field: Some(difference.field.to_owned()),
        wanted: difference.wanted,
        found: difference.found,
    }
}

fn refused(what: &'static str, name: &str, reason: String) -> DeclareError {
    DeclareError::Refused { what, name: name.to_owned(), reason }
}

fn default_exchange() -> DeclareError {
    DeclareError::Forbidden {
        what: "exchange",
        name: String::new(),
        reason: "ACCESS_REFUSED - operation not permitted on the default exchange".to_owned(),
    }
}

fn not_found(what: &str, name: &str) -> String {
    format!("NOT_FOUND - no {what} '{name}'")
}

fn locked(queue: &str) -> String {
    format!("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}'")
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
