//! Wanted against observed: the steps between the two. Pure.

use std::collections::BTreeSet;

use super::{
    caution,
    prune::{self, Stale},
    step::{Action, Left, Plan, PlanOptions, Risk, Step},
    text,
};
use crate::{
    message::Headers,
    model::{
        Binding, Difference, Exchange, ExchangeBinding, Former, Observed, ObservedBinding, ObservedPolicy,
        Queue, Topology, View,
        equivalence::{self, is_same_table},
    },
    topology::{
        apply::{in_order, in_stages},
        migrate::{self, Renamed},
        policies::{self, Move},
    },
};

/// The plan for a broker.
///
/// Queues that are exclusive to a connection are no part of it: each process declares its own. `owned` is what
/// the program once declared, where that is known.
pub(crate) fn decide(
    wanted: &Topology,
    observed: &Observed,
    owned: Option<&Topology>,
    options: &PlanOptions,
) -> Plan {
    let compare = Compare { wanted, observed };
    let mut steps = Vec::new();
    steps.extend(wanted.exchanges().filter_map(|exchange| compare.exchange(exchange)));
    steps.extend(wanted.queues().filter(|queue| !queue.exclusive).filter_map(|queue| compare.queue(queue)));
    steps.extend(wanted.formers().iter().filter_map(|former| compare.former(former)));
    steps.extend(compare.policies());
    // First those over which nothing comes in: dead letters and retries lead somewhere before an event comes.
    let bindings =
        in_stages(wanted, wanted).into_iter().flatten().filter(|binding| compare.is_shared(binding));
    steps.extend(bindings.filter_map(|binding| compare.binding(binding)));
    steps.extend(in_order(wanted).into_iter().filter_map(|binding| compare.exchange_binding(binding)));
    let unbound = wanted.unbound().filter(|binding| compare.is_shared(binding));
    steps.extend(unbound.filter_map(|binding| compare.retired(binding)));
    let stale = owned.map(|owned| Stale::of(owned, wanted, observed, options));
    if let Some(stale) = &stale {
        steps.extend(prune::steps(stale));
    }
    steps.extend(compare.foreign(owned));
    // What is in the way comes first, and what is left last; in between nothing changes places.
    steps.sort_by_key(|step| match step.action {
        _ if step.action.is_in_the_way() => 0,
        Action::Leave(_) => 3,
        Action::Unverified(_) => 2,
        _ => 1,
    });
    Plan {
        broker: String::new(),
        view: observed.view.clone(),
        info: observed.broker.clone(),
        program: None,
        steps,
        warnings: caution::of(wanted, observed),
        unseen: unseen(wanted, observed),
    }
}

fn unseen(wanted: &Topology, observed: &Observed) -> Vec<String> {
    let limits = (observed.view == View::Amqp).then(|| {
        "AMQP alone tells what exists and how full a queue is, neither settings nor bindings".to_owned()
    });
    let limited: Vec<&Queue> = wanted.queues().filter(|queue| queue.policy().is_some()).collect();
    let is_foreign = |it: &&ObservedPolicy| limited.iter().any(|queue| it.applies_to(queue).is_none());
    let patterns = observed.policies.iter().flatten().filter(is_foreign).map(|it| {
        format!("to which queues policy {} applies: only the broker understands its pattern", it.told())
    });
    limits.into_iter().chain(patterns).chain(observed.unseen.iter().cloned()).collect()
}

struct Compare<'a> {
    wanted: &'a Topology,
    observed: &'a Observed,
}

