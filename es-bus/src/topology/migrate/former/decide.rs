//! What there is of a group under a name that it had → the next step to bring it to the group. Pure.

use crate::{
    model::{Binding, Former, Observed, ObservedBinding},
    topology::migrate::{
        MigrationStep,
        decide::{self, Step, There},
    },
};

/// What is there. Bindings of the old queue are written as those of the new one, so that they compare.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// What there is of the new queue.
    pub(super) new: decide::Facts,
    /// Whether something that belongs to the new queue is missing.
    pub(super) is_partial: bool,
    pub(super) old: Option<Old>,
    /// What leads back to the old queue, or to the new one; `None` when the exchange for it is not there.
    pub(super) entry: Option<Entry>,
    /// How many dead letters wait under the old name; `None` without a queue for them.
    pub(super) letters: Option<u64>,
    /// Queues in which events wait under the old name, for a retry or because they ended a process.
    pub(super) waiting: Vec<Waiting>,
    /// Whether there is anything else of the old name.
    pub(super) has_parts: bool,
    pub(super) is_marked: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Old {
    pub(super) ready: u64,
    pub(super) consumers: u64,
    /// What it is bound to, but for what leads back to it.
    pub(super) bound: Vec<Binding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) to_old: bool,
    pub(super) to_new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) name: String,
    pub(super) ready: u64,
}

/// What is to be done next; `None` when nothing is left to do now.
pub(super) fn decide(facts: &Facts) -> Option<Step> {
    use MigrationStep as Do;
    let with = |what, bindings| Some(Step { what, bindings });
    let step = |what| with(what, Vec::new());
    let Facts { new, old, entry, letters, waiting, .. } = facts;
    if !is_there(facts) {
        return decide::decide(new);
    }
    if new.queue == There::Absent || facts.is_partial {
        return step(Do::DeclareNew);
    }
    if let Some(old) = old.as_ref().filter(|old| !old.bound.is_empty()) {
        let mut covered = new.bound.clone();
        covered.extend(new.aside.iter().flat_map(|aside| aside.bound.iter().cloned()));
        let missing = decide::beyond(&old.bound, &covered);
        return match (missing.is_empty(), &new.aside) {
            (true, _) => with(Do::Unbind, old.bound.clone()),
            (false, None) => step(Do::Prepare),
            (false, Some(_)) => with(Do::Divert, missing),
        };
    }
    if let Some(entry) = entry
        && (old.is_some() || !waiting.is_empty())
        && (entry.to_old || !entry.to_new)
    {
        return step(Do::TakeRetries);
    }
    if old.as_ref().is_some_and(|old| old.ready > 0) {
        return step(Do::MoveOver);
    }
    if let Some(step) = decide::decide(new) {
        return Some(step);
    }
    let missing = decide::beyond(&new.wanted, &new.bound);
    if !missing.is_empty() {
        return with(Do::Open, missing);
    }
    if letters.is_some_and(|letters| letters > 0) {
        return step(Do::MoveLetters);
    }
    match old {
        Some(old) if old.consumers > 0 => return (!facts.is_marked).then(|| step(Do::Mark)).flatten(),
        Some(_) => return step(Do::DropFormer),
        None => {}
    }
    match waiting.first() {
        Some(_) if waiting.iter().any(|it| it.ready > 0) => step(Do::MoveWaiting),
        Some(_) => step(Do::DropWaiting),
        None => step(Do::DropParts),
    }
}

/// Whether there is anything of the old name.
fn is_there(facts: &Facts) -> bool {
    let Facts { old, entry, letters, waiting, has_parts, is_marked, .. } = facts;
    old.is_some() || entry.is_some() || letters.is_some() || !waiting.is_empty() || *has_parts || *is_marked
}

impl Facts {
    /// How it would be after a step that nothing comes between.
    pub(super) fn after(mut self, step: &Step) -> Self {
        use MigrationStep as Do;
        match step.what {
            Do::DeclareNew => (self.new.queue, self.is_partial) = (There::Wanted, false),
            Do::Unbind if self.old.as_ref().is_some_and(|old| !old.bound.is_empty()) => {
                self.old.iter_mut().for_each(|old| old.bound.clear());
            }
            Do::TakeRetries => self.entry = Some(Entry { to_old: false, to_new: true }),
            Do::MoveOver => {
                self.old.iter_mut().for_each(|old| old.ready = 0);
                self.new.has_exchanges = true;
            }
            Do::MoveLetters => self.letters = Some(0),
            Do::Mark => self.is_marked = true,
            Do::DropFormer => self.old = None,
            Do::MoveWaiting => self.waiting.iter_mut().for_each(|it| it.ready = 0),
            Do::DropWaiting => self.waiting.clear(),
            Do::DropParts => {
                (self.entry, self.letters, self.has_parts, self.is_marked) = (None, None, false, false);
            }
            _ => self.new = self.new.after(step),
        }
        self
    }
}

/// How far a group is from having all that there is under a name that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// Nothing of that name is there.
    Through,
    /// Events still come to the old queue, or are in it.
    Not,
    /// The old queue is left to the last replicas that consume it.
    Left,
}

/// Whether something is there under a name that a group had. Pure.
pub(crate) fn renamed(former: &Former, observed: &Observed) -> Renamed {
    let Observed { queues, exchanges, bindings, .. } = observed;
    let is_there = queues.keys().any(|name| former.has_queue(name))
        || exchanges.keys().any(|name| former.has_exchange(name));
    let entry = former.entry();
    let brings =
        |it: &ObservedBinding| !it.to_exchange && it.destination == former.old.as_str() && it.source != entry;
    let is_bound = |all: &Vec<ObservedBinding>| all.iter().any(brings);
    match is_there {
        false => Renamed::Through,
        true if !exchanges.contains_key(&former.marker()) || bindings.as_ref().is_some_and(is_bound) => {
            Renamed::Not
        }
        true => Renamed::Left,
    }
}
