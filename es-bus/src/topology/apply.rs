//! Brings a broker to a topology, policies apart: declares what is missing, tells what differs.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, stream};

use super::{differences, plan::renamed};
use crate::{
    handler::BoxFuture,
    model::{Binding, Exchange, ExchangeBinding, Queue, Topology},
    name::ExchangeName,
    transport::{Admin, DeclareError},
};

/// How many declarations are under way at once.
const PARALLEL: usize = 16;

/// What stands in the way of a topology.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the broker cannot be brought to the declared topology ({} {})", errors.len(), if errors.len() == 1 { "finding" } else { "findings" })]
pub(crate) struct ApplyError {
    /// Everything that was refused, in the order of the topology.
    pub(crate) errors: Vec<DeclareError>,
}

impl ApplyError {
    /// Whether the connection was lost on the way, so that trying again may help.
    #[must_use]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Interrupted { .. }))
    }

    /// Whether the user may not do something.
    #[must_use]
    pub(crate) fn is_forbidden(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Forbidden { .. }))
    }

    /// Whether all that stands in the way is a node that is down, or a management API that does not answer, which
    /// passes.
    #[must_use]
    pub(crate) fn is_down(&self) -> bool {
        let is_down = |it| matches!(it, &DeclareError::Down { .. } | &DeclareError::Unanswered { .. });
        self.errors.iter().all(is_down)
    }

    /// Whether the management API does not answer.
    #[must_use]
    pub(crate) fn is_unanswered(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Unanswered { .. }))
    }

    /// The queues that are there with other settings, where nothing else stands in the way.
    #[must_use]
    pub(crate) fn changed_queues(&self) -> Option<BTreeSet<&str>> {
        let changed = |error| match error {
            &DeclareError::Mismatch { what: "queue", ref name, .. } => Some(name.as_str()),
            _ => None,
        };
        self.errors.iter().map(changed).collect()
    }

    /// Whether nothing contradicts the topology but queues that were migrated: what was refused beside them is
    /// out of reach (its node is down, or somebody has it alone), or somebody else is to declare it, which
    /// passes. Other settings of exchanges and missing permissions do not.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        self.errors.iter().all(|error| {
            matches!(
                error,
                DeclareError::Refused { .. }
                    | DeclareError::Missing { .. }
                    | DeclareError::Down { .. }
                    | DeclareError::Unanswered { .. }
                    | DeclareError::Mismatch { what: "queue", .. }
            )
        })
    }
}

