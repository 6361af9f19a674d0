//! Events that nobody takes, and exchanges that lead nowhere or that nothing comes to.

use std::collections::{BTreeMap, BTreeSet};

use super::{GraphFinding, Severity};
use crate::{
    event::{EventKind, Unroutable},
    model::{Exchange, ExchangeBinding, ExchangeKind, Stop},
    registry::Place,
    topology::{Bound, GroupSpec, HandlerSpec, Program},
};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<GraphFinding>) {
    dead_events(program, findings);
    for exchange in program.topology.exchanges() {
        findings.extend(alternate(program, exchange));
    }
    findings.extend(program.topology.exchange_bindings().filter_map(|binding| nowhere(program, binding)));
    findings.extend(circles(program));
    unreachable(program, findings);
    shares(program, findings);
}

fn exchange_place(program: &Program<'_>, name: &str) -> Option<Place> {
    let def = program.registry.exchange_def(name)?;
    Some(Place::new(format!("exchange {name:?}"), def.location))
}

/// How many keys a message lists.
const LISTED: usize = 10;

/// Events that no group of the program takes: one finding per exchange. A program without groups leaves that to
/// others, and an `optional` event says itself that nobody need take it.
fn dead_events(program: &Program<'_>, findings: &mut Vec<GraphFinding>) {
    if program.groups.is_empty() {
        return;
    }
    let mut dead: BTreeMap<&str, BTreeMap<&str, Vec<Place>>> = BTreeMap::new();
    for kind in program.registry.kinds() {
        let exchange = program.exchanges.of(kind);
        let is_taken = || way(program, kind).iter().any(|stop| !stop.bindings.is_empty());
        if kind.unroutable != Unroutable::Optional && !is_taken() {
            dead.entry(exchange).or_default().entry(kind.key).or_default().extend(places_of(program, kind));
        }
    }
    for (exchange, events) in dead {
        let count = events.len();
        let mut keys: Vec<&str> = events.keys().copied().take(LISTED).collect();
        let more = format!("{} more", count.saturating_sub(LISTED));
        if count > LISTED {
            keys.push(&more);
        }
        let message = match count {
            1 => format!("no group of this program takes {} from exchange {exchange:?}", keys.join(", ")),
            _ => format!(
                "no group of this program takes {count} events from exchange {exchange:?}: {}",
                keys.join(", ")
            ),
        };
        findings.push(GraphFinding::new(
            Severity::Note,
            None,
            message,
            events.into_values().flatten(),
            "unless another service takes it, it is gone, and counted as unroutable: `#[event(mandatory)]` makes that an \
             error, `#[event(optional)]` makes it silent",
        ));
    }
}

/// Where an event is declared, and who emits it.
fn places_of(program: &Program<'_>, kind: &EventKind) -> Vec<Place> {
    let defs = program.registry.events().iter().filter(|def| def.kinds.contains(kind));
    let declared = defs
        .map(|def| Place::new(format!("event `{}::{}`", def.location.module, def.type_name), def.location));
    let handlers = program.registry.handlers().iter().filter(|def| def.emitted().contains(&kind));
    let emitted = handlers
        .map(|def| Place::new(format!("handler `{}::{}`", def.location.module, def.name), def.location));
    declared.chain(emitted).collect()
}

/// An alternate exchange that keeps nothing.
fn alternate(program: &Program<'_>, exchange: &Exchange) -> Option<GraphFinding> {
    let (name, alternate) = (exchange.name.as_str(), exchange.alternate()?);
    let places = exchange_place(program, name).into_iter().chain(exchange_place(program, alternate));
    let Some(there) = program.topology.exchange(alternate) else {
        return Some(GraphFinding::new(
            Severity::Note,
            None,
            format!("exchange {name:?} hands over to {alternate:?}, which this program does not declare"),
            places,
            "until somebody declares it, the broker drops what goes there: name the type of an `#[exchange]` to have it \
             declared",
        ));
    };
    let keeps = program.topology.may_spread(there.name.as_str(), |_, _, _| true);
    let is_kept = keeps.iter().any(|stop| !stop.bindings.is_empty());
    (!is_kept).then(|| {
        GraphFinding::new(
            Severity::Caution,
            None,
            format!("exchange {name:?} hands what it has no queue for over to {alternate:?}, which has no queue either"),
            places,
            "let a group keep what comes: `#[group(exchange = ..)]` of that exchange, with a handler of `RawEvent`",
        )
    })
}