impl Compare<'_> {
    /// Whether the queue of a binding is not one of a single process.
    fn is_shared(&self, binding: &Binding) -> bool {
        self.wanted.queue(binding.queue.as_str()).is_none_or(|queue| !queue.exclusive)
    }

    fn exchange(&self, exchange: &Exchange) -> Option<Step> {
        let name = exchange.name.as_str();
        if name.is_empty() {
            return None;
        }
        let create = || Action::CreateExchange(exchange.clone());
        let Some(found) = self.observed.exchanges.get(name) else {
            return Some(match exchange.kind.plugin().filter(|plugin| self.lacks(plugin)) {
                None => Step::new(create(), NOT_THERE, Risk::None, "nothing used it so far"),
                Some(plugin) => Step::new(
                    Action::NeedsPlugin { exchange: name.to_owned(), plugin },
                    format!("the broker has {} exchanges by the plugin {plugin} only", exchange.kind.word()),
                    Risk::None,
                    format!(
                        "`rabbitmq-plugins enable {plugin}` on each of its nodes enables it, without a restart; declared \
                         before that, the exchange ends the connection"
                    ),
                ),
            });
        };
        let Some(settings) = &found.settings else {
            return Some(unverified(
                create(),
                "it is there, with settings that cannot be seen",
                DECLARED_AGAIN,
            ));
        };
        let differences = equivalence::of_exchange(exchange, settings);
        (!differences.is_empty()).then(|| {
            Step::new(
                Action::Conflict { what: "exchange", name: name.to_owned(), differences },
                "an exchange that is declared cannot be changed",
                Risk::High,
                "to delete it and declare it anew takes its bindings with it: what is published meanwhile reaches no \
                 queue; another name for it here leaves those who publish to the old one behind",
            )
        })
    }

    /// Whether the broker is known to lack a plugin.
    fn lacks(&self, plugin: &str) -> bool {
        let plugins = self.observed.broker.as_ref().and_then(|broker| broker.plugins.as_ref());
        plugins.is_some_and(|plugins| plugins.iter().all(|enabled| enabled != plugin))
    }

    fn queue(&self, queue: &Queue) -> Option<Step> {
        let name = queue.name.as_str();
        let create = || Action::CreateQueue(Box::new(queue.clone()));
        let is_half_way = migrate::is_half_way(&queue.name, self.observed);
        let half_way = || {
            Step::new(
                Action::HalfMigrated { queue: name.to_owned() },
                "its migration was begun and not ended: messages of it wait in queues of that",
                Risk::Low,
                "nothing is lost, and they are not handled until `migrate` is called again, which goes on from there",
            )
        };
        let Some(found) = self.observed.queues.get(name) else {
            return Some(match is_half_way {
                true => half_way(),
                false => Step::new(create(), NOT_THERE, Risk::None, "nothing used it so far"),
            });
        };
        let Some(settings) = &found.settings else {
            let reason = match &found.trouble {
                Some(trouble) => format!("it is there, and cannot be used now: {trouble}"),
                None => "it is there, with settings that cannot be seen".to_owned(),
            };
            return Some(unverified(create(), reason, DECLARED_AGAIN));
        };
        let major = self.observed.broker.as_ref().and_then(|broker| broker.major());
        let differences = equivalence::of_queue(queue, settings, major);
        let has = match found.ready.unwrap_or(0) + found.unacknowledged.unwrap_or(0) {
            0 => "it has no messages now".to_owned(),
            count => format!("it has {}", text::messages(count)),
        };
        if differences.is_empty() {
            return is_half_way.then(half_way);
        }
        if let Some(way) = migrate::unmovable(queue, &differences) {
            return Some(Step::new(
                Action::Conflict { what: "queue", name: name.to_owned(), differences },
                "a queue that is declared cannot be changed",
                Risk::High,
                format!("{has}; `migrate` does not do it: {way}"),
            ));
        }
        let is_carried = |it: &Difference| it.wanted.is_none() && LIMITS.contains(&&*it.field);
        let (reason, or) = match queue.has_policy() && differences.iter().all(is_carried) {
            true => (
                "its arguments carry its limits, and here a policy does (`limits_in`); a queue that is declared cannot \
                 be changed",
                "leave `limits_in` at \"arguments\"",
            ),
            false => ("a queue that is declared cannot be changed", "say here what the broker has"),
        };
        let way = match is_half_way {
            true => "its migration was begun and not ended: call `migrate` again, which goes on from there"
                .to_owned(),
            false => format!("`migrate` does it without loss; or {or}"),
        };
        Some(Step::new(
            Action::Conflict { what: "queue", name: name.to_owned(), differences },
            reason,
            Risk::High,
            format!(
                "{has}; to delete it and declare it anew loses what is in it and what comes meanwhile: {way}"
            ),
        ))
    }

    fn former(&self, former: &Former) -> Option<Step> {
        let (from, to) = (former.old.to_string(), former.queue.to_string());
        let reason = "`formerly` of its group says that it had this name before";
        match migrate::renamed(former, self.observed) {
            Renamed::Through => None,
            Renamed::Not => Some(Step::new(
                Action::Renamed { from, to },
                reason,
                Risk::Low,
                "what is in it, waits for a retry or is a dead letter comes to the group by `topology migrate`, without \
                 loss; until then this version does not start, as every event would be handled twice, once from each queue",
            )),
            Renamed::Left => Some(Step::new(
                Action::Leave(Left::Former { from, to }),
                format!("{reason}, and all of it was migrated"),
                Risk::Low,
                "it gets nothing any more, and is left to the replicas of the old version that consume it; when the last \
                 one is gone, `topology migrate` takes what they gave back and deletes it",
            )),
        }
    }

    /// What is to be done about policies, once the queues are there and before events come to them.
    fn policies(&self) -> Vec<Step> {
        let Some(there) = &self.observed.policies else {
            let unseen = self.wanted.policies().map(|policy| {
                let set = Action::SetPolicy { policy, was: None };
                unverified(set, "policies cannot be seen over AMQP", "to set it again changes nothing")
            });
            return unseen.collect();
        };
        let moves = policies::moves(self.wanted, there, |queue| self.observed.queues.get(queue));
        moves.into_iter().map(|it| self.policy(it)).collect()
    }

    fn policy(&self, it: Move<'_>) -> Step {
        let found = |queue: &Queue| self.observed.queues.get(queue.name.as_str());
        let none = Headers::new();
        match it {
            Move::Set { queue, policy, was } => {
                let was = was.map(|it| it.definition.clone());
                let reason = match was {
                    Some(_) => "it says something else there",
                    None => NOT_THERE,
                };
                let before = was.as_ref().unwrap_or(&none);
                let (risk, effect) = policies::risk(queue, found(queue), before, &policy.definition);
                Step::new(Action::SetPolicy { policy, was }, reason, risk, effect)
            }
            Move::Delete { queue, policy, by } => {
                let action = Action::DeletePolicy { policy: policy.name.clone(), queue: queue.name.clone() };
                let (reason, effect) = match by {
                    Some(by) => (
                        format!("policy {} sets all that it does, and RabbitMQ applies one", by.told()),
                        "that one applies to the queue from then on",
                    ),
                    None if queue.has_policy() => (
                        "the queue has no limits any more".to_owned(),
                        "from then on the queue has no limits; what is in it stays",
                    ),
                    None => (
                        "arguments carry the limits of the queue (`limits_in`)".to_owned(),
                        "from then on the arguments of the queue say all; what is in it stays",
                    ),
                };
                Step::new(action, reason, Risk::Low, effect)
            }
            Move::Blocked { policy, others, .. } => {
                let effect = policies::in_the_way(&policy, &others);
                let others = others.into_iter().cloned().collect();
                Step::new(
                    Action::PolicyBlocked { policy, others },
                    "above another policy it would take that one's settings away, and below it would do nothing",
                    Risk::High,
                    effect,
                )
            }
        }
    }

    fn binding(&self, binding: &Binding) -> Option<Step> {
        let bind = || Action::Bind(binding.clone());
        let effect = "from then on these events go to the queue as well; earlier ones do not";
        match self.is_bound(binding) {
            Some(true) => None,
            Some(false) => Some(Step::new(bind(), NOT_THERE, Risk::None, effect)),
            None => Some(unverified(bind(), UNSEEN, "to bind again changes nothing")),
        }
    }

    fn exchange_binding(&self, binding: &ExchangeBinding) -> Option<Step> {
        let bind = || Action::BindExchange(binding.clone());
        let effect = "from then on these events go to that exchange as well; the alternate exchange of the source does \
                      not get them any more";
        match is_exchange_bound(self.observed, binding) {
            Some(true) => None,
            Some(false) => Some(Step::new(bind(), NOT_THERE, Risk::None, effect)),
            None => Some(unverified(bind(), UNSEEN, "to bind again changes nothing")),
        }
    }

    fn retired(&self, binding: &Binding) -> Option<Step> {
        let unbind = || Action::Unbind(binding.clone());
        match self.is_bound(binding) {
            Some(false) => None,
            Some(true) => Some(Step::new(
                unbind(),
                "`retired` of the group says that it no longer asks for it",
                Risk::Low,
                "from then on these events no longer go to the queue; those that are in it stay",
            )),
            None => Some(unverified(unbind(), UNSEEN, "to unbind what is not bound changes nothing")),
        }
    }

    /// Whether a binding is there; `None` when that cannot be seen.
    fn is_bound(&self, binding: &Binding) -> Option<bool> {
        let Observed { exchanges, queues, bindings, .. } = self.observed;
        // Without either of its ends there is no binding, however the broker is looked at.
        if !exchanges.contains_key(binding.source.as_str()) || !queues.contains_key(binding.queue.as_str()) {
            return Some(false);
        }
        bindings.as_ref().map(|bindings| bindings.iter().any(|there| is_it(there, binding)))
    }

    /// Bindings of the program's queues, and of its exchanges to others, that nobody declares.
    fn foreign(&self, owned: Option<&Topology>) -> Vec<Step> {
        let mut seen = BTreeSet::new();
        let bindings = self.observed.bindings.iter().flatten();
        bindings
            .filter(|there| match there.to_exchange {
                true => self.wanted.exchange(&there.destination).is_some(),
                false => self.wanted.queue(&there.destination).is_some(),
            })
            .filter(|there| {
                let exchanges = self.wanted.exchange_bindings();
                let once = owned.into_iter().flat_map(Topology::exchange_bindings);
                !exchanges.chain(once).any(|binding| is_exchange(there, binding))
            })
            .filter(|there| {
                let declared = self.wanted.bindings().chain(self.wanted.unbound());
                let once = owned.into_iter().flat_map(Topology::bindings);
                !declared.chain(once).any(|binding| is_it(there, binding))
            })
            // It leads back to the queue from retries under a name that its group had, until they are through.
            .filter(|there| {
                let mut formers = self.wanted.formers().iter();
                !formers.any(|it| it.queue.as_str() == there.destination && it.entry() == there.source)
            })
            .filter(|there| seen.insert(format!("{there:?}")))
            .map(|there| {
                if there.to_exchange {
                    return Step::new(
                        Action::Leave(left(there, false)),
                        "nobody knows of it here: it was made by hand, or by another program",
                        Risk::Low,
                        "what comes by it goes to whoever is bound to that exchange; `from` of its `#[exchange]` \
                         declares it",
                    );
                }
                Step::new(
                    Action::Leave(left(there, false)),
                    "nobody knows of it here: it was made by hand, by another program that shares the queue, or by a \
                     version of this one that is not remembered",
                    Risk::Low,
                    "what comes by it and no handler takes is skipped, waits or is dead-lettered, as `on_unknown` says; \
                     `retired` of the group unbinds it",
                )
            })
            .collect()
    }
}