/// Declares every exchange, then every queue. Bound they are apart ([`bind_but`]), once every one is there, so that
/// no event flows into half a topology, nor into a queue that has not its limits yet.
///
/// Idempotent; all refusals are reported together.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
pub(super) async fn declare(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let exchanges = topology.exchanges().map(|exchange| declare_exchange(admin, exchange)).collect();
    let mut errors = refusals(exchanges).await;
    if errors.iter().any(|error| matches!(error, DeclareError::NoPlugin { .. })) {
        // What else failed did so because that ended the connection.
        errors.retain(|error| matches!(error, DeclareError::NoPlugin { .. }));
        return Err(ApplyError { errors });
    }
    let queues = topology.queues().map(|queue| declare_queue(admin, queue)).collect();
    errors.extend(refusals(queues).await);
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// All of it but policies.
#[cfg(test)]
pub(super) async fn apply(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    declare(admin, topology).await?;
    bind_but(admin, topology, topology, &BTreeSet::new()).await
}

/// Makes the bindings of a part of a topology, those first over which nothing comes in and those between exchanges
/// last; then takes back those that must not be there. Not those of some queues.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
pub(super) async fn bind_but(
    admin: &dyn Admin,
    topology: &Topology,
    whole: &Topology,
    but: &BTreeSet<&str>,
) -> Result<(), ApplyError> {
    let mut errors = Vec::new();
    let is_meant = |binding: &&Binding| !but.contains(binding.queue.as_str());
    for bindings in in_stages(topology, whole) {
        let bindings = bindings.into_iter().filter(is_meant);
        errors.extend(refusals(bindings.map(|binding| bind(admin, binding)).collect()).await);
    }
    for binding in in_order(topology) {
        errors.extend(admin.bind_exchange(binding).await.err());
    }
    let unbound = topology.unbound().filter(is_meant);
    errors.extend(refusals(unbound.map(|binding| unbind(admin, binding)).collect()).await);
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Looks whether everything is there that others declare (`declare = "passive"`). Bindings cannot be
/// looked at over AMQP.
///
/// # Errors
///
/// [`ApplyError`] with everything that is missing.
pub(crate) async fn look(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let exchanges = topology.exchanges().map(|exchange| look_for_exchange(admin, exchange)).collect();
    let mut errors = refusals(exchanges).await;
    let queues = topology.queues().filter(|queue| !queue.exclusive);
    errors.extend(refusals(queues.map(|queue| look_for_queue(admin, queue)).collect()).await);
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Looks whether everything is there, and as it is declared here; changes nothing. Bindings cannot be looked at
/// over AMQP.
///
/// What is there is declared once more, which is how a broker tells that it is otherwise. What the user may not
/// declare is not compared, and neither is what goes with its consumers, and might be made by that.
#[cfg(feature = "cli")]
pub(crate) async fn compare(admin: &dyn Admin, topology: &Topology) -> Vec<DeclareError> {
    let mut errors = match look(admin, topology).await {
        Ok(()) => Vec::new(),
        Err(error) => error.errors,
    };
    // Missing, or its node is down.
    let is_away = |what: &str, its_name: &str| {
        errors.iter().any(|error| match error {
            DeclareError::Missing { what: kind, name } | DeclareError::Down { what: kind, name, .. } => {
                *kind == what && name == its_name
            }
            _ => false,
        })
    };
    let exchanges =
        topology.exchanges().filter(|it| !it.auto_delete && !is_away("exchange", it.name.as_str()));
    let queues = topology
        .queues()
        .filter(|it| !it.exclusive && !it.auto_delete && !is_away("queue", it.name.as_str()));
    let all = exchanges
        .map(|exchange| declare_exchange(admin, exchange))
        .chain(queues.map(|queue| declare_queue(admin, queue)))
        .collect();
    let found = refusals(all).await;
    errors.extend(found.into_iter().filter(|error| !matches!(error, DeclareError::Forbidden { .. })));
    if let Err(renamed) = see_renamed(admin, topology).await {
        // To declare what is missing is not what would do.
        errors.retain(|error| !matches!(error, DeclareError::Missing { .. }));
        errors.extend(renamed.errors);
    }
    errors
}

/// Declares the queues that only this connection has, which nobody else could declare for it.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
pub(crate) async fn declare_own(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let mut errors = Vec::new();
    for queue in topology.queues().filter(|queue| queue.exclusive) {
        errors.extend(declare_queue(admin, queue).await);
        for binding in topology.bindings().filter(|binding| binding.queue == queue.name) {
            errors.extend(admin.bind(binding).await.err());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Sees that nothing comes any more to a queue that a group had under another name: each event would be handled by both.
///
/// # Errors
///
/// [`ApplyError`] with each such queue.
pub(crate) async fn see_renamed(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let mut errors = Vec::new();
    for former in topology.formers() {
        let marker = ExchangeName::of_existing(&former.marker());
        let is_in_the_way = async {
            Ok(admin.queue_status(&former.old).await?.is_some() && !admin.exchange_exists(&marker).await?)
        };
        match is_in_the_way.await {
            Ok(false) => {}
            Ok(true) => errors.push(renamed(former.old.as_str(), former.queue.as_str())),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

fn look_for_exchange<'a>(admin: &'a dyn Admin, exchange: &'a Exchange) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.exchange_exists(&exchange.name).await {
            Ok(true) => Vec::new(),
            Ok(false) => vec![missing("exchange", exchange.name.as_str())],
            Err(error) => vec![error],
        }
    })
}

fn look_for_queue<'a>(admin: &'a dyn Admin, queue: &'a Queue) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.queue_status(&queue.name).await {
            Ok(Some(_)) => Vec::new(),
            Ok(None) => vec![missing("queue", queue.name.as_str())],
            Err(error) => vec![error],
        }
    })
}

/// The bindings, in stages: dead letters and retries lead somewhere before the first event can come.
///
/// First those of queues at which a message ends; then those of queues from which one comes back to where
/// it failed, and those by which it comes back; then all others. What a queue is for, the whole tells. Pure.
pub(super) fn in_stages<'a>(part: &'a Topology, whole: &Topology) -> [Vec<&'a Binding>; 3] {
    let dead_letters_to: HashMap<&str, &str> = whole
        .queues()
        .filter_map(|queue| Some((queue.name.as_str(), queue.dead_letter.as_ref()?.exchange.as_str())))
        .collect();
    let ends = |queue: &str| !dead_letters_to.contains_key(queue);
    let targets: HashSet<&str> = dead_letters_to.values().copied().collect();
    // Exchanges by which messages come back to a queue in which they may fail again.
    let returns: HashSet<&str> = whole
        .bindings()
        .filter(|binding| targets.contains(binding.source.as_str()) && !ends(binding.queue.as_str()))
        .map(|binding| binding.source.as_str())
        .collect();
    // Exchanges by which they go to where they wait.
    let waits: HashSet<&str> = whole
        .bindings()
        .filter(|binding| dead_letters_to.get(binding.queue.as_str()).is_some_and(|to| returns.contains(to)))
        .map(|binding| binding.source.as_str())
        .collect();
    let mut stages = [Vec::new(), Vec::new(), Vec::new()];
    for binding in part.bindings() {
        let source = binding.source.as_str();
        let stage = match () {
            () if ends(binding.queue.as_str()) => 0,
            () if returns.contains(source) || waits.contains(source) => 1,
            () => 2,
        };
        stages[stage].push(binding);
    }
    stages
}

