//! What is there of a queue and of its migration → the next step. Pure.
//!
//! All that is known of a migration is on the broker, so that each step follows from what is there, whoever did the
//! one before and wherever it was killed. What holds after every step: what was bound to the queue leads to it or to
//! the one aside, and messages are in one of the three.

use super::step::{MigrationStep, Names};
use crate::{
    message::Value,
    model::{Binding, Former, Observed, ObservedBinding, Queue, Topology, equivalence},
    name::{ExchangeName, QueueName},
    topology::plan::is_it,
    wire::names,
};

/// How many newer events may be before older ones when a migration was killed just before its end.
const FEW: u64 = 100;

/// What a queue is for: that says how messages get out of it, and how they are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Nobody handles what is in it: a dead-letter queue, or one of suspects.
    Kept,
    /// Messages leave it by themselves when their time has come.
    Waiting,
    /// A group consumes it.
    Work,
}

/// A queue on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Absent,
    /// With other settings than the program declares.
    Other,
    /// As the program declares it.
    Wanted,
}

/// What is there. Bindings of the one aside are written as those of the queue, so that they compare.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) role: Role,
    pub(super) queue: There,
    /// How many messages in the queue are ready.
    pub(super) ready: u64,
    /// What it is bound to, without the exchange of the migration.
    pub(super) bound: Vec<Binding>,
    pub(super) aside: Option<Aside>,
    /// How many messages the queue of the old ones has.
    pub(super) old: Option<u64>,
    pub(super) has_exchanges: bool,
    /// What it is to be bound to.
    pub(super) wanted: Vec<Binding>,
    /// Whether what is aside was moved to its end once, in this run: from then on the queue is bound whatever
    /// still comes, or traffic would keep the migration going for ever.
    pub(super) caught_up: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aside {
    pub(super) ready: u64,
    pub(super) bound: Vec<Binding>,
}

/// A step, and the bindings that it is about, those of the one aside too as of the queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) what: MigrationStep,
    pub(super) bindings: Vec<Binding>,
}

/// What is to be done next; `None` when nothing is left of a migration, and none is needed.
pub(super) fn decide(facts: &Facts) -> Option<Step> {
    use MigrationStep as Do;
    let step = |what| Some(Step { what, bindings: Vec::new() });
    let Facts { queue, bound, wanted, .. } = facts;
    let Some(aside) = &facts.aside else {
        return match (queue, facts.old) {
            (There::Other, _) => step(Do::Prepare),
            // Without a trace of a migration it is for a start, or for a plan, to declare it.
            (There::Absent, None) if !facts.has_exchanges => None,
            (There::Absent, _) => step(Do::Create),
            (There::Wanted, Some(0)) => step(Do::DropOld),
            (There::Wanted, Some(_)) => step(Do::ReturnOld),
            (There::Wanted, None) => facts.has_exchanges.then(|| step(Do::Tidy)).flatten(),
        };
    };
    // Bound before it is unbound: at worst an event comes twice.
    let diverted = || {
        let missing = beyond(bound, &aside.bound);
        match (missing.is_empty(), bound.is_empty()) {
            (false, _) => Some(Step { what: Do::Divert, bindings: missing }),
            (true, false) => Some(Step { what: Do::Unbind, bindings: bound.clone() }),
            (true, true) => None,
        }
    };
    let opened = || {
        let mut missing = beyond(wanted, bound);
        missing.extend(beyond(&beyond(&aside.bound, bound), &missing));
        (!missing.is_empty()).then_some(Step { what: Do::Open, bindings: missing })
    };
    match (queue, facts.old) {
        (There::Absent, _) => step(Do::Create),
        (There::Other, _) => {
            diverted().or_else(|| step(if facts.ready > 0 { Do::Empty } else { Do::Replace }))
        }
        // The older ones first. A replica that started meanwhile has bound the queue: what comes is to wait.
        (There::Wanted, Some(1..)) if !aside.bound.is_empty() => diverted().or_else(|| step(Do::ReturnOld)),
        (There::Wanted, Some(1..)) => step(Do::ReturnOld),
        (There::Wanted, Some(0)) => step(Do::DropOld),
        (There::Wanted, None) if aside.bound.is_empty() => {
            opened().or_else(|| step(if aside.ready > 0 { Do::Return } else { Do::DropAside }))
        }
        // What waits for its time waits here as well as there.
        (There::Wanted, None) if facts.role != Role::Waiting && !facts.caught_up && aside.ready > 0 => {
            match opened() {
                // Bound already, by whoever was killed then: what is left is not worth to begin anew.
                None if aside.ready <= FEW => Some(Step { what: Do::Close, bindings: aside.bound.clone() }),
                _ => diverted().or_else(|| step(Do::Return)),
            }
        }
        (There::Wanted, None) => {
            opened().or_else(|| Some(Step { what: Do::Close, bindings: aside.bound.clone() }))
        }
    }
}

/// Those of the first that are not among the second.
pub(super) fn beyond(all: &[Binding], there: &[Binding]) -> Vec<Binding> {
    all.iter().filter(|binding| !there.contains(binding)).cloned().collect()
}