/// A binding between exchanges whose destination keeps nothing.
fn nowhere(program: &Program<'_>, binding: &ExchangeBinding) -> Option<GraphFinding> {
    let (source, destination) = (binding.source.as_str(), binding.destination.as_str());
    let keeps = program.topology.may_spread(destination, |_, _, _| true);
    if keeps.iter().any(|stop| !stop.bindings.is_empty()) {
        return None;
    }
    let is_swallowed = program.topology.exchange(source).is_some_and(|it| it.alternate().is_some());
    let places = exchange_place(program, destination).into_iter().chain(exchange_place(program, source));
    Some(GraphFinding::new(
        if is_swallowed { Severity::Caution } else { Severity::Note },
        None,
        format!(
            "exchange {destination:?} gets messages from {source:?}, and no queue of this program is bound to it{}",
            if is_swallowed { ": they do not go to the alternate exchange of that one any more" } else { "" }
        ),
        places,
        "let a group take them: `#[group(exchange = ..)]` of that exchange, with a handler of `RawEvent`; it is well \
         where another service does",
    ))
}

/// Alternate exchanges that lead back to where they began, one finding per circle.
fn circles(program: &Program<'_>) -> Vec<GraphFinding> {
    let alternate = |name: &str| program.topology.exchange(name).and_then(Exchange::alternate);
    let mut told: BTreeSet<Vec<&str>> = BTreeSet::new();
    for start in program.topology.exchanges() {
        let way: Vec<&str> =
            program.topology.way_of(start.name.as_str()).map(|at| at.name.as_str()).collect();
        let back = way.last().and_then(|last| alternate(last));
        if way.len() > 1 && back == Some(start.name.as_str()) {
            // Each exchange of the circle is a start of it: the first by name tells.
            let first = (0..way.len()).min_by_key(|at| way[*at]).unwrap_or(0);
            told.insert([&way[first..], &way[..first]].concat());
        }
    }
    let circle = |way: Vec<&str>| {
        GraphFinding::new(
            Severity::Caution,
            None,
            format!("the alternate exchanges {} lead back to {:?}", way.join(", "), way[0]),
            way.iter().filter_map(|name| exchange_place(program, name)),
            "what none of them has a queue for is dropped: let the last one hand over to one that keeps everything",
        )
    };
    told.into_iter().map(circle).collect()
}

/// Bindings on exchanges that nothing comes to.
fn unreachable(program: &Program<'_>, findings: &mut Vec<GraphFinding>) {
    let kinds = program.registry.kinds();
    let published: BTreeSet<&str> = kinds.iter().map(|kind| program.exchanges.of(kind)).collect();
    for group in program.groups {
        let name = group.name.as_str();
        let mut told: BTreeMap<&str, (Idle, Vec<&HandlerSpec>)> = BTreeMap::new();
        for handler in &group.handlers {
            for bound in &handler.bound {
                if let Some(idle) = idle(program, &published, name, handler, bound) {
                    let (_, handlers) = told.entry(bound.exchange.as_str()).or_insert((idle, Vec::new()));
                    handlers.push(handler);
                }
            }
        }
        for (exchange, (idle, handlers)) in told {
            let mut names: Vec<&str> = handlers.iter().map(|handler| &*handler.name).collect();
            names.dedup();
            let who = format!(
                "{} of group {name:?} {} bound to exchange {exchange:?}",
                names.join(", "),
                match names.len() {
                    1 => "is",
                    _ => "are",
                }
            );
            let (message, help) = match idle {
                Idle::Internal => (
                    format!(
                        "{who}, which is internal, and no exchange of this program hands over to it: nothing comes"
                    ),
                    "drop `internal`, bind it to another exchange (`from`), or name it as `alternate_exchange`; it is well \
                     where another service binds it",
                ),
                Idle::Shadowed(by) => (
                    format!(
                        "{who}, which gets what {by:?} has no queue for: a binding there takes everything, and nothing \
                             comes"
                    ),
                    "narrow the binding that takes everything, or drop the alternate exchange",
                ),
            };
            let places = handlers.iter().filter_map(|handler| program.handler_place(name, &handler.name));
            let places = places.chain(exchange_place(program, exchange)).collect::<Vec<_>>();
            findings.push(GraphFinding::new(Severity::Caution, Some(name), message, places, help));
        }
    }
}