/// The bindings between exchanges, in the order in which they may be made: each when those by which its
/// destination gives on are there, as far as they do not lead round.
///
/// Made before the queues of its destination are bound, one would swallow what the source had handed to its
/// alternate exchange, or returned, until then. Pure.
pub(super) fn in_order(topology: &Topology) -> Vec<&ExchangeBinding> {
    let mut left: Vec<&ExchangeBinding> = topology.exchange_bindings().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let leads_on = |it: &ExchangeBinding| left.iter().any(|other| other.source == it.destination);
        let at = left.iter().position(|it| !leads_on(it)).unwrap_or(0);
        ordered.push(left.remove(at));
    }
    ordered
}

fn missing(what: &'static str, name: &str) -> DeclareError {
    DeclareError::Missing { what, name: name.to_owned() }
}

fn declare_exchange<'a>(admin: &'a dyn Admin, exchange: &'a Exchange) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.declare_exchange(exchange).await {
            Ok(()) => Vec::new(),
            Err(error @ DeclareError::Mismatch { .. }) => {
                differences::of_exchange(admin, exchange, error).await
            }
            Err(error) => vec![error],
        }
    })
}

fn declare_queue<'a>(admin: &'a dyn Admin, queue: &'a Queue) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.declare_queue(queue).await {
            Ok(()) => Vec::new(),
            Err(error @ DeclareError::Mismatch { .. }) => differences::of_queue(admin, queue, error).await,
            Err(error) => vec![error],
        }
    })
}

fn bind<'a>(admin: &'a dyn Admin, binding: &'a Binding) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move { admin.bind(binding).await.err().into_iter().collect() })
}

fn unbind<'a>(admin: &'a dyn Admin, binding: &'a Binding) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move { admin.unbind(binding).await.err().into_iter().collect() })
}