impl Facts {
    /// How it would be after a step that nothing comes between: how a dry run knows the next one.
    pub(super) fn after(mut self, step: &Step) -> Self {
        use MigrationStep as Do;
        let bindings = step.bindings.iter().cloned();
        match step.what {
            Do::Prepare => {
                self.aside = Some(Aside { ready: 0, bound: Vec::new() });
                self.has_exchanges = self.role != Role::Waiting;
            }
            Do::Divert => self.aside.iter_mut().for_each(|aside| aside.bound.extend(bindings.clone())),
            Do::Unbind => self.bound = beyond(&self.bound, &step.bindings),
            Do::Empty => {
                if self.role != Role::Waiting {
                    self.old = Some(self.old.unwrap_or(0) + self.ready);
                }
                self.ready = 0;
            }
            Do::Replace | Do::Create => {
                (self.queue, self.ready, self.bound) = (There::Wanted, 0, Vec::new());
            }
            Do::ReturnOld => self.old = Some(0),
            Do::DropOld => self.old = None,
            Do::Return => {
                self.aside.iter_mut().for_each(|aside| aside.ready = 0);
                self.caught_up = true;
            }
            Do::Open => self.bound.extend(bindings),
            Do::Close => {
                self.aside.iter_mut().for_each(|aside| aside.bound = beyond(&aside.bound, &step.bindings));
            }
            Do::DropAside => self.aside = None,
            Do::Tidy => self.has_exchanges = false,
            // Of a group that was renamed, which `former` does.
            Do::DeclareNew
            | Do::TakeRetries
            | Do::MoveOver
            | Do::MoveLetters
            | Do::Mark
            | Do::DropFormer
            | Do::MoveWaiting
            | Do::DropWaiting
            | Do::DropParts => {}
        }
        self
    }
}

/// A queue that is to be migrated, as the program declares it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) names: Names,
    pub(super) queue: Queue,
    pub(super) role: Role,
    pub(super) bindings: Vec<Binding>,
    /// The names that it had.
    pub(super) formers: Vec<Former>,
}

impl Target {
    pub(super) fn of(queue: &Queue, names: Names, topology: &Topology) -> Self {
        let bindings: Vec<Binding> =
            topology.bindings().filter(|binding| binding.queue == queue.name).cloned().collect();
        let role = role(queue, &bindings);
        let is_its = |it: &&Former| it.queue == queue.name || it.dlq.as_ref() == Some(&queue.name);
        let formers = topology.formers().iter().filter(is_its).cloned().collect();
        Self { names, queue: queue.clone(), role, bindings, formers }
    }

    /// What is there of it; counts are as old as the view.
    pub(super) fn facts(&self, observed: &Observed, caught_up: bool) -> Facts {
        let Names { queue, aside, old, to_old, back, .. } = &self.names;
        let major = observed.broker.as_ref().and_then(|broker| broker.major());
        let found = observed.queues.get(queue.as_str());
        let there = match found.and_then(|found| found.settings.as_ref()) {
            None => There::Absent,
            Some(settings) if equivalence::of_queue(&self.queue, settings, major).is_empty() => There::Wanted,
            Some(_) => There::Other,
        };
        let ready = |name: &QueueName| Some(observed.queues.get(name.as_str())?.ready.unwrap_or(0));
        Facts {
            role: self.role,
            queue: there,
            ready: ready(queue).unwrap_or(0),
            bound: self.bound(observed, queue),
            aside: ready(aside).map(|ready| Aside { ready, bound: self.bound(observed, aside) }),
            old: ready(old),
            has_exchanges: [to_old, back].iter().any(|name| observed.exchanges.contains_key(name.as_str())),
            wanted: self.bindings.clone(),
            caught_up,
        }
    }

    /// What a queue is bound to, as bindings of the one that is migrated.
    pub(super) fn bound(&self, observed: &Observed, destination: &QueueName) -> Vec<Binding> {
        let bindings = observed.bindings.iter().flatten();
        let of = bindings.filter(|it| !it.to_exchange && it.destination == destination.as_str());
        let mut bound = Vec::new();
        for it in of.filter(|it| it.source != self.names.back.as_str()) {
            let binding = self.binding(it);
            if !bound.contains(&binding) {
                bound.push(binding);
            }
        }
        bound
    }

    fn binding(&self, there: &ObservedBinding) -> Binding {
        let queue = self.names.queue.clone();
        let there = ObservedBinding { destination: queue.to_string(), ..there.clone() };
        // With exactly the arguments that it was made with, where they are known: JSON does not tell widths.
        if let Some(declared) = self.bindings.iter().find(|binding| is_it(&there, binding)) {
            return declared.clone();
        }
        let source = ExchangeName::of_existing(&there.source);
        Binding { source, queue, key: there.key, arguments: there.arguments }
    }
}

/// What a queue is for. The names are those that a group gives.
fn role(queue: &Queue, bindings: &[Binding]) -> Role {
    let name = queue.name.as_str();
    if bindings.iter().any(|it| it.source.as_str().strip_suffix(".in") == Some(name)) {
        return Role::Work;
    }
    let waits = |binding: &Binding| {
        let delay = binding.arguments.get(names::ES_DELAY).and_then(Value::as_str);
        let group = binding.source.as_str().strip_suffix(".retry");
        let back = queue.dead_letter.as_ref().and_then(|letter| letter.exchange.as_str().strip_suffix(".in"));
        delay.is_some() && group.is_some() && group == back
    };
    if bindings.iter().any(waits) { Role::Waiting } else { Role::Kept }
}

/// The queue that is there while a queue is migrated.
pub(crate) fn aside(queue: &QueueName) -> Option<QueueName> {
    Names::of(queue).ok().map(|names| names.aside)
}

/// Whether a migration of the queue was begun and is not through.
pub(crate) fn is_half_way(queue: &QueueName, observed: &Observed) -> bool {
    let Ok(names) = Names::of(queue) else { return false };
    [&names.aside, &names.old].iter().any(|name| observed.queues.contains_key(name.as_str()))
        || [&names.to_old, &names.back].iter().any(|name| observed.exchanges.contains_key(name.as_str()))
}
