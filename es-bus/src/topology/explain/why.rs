//! Why a handler does not get a message.

use super::{ExplainError, OtherHandler, Program, WhyAnswer, message::Message, place, way::Way};
use crate::{
    event::EventKind,
    exchange::ExchangeKind,
    suggest::{nearest, nearest_pattern},
    topology::{Bound, GroupSpec, HandlerSpec},
};

/// Whether a handler is meant.
type Fits<'a> = &'a dyn Fn(&GroupSpec, &HandlerSpec) -> bool;

/// The handlers that a name means: `reserve`, `stock/reserve`, or `stock` for all of a group.
pub(super) fn handlers<'a>(
    program: &Program<'a>,
    name: &str,
) -> Result<Vec<(&'a GroupSpec, usize)>, ExplainError> {
    let all: Vec<(&GroupSpec, usize)> = program
        .groups
        .iter()
        .copied()
        .flat_map(|group| (0..group.handlers.len()).map(move |index| (group, index)))
        .collect();
    let matching = |fits: Fits<'_>| -> Vec<(&'a GroupSpec, usize)> {
        all.iter().copied().filter(|(group, index)| fits(group, &group.handlers[*index])).collect()
    };
    let path = |group: &GroupSpec, handler: &HandlerSpec| format!("{}/{}", group.name, handler.name);
    let ways: [Fits<'_>; 3] = [
        &|group, handler| path(group, handler) == name,
        &|group, _| group.name.as_str() == name,
        &|_, handler| *handler.name == *name || handler.formerly.contains(&name),
    ];
    if let Some(found) = ways.into_iter().map(matching).find(|found| !found.is_empty()) {
        return Ok(found);
    }
    let mut known: Vec<String> =
        all.iter().map(|(group, index)| path(group, &group.handlers[*index])).collect();
    known.sort();
    let names = (known.iter().map(String::as_str))
        .chain(all.iter().map(|(group, index)| &*group.handlers[*index].name))
        .chain(program.groups.iter().map(|group| group.name.as_str()));
    Err(ExplainError::UnknownHandler {
        name: name.to_owned(),
        nearest: nearest(name, names).map(str::to_owned),
        known,
    })
}

pub(super) fn answer(
    program: &Program<'_>,
    group: &GroupSpec,
    index: usize,
    message: &Message<'_>,
    way: &Way<'_>,
) -> WhyAnswer {
    let handler = &group.handlers[index];
    let runs = way.reaches(group) && who(group, message).contains(&index);
    let because = if runs { Vec::new() } else { because(handler, group, message, way) };
    WhyAnswer {
        group: group.name.as_str().to_owned(),
        handler: handler.name.as_ref().to_owned(),
        declared: place(program, group.name.as_str(), &handler.name),
        runs,
        because,
        hint: (!runs).then(|| hint(handler, message)).flatten(),
    }
}

/// The handlers of a group that run, once it has the message: the worker's own question.
pub(super) fn who(group: &GroupSpec, message: &Message<'_>) -> Vec<usize> {
    let (takers, claims) = (group.takers(), message.claims());
    takers.find(group, claims, takers.is_for_all(group, claims.exchange, claims.routing_key, claims.headers))
}

pub(super) fn other(
    program: &Program<'_>,
    group: &GroupSpec,
    handler: &HandlerSpec,
    message: &Message<'_>,
    way: &Way<'_>,
) -> OtherHandler {
    OtherHandler {
        handler: handler.name.as_ref().to_owned(),
        declared: place(program, group.name.as_str(), &handler.name),
        because: because(handler, group, message, way),
    }
}

/// Why a handler does not run. The rule is the worker's; this says which part of it is not met.
fn because(handler: &HandlerSpec, group: &GroupSpec, message: &Message<'_>, way: &Way<'_>) -> Vec<String> {
    let reasons: Vec<String> = type_refused(handler, message).into_iter().collect();
    if !reasons.is_empty() {
        return reasons;
    }
    if handler.bound.is_empty() {
        return vec!["it has no binding".to_owned()];
    }
    let reached = way.reaches(group);
    handler.bound.iter().map(|bound| bound_refused(bound, handler, message, way, reached)).collect()
}

/// What a handler takes instead; `None` where it takes what the message is.
fn type_refused(handler: &HandlerSpec, message: &Message<'_>) -> Option<String> {
    let (kinds, claims) = (handler.kinds.as_deref()?, message.claims());
    let takes =
        |kind: &EventKind| kind.is_claimed(claims.event_type, claims.aggregate_type, claims.routing_key);
    if kinds.iter().any(takes) {
        return None;
    }
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    names.dedup();
    let aggregate = kinds.iter().find(|kind| claims.event_type == Some(kind.name)).map(|kind| kind.aggregate);
    Some(match (claims.event_type, aggregate) {
        (Some(name), Some(aggregate)) => format!("it takes the {name} of {aggregate}"),
        (Some(_), None) => format!("it takes {}", names.join(", ")),
        (None, _) => {
            format!("it takes {}, told by the type, or by the key where there is none", names.join(", "))
        }
    })
}

/// Why a binding does not bring the message to the handler.
fn bound_refused(
    bound: &Bound,
    handler: &HandlerSpec,
    message: &Message<'_>,
    way: &Way<'_>,
    reached: bool,
) -> String {
    let asks = match bound.kind {
        ExchangeKind::Fanout | ExchangeKind::ConsistentHash => {
            format!("its binding on exchange {:?}", bound.exchange.as_str())
        }
        _ => format!("its binding `{}` on exchange {:?}", bound.in_words(), bound.exchange.as_str()),
    };
    if let Some(refusal) = bound.refusal(&message.routing_key, &message.headers) {
        return format!("{asks} does not match: {refusal}");
    }
    let exchange = if message.exchange.is_empty() {
        "the default exchange".to_owned()
    } else {
        format!("exchange {:?}", message.exchange)
    };
    if bound.exchange.as_str() == message.exchange {
        return format!("{asks} matches, and the broker refuses what is published there: it is internal");
    }
    let comes_after = way.exchanges.iter().any(|there| there.alternate() == Some(bound.exchange.as_str()));
    if comes_after {
        return format!("{asks} gets what {exchange} has no queue for, and that has one");
    }
    if reached && handler.kinds.is_none() {
        return format!("{asks} did not bring it: it comes from {exchange}, by a binding of another handler");
    }
    format!("{asks} does not bring it: it is published to {exchange}")
}

/// A binding that would bring it, where one is near to what is there.
fn hint(handler: &HandlerSpec, message: &Message<'_>) -> Option<String> {
    if type_refused(handler, message).is_some() {
        return None;
    }
    let refused = handler.bound.iter().filter(|bound| {
        bound.kind == ExchangeKind::Topic && bound.refusal(&message.routing_key, &message.headers).is_some()
    });
    let mut near = refused.filter_map(|bound| nearest_pattern(&bound.key, [message.routing_key.as_str()]));
    near.next().map(|near| format!("`bind = {near:?}` would bring it"))
}