/// Events that come to a consistent-hash exchange, and that a group with a share of it does not take: nobody else gets
/// them.
fn shares(program: &Program<'_>, findings: &mut Vec<GraphFinding>) {
    for exchange in program.topology.exchanges().filter(|it| it.kind == ExchangeKind::ConsistentHash) {
        let name = exchange.name.as_str();
        let kinds = program.registry.kinds();
        let comes =
            |kind: &&EventKind| way(program, kind).iter().any(|stop| stop.exchange.name == exchange.name);
        let coming: Vec<&EventKind> = kinds.into_iter().filter(comes).collect();
        let of_exchange = |group: &&&GroupSpec| {
            let mut bounds = group.handlers.iter().flat_map(|handler| &handler.bound);
            bounds.any(|bound| bound.exchange == exchange.name)
        };
        for group in program.groups.iter().filter(of_exchange) {
            let takes = |kind: &EventKind| {
                group.handlers.iter().any(|handler| match handler.kinds.as_deref() {
                    None => true,
                    Some(own) => own.iter().any(|it| it.name == kind.name && it.aggregate == kind.aggregate),
                })
            };
            let mut missed: Vec<&str> =
                coming.iter().filter(|kind| !takes(kind)).map(|kind| kind.key).collect();
            if missed.is_empty() {
                continue;
            }
            let more = missed.len().saturating_sub(LISTED);
            missed.truncate(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let group = group.name.as_str();
            findings.push(GraphFinding::new(
                Severity::Caution,
                Some(group),
                format!(
                    "group {group:?} gets a share of all that comes to the consistent-hash exchange {name:?}, and takes no \
                     {}{more}: those that come to it come to nobody else",
                    missed.join(", ")
                ),
                program.group_place(group).into_iter().chain(exchange_place(program, name)),
                "let each group of the exchange take the same events, or publish those to another exchange",
            ));
        }
    }
}

/// The exchanges to which an event may come.
fn way<'a>(program: &Program<'a>, kind: &EventKind) -> Vec<Stop<'a>> {
    program.topology.may_spread(program.exchanges.of(kind), |at, key, _| match at.kind {
        // What a publish adds to the headers is not known.
        ExchangeKind::Headers => true,
        how => how.may_deliver(key, kind.key),
    })
}

/// Why nothing comes to an exchange.
enum Idle {
    /// Nobody may publish to it, and nothing leads there.
    Internal,
    /// What would hand over to it keeps everything.
    Shadowed(String),
}

fn idle(
    program: &Program<'_>,
    published: &BTreeSet<&str>,
    group: &str,
    handler: &HandlerSpec,
    bound: &Bound,
) -> Option<Idle> {
    let exchange = program.topology.exchange(bound.exchange.as_str())?;
    let name = exchange.name.as_str();
    // What others publish is not known.
    let is_foreign = || program.handler_def(group, &handler.name).is_none_or(|def| def.foreign);
    if !exchange.internal && (published.contains(name) || is_foreign()) {
        return None;
    }
    if program.topology.exchange_bindings().any(|binding| binding.destination.as_str() == name) {
        // What comes over it is no question of one event.
        return None;
    }
    let mut sources =
        program.topology.exchanges().filter(|source| source.alternate() == Some(name)).peekable();
    match sources.peek() {
        None => exchange.internal.then_some(Idle::Internal),
        Some(first) => {
            let by = first.name.as_str().to_owned();
            sources.all(|source| keeps_everything(program, source)).then_some(Idle::Shadowed(by))
        }
    }
}

/// Whether a binding of an exchange takes whatever is published to it.
fn keeps_everything(program: &Program<'_>, exchange: &Exchange) -> bool {
    let queues = program.topology.bindings_of(&exchange.name).map(|binding| &binding.key);
    let onward = program.topology.exchange_bindings_of(&exchange.name).map(|binding| &binding.key);
    queues.chain(onward).any(|key| match exchange.kind {
        ExchangeKind::Topic => key == "#",
        ExchangeKind::Fanout | ExchangeKind::ConsistentHash => true,
        ExchangeKind::Direct | ExchangeKind::Headers => false,
    })
}