/// Runs declarations side by side, and gives what was refused in their order.
async fn refusals(declarations: Vec<BoxFuture<'_, Vec<DeclareError>>>) -> Vec<DeclareError> {
    stream::iter(declarations).buffered(PARALLEL).concat().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{ExchangeKind, QueueKind},
        name::QueueName,
        topology::{
            build,
            fixtures::{PLACED, exchanges, group, handler, named_with},
        },
        transport::memory::Memory,
        wire::names,
    };

    fn wanted() -> Topology {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        build(&[group(handlers)], &[], &exchanges()).unwrap()
    }

    #[tokio::test]
    async fn looking_names_everything_that_is_missing_and_declares_nothing() {
        let broker = Memory::new();
        let queue = Queue::durable(QueueName::new("events.projections").unwrap(), QueueKind::Classic);
        broker.declare_queue(&queue).await.unwrap();

        let error = look(&broker, &wanted()).await.unwrap_err();

        let names: Vec<_> = error
            .errors
            .iter()
            .map(|error| match error {
                DeclareError::Missing { what, name } => format!("{what} {name}"),
                other => panic!("{other}"),
            })
            .collect();
        assert!(names.contains(&"exchange events".to_owned()), "{names:?}");
        assert!(names.contains(&"queue events.projections.dlq".to_owned()), "{names:?}");
        assert!(!names.contains(&"queue events.projections".to_owned()), "{names:?}");
        assert!(look(&broker, &wanted()).await.is_err(), "nothing was declared");

        broker.delete_queue(&queue.name).await.unwrap();
        apply(&broker, &wanted()).await.unwrap();
        look(&broker, &wanted()).await.unwrap();
    }

    #[test]
    fn what_leads_away_from_a_queue_is_bound_before_what_leads_into_it() {
        let named = |name| named_with(name, vec![handler("h", &["Order.*"], Some(&[PLACED]))], |_| ());
        let groups = [named("bills"), named("projections")];
        let topology = build(&groups, &[], &exchanges()).unwrap();

        let text = |binding: &&Binding| {
            let delay = binding.arguments.get_str(names::ES_DELAY).unwrap_or_default();
            let mark = if delay.is_empty() { "" } else { "retries" };
            format!("{}{mark} -> {}", binding.source.as_str(), binding.queue.as_str())
        };
        let stages = in_stages(&topology, &topology).map(|stage| stage.iter().map(text).collect::<Vec<_>>());

        assert_eq!(stages[0], ["events_dlq -> events.bills.dlq", "events_dlq -> events.projections.dlq"]);
        assert!(stages[1].contains(&"events.bills.in -> events.bills".to_owned()), "{stages:?}");
        assert!(
            stages[1].iter().all(|text| text.contains(".in -> ") || text.contains(".retryretries -> ")),
            "{stages:?}"
        );
        assert_eq!(stages[2], ["events -> events.bills", "events -> events.projections"]);
        assert_eq!(stages.iter().map(Vec::len).sum::<usize>(), topology.bindings().count());
    }

    fn fields(error: &ApplyError) -> Vec<(String, String)> {
        error
            .errors
            .iter()
            .map(|error| match error {
                DeclareError::Mismatch { name, field, .. } => {
                    (name.clone(), field.clone().unwrap_or_default())
                }
                other => panic!("{other}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn applies_twice_and_changes_nothing_the_second_time() {
        let broker = Memory::new();

        apply(&broker, &wanted()).await.unwrap();
        apply(&broker, &wanted()).await.unwrap();
    }

    #[tokio::test]
    async fn tells_every_difference_of_everything_that_differs_and_binds_nothing() {
        let broker = Memory::new();
        let name = |name: &str| QueueName::new(name).unwrap();
        let exchange = Exchange {
            durable: false,
            ..Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Direct)
        };
        broker.declare_exchange(&exchange).await.unwrap();
        let queue = Queue {
            message_ttl: Some(Duration::from_secs(9)),
            ..Queue::durable(name("events.projections"), QueueKind::Classic)
        };
        broker.declare_queue(&queue).await.unwrap();
        broker
            .declare_queue(&Queue::durable(name("events.projections.dlq"), QueueKind::Classic))
            .await
            .unwrap();

        let error = apply(&broker, &wanted()).await.unwrap_err();

        let fields = fields(&error);
        let of = |thing: &str| -> Vec<&str> {
            let mut of: Vec<_> =
                fields.iter().filter(|(name, _)| name == thing).map(|(_, field)| field.as_str()).collect();
            of.sort_unstable();
            of
        };
        assert_eq!(of("events"), ["durable", "type"]);
        assert_eq!(
            of("events.projections"),
            [
                "x-dead-letter-exchange",
                "x-dead-letter-routing-key",
                "x-message-ttl",
                "x-overflow",
                "x-queue-type"
            ]
        );
        assert_eq!(of("events.projections.dlq"), ["x-queue-type"]);
        // What is there was left as it was.
        broker.declare_queue(&queue).await.unwrap();
        broker.declare_exchange(&exchange).await.unwrap();
    }
}