pub(crate) fn is_it(there: &ObservedBinding, binding: &Binding) -> bool {
    !there.to_exchange
        && there.source == binding.source.as_str()
        && there.destination == binding.queue.as_str()
        && there.key == binding.key
        && is_same_table(&there.arguments, &binding.arguments)
}

/// Whether what is there is this binding between exchanges.
fn is_exchange(there: &ObservedBinding, binding: &ExchangeBinding) -> bool {
    there.to_exchange
        && there.source == binding.source.as_str()
        && there.destination == binding.destination.as_str()
        && there.key == binding.key
        && is_same_table(&there.arguments, &binding.arguments)
}

/// Whether a binding between exchanges is there; `None` when that cannot be seen.
pub(super) fn is_exchange_bound(observed: &Observed, binding: &ExchangeBinding) -> Option<bool> {
    let ends = [binding.source.as_str(), binding.destination.as_str()];
    if ends.iter().any(|name| !observed.exchanges.contains_key(*name)) {
        return Some(false);
    }
    observed.bindings.as_ref().map(|bindings| bindings.iter().any(|there| is_exchange(there, binding)))
}

pub(super) fn left(there: &ObservedBinding, once_declared: bool) -> Left {
    if there.to_exchange {
        return Left::ExchangeBinding {
            source: there.source.clone(),
            destination: there.destination.clone(),
            key: there.key.clone(),
            arguments: there.arguments.clone(),
            once_declared,
        };
    }
    Left::Binding {
        source: there.source.clone(),
        queue: there.destination.clone(),
        key: there.key.clone(),
        arguments: there.arguments.clone(),
        once_declared,
    }
}

pub(super) fn unverified(action: Action, reason: impl Into<String>, effect: &str) -> Step {
    Step::new(Action::Unverified(Box::new(action)), reason, Risk::None, effect)
}

/// The arguments in which a queue may have what a policy carries.
const LIMITS: [&str; 5] = ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow"];
const NOT_THERE: &str = "it is not there";
const UNSEEN: &str = "bindings cannot be seen";
const DECLARED_AGAIN: &str = "to declare it again changes nothing, and tells what differs";
