//! What a program once declared and no longer does, and what of it may go. Pure.
//!
//! A queue goes when it is known to be empty and unused, and when nothing that stays sends dead letters to it.
//! The bindings by which events come go before it, so that none comes in between; queues from which messages come back go before
//! those to which they come. Of exchanges only those of a group alone go, `….in` and `….retry`: to others
//! somebody may publish.

use std::collections::BTreeSet;

use super::{
    decide::{is_exchange_bound, is_it, left, unverified},
    perform::other_weight,
    step::{Action, Left, PlanOptions, Risk, Step},
    text,
};
use crate::{
    message::Headers,
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Observed, ObservedPolicy,
        ObservedQueue, Policy, Queue, QueueKind, Topology, delivers,
    },
};

/// What is left over of earlier versions of the program.
pub(super) struct Stale<'a> {
    owned: &'a Topology,
    observed: &'a Observed,
    options: &'a PlanOptions,
    /// What was once declared and no longer is, whether it is there or not.
    gone: Topology,
    wanted: &'a Topology,
}

/// Whether a queue may be deleted.
enum Verdict {
    Goes,
    Stays(String),
}

impl<'a> Stale<'a> {
    pub(super) fn of(
        owned: &'a Topology,
        wanted: &'a Topology,
        observed: &'a Observed,
        options: &'a PlanOptions,
    ) -> Self {
        Self { owned, observed, options, gone: without_formers(&owned.without(wanted), wanted), wanted }
    }

    fn queues(&self) -> impl Iterator<Item = (&Queue, &ObservedQueue)> {
        let there = |queue: &Queue| self.observed.queues.get(queue.name.as_str());
        self.gone.queues().filter_map(move |queue| Some((queue, there(queue)?)))
    }

    /// By itself, whatever else there is.
    fn verdict(&self, queue: &Queue, found: &ObservedQueue) -> Verdict {
        let stays = |reason: String| Verdict::Stays(reason);
        if let Some(trouble) = &found.trouble {
            return stays(format!("it cannot be looked into: {trouble}"));
        }
        match found.consumers {
            None => return stays(UNKNOWN.to_owned()),
            Some(0) => {}
            Some(count) => {
                return stays(format!(
                    "it has {}: stop who reads it first (`rabbitmqctl list_consumers`)",
                    text::count(count, "consumer", "consumers")
                ));
            }
        }
        if self.options.discard.contains(queue.name.as_str()) {
            return Verdict::Goes;
        }
        let allow = "allow its loss by name (`discard`)";
        let is_stream = match &found.settings {
            Some(settings) => settings.kind == "stream",
            None => queue.kind == QueueKind::Stream,
        };
        // It keeps what was read, so that no count tells whether somebody still wants it.
        if is_stream {
            return stays(format!("it is a stream, and keeps what was read: {allow}"));
        }
        let hides = match &found.settings {
            Some(settings) => settings.kind != "classic" && found.dead_letters.is_none(),
            // Over AMQP: what waits to be dead-lettered is in no count.
            None => is_at_least_once(queue),
        };
        match (found.ready, found.settings.is_some().then_some(found.unacknowledged)) {
            (None, _) | (_, Some(None)) => return stays(UNKNOWN.to_owned()),
            (Some(ready), held) => {
                let all = ready + held.flatten().unwrap_or(0);
                if all > 0 {
                    return stays(format!("it has {}: drain it, or {allow}", text::messages(all)));
                }
            }
        }
        match found.dead_letters {
            Some(0) => Verdict::Goes,
            Some(count) => stays(format!(
                "{} on the way out of it that no queue has taken: bind one to its dead-letter exchange, or {allow}",
                text::count(count, "dead letter is", "dead letters are")
            )),
            None if hides => stays(format!(
                "it may keep dead letters that no count shows over AMQP: look through the management API, or {allow}"
            )),
            None => Verdict::Goes,
        }
    }

    /// Every queue with its verdict, all considered.
    fn verdicts(&self) -> Vec<(&Queue, &ObservedQueue, Verdict)> {
        let mut all: Vec<_> =
            self.queues().map(|(queue, found)| (queue, found, self.verdict(queue, found))).collect();
        loop {
            let staying: BTreeSet<&str> = all
                .iter()
                .filter(|(.., verdict)| matches!(verdict, Verdict::Stays(_)))
                .map(|(queue, ..)| queue.name.as_str())
                .collect();
            let needed = all.iter().enumerate().find_map(|(at, (queue, _, verdict))| {
                let Verdict::Goes = verdict else { return None };
                let sender = self.sender_to(queue, &staying);
                let why = sender.map(|sender| format!("{sender:?} stays, and sends dead letters to it"));
                let group = || self.group_of(queue).filter(|group| staying.contains(group));
                // Who reads that one needs this one.
                Some((at, why.or_else(|| Some(format!("the queue of its group stays, {:?}", group()?)))?))
            });
            let Some((at, why)) = needed else { return all };
            all[at].2 = Verdict::Stays(why);
        }
    }

