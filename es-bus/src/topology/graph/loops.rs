//! Handlers whose results call for each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{GraphFinding, Severity};
use crate::{event::EventKind, registry::HandlerDef, topology::Program};

/// Name and aggregate: what a handler tells an event by.
type Event = (&'static str, &'static str);

fn event(kind: &EventKind) -> Event {
    (kind.name, kind.aggregate)
}

/// Events that handlers make of each other, back to the first. It is well where one of them stops at some time, which
/// nobody but their author knows.
pub(super) fn check(program: &Program<'_>, findings: &mut Vec<GraphFinding>) {
    let mut made: BTreeMap<Event, Vec<(&'static HandlerDef, Event)>> = BTreeMap::new();
    for def in program.registry.handlers() {
        let emitted = def.emitted();
        for taken in def.kinds().unwrap_or_default() {
            let emitted = emitted.iter().map(|kind| (*def, event(kind)));
            made.entry(event(taken)).or_default().extend(emitted);
        }
    }
    let mut told: BTreeSet<Vec<Event>> = BTreeSet::new();
    for start in made.keys() {
        let Some(way) = back_to(*start, &made) else { continue };
        let mut events: Vec<Event> = way.iter().map(|(_, event)| *event).collect();
        events.sort_unstable();
        if !told.insert(events) {
            continue;
        }
        let steps: Vec<String> = way
            .iter()
            .map(|(def, (name, _))| format!("{}/{} makes {name} of it", def.group.name, def.name))
            .collect();
        findings.push(GraphFinding::new(
            Severity::Note,
            None,
            format!("{} may go round for ever: {}", start.0, steps.join(", ")),
            way.iter().filter_map(|(def, _)| program.handler_place(def.group.name, def.name)),
            "let one of the handlers emit nothing at some time (`Option<Emit<T>>`)",
        ));
    }
}

/// The shortest way over handlers from an event back to itself: each with what it emits.
fn back_to(
    start: Event,
    made: &BTreeMap<Event, Vec<(&'static HandlerDef, Event)>>,
) -> Option<Vec<(&'static HandlerDef, Event)>> {
    let mut came: BTreeMap<Event, (Event, &'static HandlerDef)> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for (def, emitted) in made.get(&at).into_iter().flatten() {
            if came.contains_key(emitted) {
                continue;
            }
            came.insert(*emitted, (at, *def));
            if *emitted == start {
                let mut way = Vec::new();
                let mut event = start;
                loop {
                    let (before, def) = came[&event];
                    way.push((def, event));
                    event = before;
                    if event == start {
                        way.reverse();
                        return Some(way);
                    }
                }
            }
            next.push_back(*emitted);
        }
    }
    None
}