    /// The queue that a group consumes, of a queue in which its events wait for another try.
    fn group_of<'b>(&'b self, queue: &'b Queue) -> Option<&'b str> {
        let entry =
            queue.dead_letter.as_ref().and_then(|letter| letter.exchange.as_str().strip_suffix(".in"));
        let into = self.owned.bindings().filter(|it| it.queue == queue.name);
        entry.or_else(|| into.into_iter().find_map(|it| it.source.as_str().strip_suffix(".retry")))
    }

    /// A queue that stays and sends its dead letters to this one.
    fn sender_to(&self, target: &Queue, staying: &BTreeSet<&str>) -> Option<String> {
        let into: Vec<&Binding> = self.owned.bindings().filter(|it| it.queue == target.name).collect();
        let reaches = |letter: &DeadLetter| {
            into.iter().any(|binding| {
                let is_same = binding.source == letter.exchange;
                let kind = self.owned.exchange(binding.source.as_str()).map(|exchange| exchange.kind);
                is_same
                    && match (kind, &letter.routing_key) {
                        (Some(kind), Some(key)) => {
                            delivers(kind, (&binding.key, &binding.arguments), (key, &Headers::new()))
                        }
                        _ => true,
                    }
            })
        };
        let kept = self
            .wanted
            .queues()
            .chain(self.gone.queues().filter(|queue| staying.contains(queue.name.as_str())));
        let mut senders = kept.filter(|queue| queue.name != target.name);
        let sender = senders.find(|queue| queue.dead_letter.as_ref().is_some_and(reaches))?;
        Some(sender.name.as_str().to_owned())
    }

    /// Bindings that are left over on queues that are still declared; `None` when bindings cannot be seen.
    fn bindings(&self) -> impl Iterator<Item = (&Binding, Option<bool>)> {
        let kept = self.gone.bindings().filter(|binding| {
            self.wanted.queue(binding.queue.as_str()).is_some()
                && !self.wanted.unbound().any(|it| it == *binding)
        });
        kept.map(|binding| (binding, self.is_bound(binding)))
    }

    fn is_bound(&self, binding: &Binding) -> Option<bool> {
        let Observed { exchanges, queues, bindings, .. } = self.observed;
        if !exchanges.contains_key(binding.source.as_str()) || !queues.contains_key(binding.queue.as_str()) {
            return Some(false);
        }
        bindings.as_ref().map(|bindings| bindings.iter().any(|there| is_it(there, binding)))
    }

    /// Whether nothing else is bound to the exchange of a binding than its queue.
    fn is_alone(&self, binding: &Binding) -> bool {
        let there = self.observed.bindings.iter().flatten();
        let mut there = there.filter(|it| it.source == binding.source.as_str());
        there.all(|it| !it.to_exchange && it.destination == binding.queue.as_str())
    }

    /// Whether queues send dead letters to an exchange.
    fn is_for_dead_letters(&self, exchange: &str) -> bool {
        let queues = self.owned.queues().chain(self.wanted.queues());
        let mut letters = queues.filter_map(|queue| queue.dead_letter.as_ref());
        letters.any(|letter| letter.exchange.as_str() == exchange)
    }

    /// Whether an exchange belongs to a group alone: it is named after a queue that is gone, too.
    fn is_of_group(&self, exchange: &Exchange) -> bool {
        stem(exchange).is_some_and(|stem| self.gone.queue(stem).is_some())
    }
}

/// What is there under a name that a group had is migrated, not pruned.
fn without_formers(gone: &Topology, wanted: &Topology) -> Topology {
    let formers = wanted.formers();
    let has_queue = |name: &str| formers.iter().any(|it| it.has_queue(name));
    let has_exchange = |name: &str| formers.iter().any(|it| it.has_exchange(name));
    let mut left = Topology::new();
    // Names are there once, as they were.
    for exchange in gone.exchanges().filter(|it| !has_exchange(it.name.as_str())) {
        drop(left.add_exchange(exchange.clone()));
    }
    for queue in gone.queues().filter(|it| !has_queue(it.name.as_str())) {
        drop(left.add_queue(queue.clone()));
    }
    let bindings = gone.bindings();
    for it in bindings.filter(|it| !has_queue(it.queue.as_str()) && !has_exchange(it.source.as_str())) {
        left.add_binding(it.clone());
    }
    for it in gone.exchange_bindings() {
        left.add_exchange_binding(it.clone());
    }
    left
}

/// The queue that an exchange of a group alone is named after.
fn stem(exchange: &Exchange) -> Option<&str> {
    let name = exchange.name.as_str();
    match exchange.kind {
        ExchangeKind::Fanout => name.strip_suffix(".in"),
        ExchangeKind::Headers => name.strip_suffix(".retry"),
        ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::ConsistentHash => None,
    }
}

/// The steps that remove it, where that is asked for; else what is left.
pub(super) fn steps(stale: &Stale<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let prune = stale.options.prune;
    for (binding, bound) in stale.bindings() {
        let weight = other_weight(binding, stale.wanted);
        let reason = match weight {
            None => "this program once declared it, and no longer does".to_owned(),
            Some(_) => {
                "it is the weight that the group had before, and the broker goes by the older one".to_owned()
            }
        };
        let effect = match weight {
            None => "from then on these events no longer go to the queue; those that are in it stay",
            Some(_) => {
                "both are made anew, and for that moment other queues get its share; from then on aggregates change \
                 over between queues"
            }
        };
        match (prune, bound) {
            (_, Some(false)) => {}
            // To make it anew would leave what comes meanwhile to nobody.
            (_, Some(true)) if weight.is_some() && stale.is_alone(binding) => steps.push(leave(
                left(&crate::model::ObservedBinding::of(binding), true),
                "it is the weight that the group had before, which means nothing while its queue is the only one bound \
                 there; prune makes it anew once there is another one"
                    .to_owned(),
            )),
            (true, Some(true)) => {
                steps.push(Step::new(Action::Unbind(binding.clone()), reason, Risk::Low, effect));
            }
            (true, None) => steps.push(unverified(
                Action::Unbind(binding.clone()),
                reason,
                "to unbind what is not bound changes nothing",
            )),
            (false, _) => steps.push(leave(
                left(&crate::model::ObservedBinding::of(binding), true),
                format!("{reason}; prune removes it"),
            )),
        }
    }
    for binding in stale.gone.exchange_bindings() {
        let reason = "this program once declared it, and no longer does";
        let unbind = || Action::UnbindExchange(binding.clone());
        match (prune, is_exchange_bound(stale.observed, binding)) {
            (_, Some(false)) => {}
            (true, Some(true)) => steps.push(Step::new(
                unbind(),
                reason,
                Risk::Low,
                "from then on these events no longer go to that exchange, nor to whoever is bound to it",
            )),
            (true, None) => {
                steps.push(unverified(unbind(), reason, "to unbind what is not bound changes nothing"));
            }
            (false, _) => steps.push(leave(
                left(&crate::model::ObservedBinding::of_exchange(binding), true),
                format!("{reason}; prune removes it"),
            )),
        }
    }
    let verdicts = stale.verdicts();
    // Those that send dead letters go before those that get them.
    let (senders, ends): (Vec<_>, Vec<_>) =
        verdicts.iter().partition(|(queue, ..)| is_before_its_target(stale, queue));
    let mut staying = BTreeSet::new();
    let mut deletions = Vec::new();
    for (queue, found, verdict) in senders.into_iter().chain(ends) {
        let name = queue.name.as_str();
        let no_longer = "this program once declared it, and no longer does";
        match verdict {
            Verdict::Goes if prune => {
                let discard = stale.options.discard.contains(name);
                // Dead letters may come until it is gone; those bindings go with it.
                let into = stale
                    .owned
                    .bindings()
                    .filter(|it| it.queue == queue.name && !stale.is_for_dead_letters(it.source.as_str()));
                for binding in into.filter(|binding| stale.is_bound(binding) != Some(false)) {
                    let action = Action::Unbind(binding.clone());
                    let reason = "its queue is deleted next, and nothing is to come in between";
                    let effect = "from then on nothing comes to the queue by it";
                    steps.push(match stale.is_bound(binding) {
                        Some(_) => Step::new(action, reason, Risk::Low, effect),
                        None => unverified(action, reason, effect),
                    });
                }
                let (risk, effect) = match found.ready.unwrap_or(0) + found.dead_letters.unwrap_or(0) {
                    0 if discard => (Risk::High, "what it has by then is lost".to_owned()),
                    0 => (
                        Risk::Low,
                        "it is empty, and nobody reads it; it stays if that is no longer so".to_owned(),
                    ),
                    1 => (Risk::High, "1 message in it is lost".to_owned()),
                    count => (Risk::High, format!("{} in it are lost", text::messages(count))),
                };
                let classic = match &found.settings {
                    Some(settings) => settings.kind == "classic",
                    None => queue.kind == QueueKind::Classic,
                };
                let action = Action::DeleteQueue { queue: queue.name.clone(), classic, discard };
                deletions.push(Step::new(action, no_longer, risk, effect));
            }
            Verdict::Goes => {
                staying.insert(name);
                steps.push(leave(Left::Queue(name.to_owned()), format!("{no_longer}; prune removes it")));
            }
            Verdict::Stays(why) => {
                staying.insert(name);
                steps.push(leave(Left::Queue(name.to_owned()), format!("{no_longer}, but {why}")));
            }
        }
    }
    steps.extend(deletions);
    steps.extend(policies(stale, &staying));
    for exchange in stale.gone.exchanges() {
        let name = exchange.name.as_str();
        if !stale.observed.exchanges.contains_key(name) {
            continue;
        }
        let no_longer = "this program once declared it, and no longer does";
        if !stale.is_of_group(exchange) {
            steps.push(leave(
                Left::Exchange(name.to_owned()),
                format!("{no_longer}; whether others publish to it nobody knows: delete it by hand if not"),
            ));
        } else if let Some(user) = needs(stale, exchange, &staying) {
            steps.push(leave(
                Left::Exchange(name.to_owned()),
                format!("{no_longer}, but {user:?} stays and uses it"),
            ));
        } else if prune {
            steps.push(Step::new(
                Action::DeleteExchange(exchange.name.clone()),
                no_longer,
                Risk::None,
                "only the group's own queues used it; it stays if something is bound to it",
            ));
        } else {
            steps.push(leave(Left::Exchange(name.to_owned()), format!("{no_longer}; prune removes it")));
        }
    }
    steps
}

/// What is to become of the policies of queues that are no longer declared: each goes after its queue.
fn policies(stale: &Stale<'_>, staying: &BTreeSet<&str>) -> Vec<Step> {
    let there = stale.observed.policies.as_deref().unwrap_or_default();
    let of = |queue: &Queue| {
        let (name, pattern) = (Policy::name_for(&queue.name), Policy::pattern_for(&queue.name));
        there.iter().find(|it| it.name == name && it.pattern == pattern)
    };
    let left_over = stale.gone.queues().filter_map(|queue| Some((queue, of(queue)?)));
    let step = |(queue, policy): (&Queue, &ObservedPolicy)| {
        let no_longer = "this program once declared its queue, and no longer does";
        if staying.contains(queue.name.as_str()) {
            let reason = match stale.options.prune {
                true => format!("{no_longer}, but the queue stays"),
                false => format!("{no_longer}; prune removes it with its queue"),
            };
            return leave(Left::Policy(policy.name.clone()), reason);
        }
        if !stale.options.prune {
            return leave(Left::Policy(policy.name.clone()), format!("{no_longer}; prune removes it"));
        }
        let action = Action::DeletePolicy { policy: policy.name.clone(), queue: queue.name.clone() };
        Step::new(action, no_longer, Risk::None, "its queue is gone")
    };
    left_over.map(step).collect()
}

/// A queue that stays and uses the exchange.
fn needs<'a>(stale: &'a Stale<'_>, exchange: &Exchange, staying: &BTreeSet<&str>) -> Option<&'a str> {
    let uses = |queue: &Queue| {
        stem(exchange) == Some(queue.name.as_str())
            || queue.dead_letter.as_ref().is_some_and(|letter| letter.exchange == exchange.name)
            || stale.owned.bindings().any(|it| it.source == exchange.name && it.queue == queue.name)
    };
    let kept = stale.gone.queues().filter(|queue| staying.contains(queue.name.as_str()));
    // One that prune removes takes its use along.
    let kept = kept.filter(|_| stale.options.prune).chain(stale.wanted.queues());
    kept.filter(|queue| uses(queue)).map(|queue| queue.name.as_str()).next()
}

/// Whether a queue's messages come back to another queue that goes too, as a retry queue's do.
fn is_before_its_target(stale: &Stale<'_>, queue: &Queue) -> bool {
    queue.dead_letter.as_ref().is_some_and(|letter| {
        stale.gone.exchange(letter.exchange.as_str()).is_some_and(|exchange| stale.is_of_group(exchange))
    })
}

fn is_at_least_once(queue: &Queue) -> bool {
    queue.dead_letter.as_ref().is_some_and(|letter| letter.strategy == DeadLetterStrategy::AtLeastOnce)
}

fn leave(left: Left, reason: String) -> Step {
    Step::new(Action::Leave(left), reason, Risk::Low, "")
}

const UNKNOWN: &str = "the broker does not tell yet what is in it: try again in a few seconds";
