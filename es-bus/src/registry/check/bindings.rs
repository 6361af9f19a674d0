//! Bindings against the exchanges that they stand on: what one handler shows by itself was refused
//! by its macro; here the kinds of all exchanges are known, and the events of all crates.

use super::{Finding, Program, handler_place};
use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeKind, Misfit},
    registry::{FindingKind, HandlerDef, Place},
    suggest::nearest_pattern,
    topic,
};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    for handler in program.registry.handlers() {
        match handler.kinds() {
            Some(kinds) => typed(program, handler, kinds, findings),
            None => raw(program, handler, findings),
        }
    }
}

fn typed(
    program: &Program<'_>,
    handler: &'static HandlerDef,
    kinds: &[EventKind],
    findings: &mut Vec<Finding>,
) {
    let home = program.home(handler.group.name);
    if program.kind(home) == ExchangeKind::ConsistentHash {
        match handler.binds.first().filter(|_| handler.has_bind) {
            Some(bind) => findings.push(told(program, handler, bind, home, Misfit::Shares)),
            None => findings.extend(kinds.iter().filter_map(|kind| astray(program, handler, kind, home))),
        }
        return;
    }
    if !handler.has_bind {
        findings.extend(kinds.iter().filter_map(|kind| without_headers(program, handler, kind)));
        return;
    }
    for bind in handler.binds {
        if let Some(illegal) = illegal(handler, bind) {
            findings.push(illegal);
            continue;
        }
        let on = |kind: &&EventKind| program.kind(program.exchange(kind));
        if kinds.iter().any(|kind| bind.may_take(on(&kind), kind) && bind.misfit(on(&kind)).is_none()) {
            continue;
        }
        let misfit = kinds.iter().find_map(|kind| {
            let exchange = program.exchange(kind);
            bind.misfit(program.kind(exchange)).map(|misfit| (exchange, misfit))
        });
        findings.extend(misfit.map(|(exchange, misfit)| told(program, handler, bind, exchange, misfit)));
    }
    findings.extend(kinds.iter().filter_map(|kind| missed(program, handler, kind)));
}

/// An event that the bindings would deliver on a topic exchange, for which its exchange was taken
/// when the handler was compiled, and that its exchange does not deliver by them.
fn missed(program: &Program<'_>, handler: &'static HandlerDef, kind: &EventKind) -> Option<Finding> {
    let exchange = program.exchange(kind);
    let how = program.kind(exchange);
    let delivered = |how| handler.binds.iter().any(|bind: &Bind| bind.may_take(how, kind));
    if kind.exchange_def.is_some() || delivered(how) || !delivered(ExchangeKind::Topic) {
        return None;
    }
    // Told already, where none of the events is delivered by the binding.
    let all_told = |bind: &Bind| {
        handler.kinds().unwrap_or_default().iter().all(|other| {
            let how = program.kind(program.exchange(other));
            bind.misfit(how).is_some() || !bind.may_take(how, other)
        })
    };
    if handler.binds.iter().filter(|bind| bind.may_take(ExchangeKind::Topic, kind)).all(all_told) {
        return None;
    }
    let place = handler_place(handler);
    Some(Finding::new(
        FindingKind::UnmatchedBinding,
        format!("no binding of {place} delivers `{}`: {exchange:?} is a {} exchange", kind.key, how.as_str()),
        vec![place],
        match how {
            ExchangeKind::Headers => {
                "add the headers that are meant to `bind(..)`: `headers(format = \"pdf\")`"
            }
            ExchangeKind::ConsistentHash => "leave `bind` out: it gives each group a share of everything",
            ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout => {
                "add the exact key to `bind`, or leave `bind` out"
            }
        },
    ))
}

/// An event that does not come to the consistent-hash exchange of which the group has a share.
fn astray(
    program: &Program<'_>,
    handler: &'static HandlerDef,
    kind: &EventKind,
    home: &str,
) -> Option<Finding> {
    if handler.foreign || program.reaches(kind, home) {
        return None;
    }
    let place = handler_place(handler);
    let exchange = program.exchange(kind);
    Some(Finding::new(
        FindingKind::UnmatchedBinding,
        format!(
            "{place} takes `{}`, which is published to {exchange:?} and does not come to {home:?}, the consistent-hash \
             exchange of which group {:?} has a share",
            kind.key, handler.group.name
        ),
        vec![place],
        format!(
            "publish it there, `#[event(exchange = ..)]`, let that one get it, `#[exchange(from({exchange:?}))]`, or put \
             the handler into another group"
        ),
    ))
}

fn without_headers(program: &Program<'_>, handler: &'static HandlerDef, kind: &EventKind) -> Option<Finding> {
    let exchange = program.exchange(kind);
    if program.kind(exchange) != ExchangeKind::Headers || kind.selects_itself() {
        return None;
    }
    let place = handler_place(handler);
    Some(Finding::new(
        FindingKind::UnmatchedBinding,
        format!(
            "{place} takes `{}` from the headers exchange {exchange:?}, and the event has no headers of its own \
             to be told by",
            kind.key
        ),
        vec![place],
        format!(
            "give the event headers, `#[event(headers(format = \"pdf\"))]`, or the handler \
             `bind(headers(event_type = \"{}\"))`",
            kind.name
        ),
    ))
}

fn raw(program: &Program<'_>, handler: &'static HandlerDef, findings: &mut Vec<Finding>) {
    let home = program.home(handler.group.name);
    let how = program.kind(home);
    if !handler.has_bind && handler.binds.is_empty() {
        if !matches!(how, ExchangeKind::Fanout | ExchangeKind::ConsistentHash) {
            let place = handler_place(handler);
            findings.push(Finding::new(
                FindingKind::UnmatchedBinding,
                format!(
                    "{place} takes raw events and has no `bind`; {home:?}, the home of group {:?}, is a {} \
                     exchange, which asks for one",
                    handler.group.name,
                    how.as_str()
                ),
                vec![place],
                match how {
                    ExchangeKind::Headers => {
                        "write `bind(headers(format = \"pdf\"))`, with the headers that are meant"
                    }
                    ExchangeKind::Topic
                    | ExchangeKind::Direct
                    | ExchangeKind::Fanout
                    | ExchangeKind::ConsistentHash => {
                        "write `bind = \"Order.Placed\"`, with the key that is meant"
                    }
                },
            ));
        } else if !handler.foreign {
            findings.extend(unmatched(program, handler, &Bind::Key("#")));
        }
        return;
    }
    for bind in handler.binds {
        if let Some(illegal) = illegal(handler, bind) {
            findings.push(illegal);
        } else if let Some(misfit) = bind.misfit(how) {
            findings.push(told(program, handler, bind, home, misfit));
        } else if !handler.foreign {
            findings.extend(unmatched(program, handler, bind));
        }
    }
}

fn illegal(handler: &'static HandlerDef, bind: &Bind) -> Option<Finding> {
    let fault = bind.key().and_then(topic::binding_key_fault)?;
    let place = handler_place(handler);
    let bind = bind.key().unwrap_or_default();
    Some(Finding::new(
        FindingKind::InvalidName,
        format!("binding {bind:?} of {place} {}", fault.describe()),
        vec![place],
        "correct `bind`",
    ))
}

/// A binding that asks an exchange for what exchanges of its kind do not look at.
fn told(
    program: &Program<'_>,
    handler: &'static HandlerDef,
    bind: &Bind,
    exchange: &str,
    misfit: Misfit,
) -> Finding {
    let place = handler_place(handler);
    let kind = program.kind(exchange).as_str();
    let (message, help) = match misfit {
        Misfit::Pattern => (
            format!(
                "binding `{bind}` of {place} delivers nothing: {exchange:?} is a direct exchange, which takes \
                 `*` and `#` literally"
            ),
            "list the keys in `bind`, leave `bind` out to be bound to exactly the events that the handler takes, \
             or make it a topic exchange"
                .to_owned(),
        ),
        Misfit::NoKeys => (
            format!(
                "binding `{bind}` of {place} asks for a key, and the fanout exchange {exchange:?} looks at none: \
                 everything comes"
            ),
            "leave `bind` out, or write `bind = \"#\"` for everything".to_owned(),
        ),
        Misfit::OnlyHeaders => (
            format!(
                "binding `{bind}` of {place} asks for a key, and the headers exchange {exchange:?} looks at headers \
                 only"
            ),
            "write `bind(headers(format = \"pdf\"))`, with the headers that are meant".to_owned(),
        ),
        Misfit::Shares => (
            format!(
                "binding `{bind}` of {place} asks for some of it, and the consistent-hash exchange {exchange:?} gives to \
                 each group a share of everything"
            ),
            "leave `bind` out; how large the share is says `weight` of the group".to_owned(),
        ),
        Misfit::NoHeaders => (
            format!(
                "binding `{bind}` of {place} asks for headers, and {exchange:?} is a {kind} exchange, which looks \
                 at none"
            ),
            format!(
                "write `bind = \"Order.Placed\"`, with the key that is meant, or make {exchange:?} a headers exchange: \
                 `#[exchange(kind = \"headers\")]`, for the default exchange `exchange_type`"
            ),
        ),
    };
    let mut places = vec![place];
    if let Some(def) = program.registry.exchange_def(exchange) {
        places.push(Place::new(format!("exchange {exchange:?}, {kind}"), def.location));
    }
    Finding::new(FindingKind::UnmatchedBinding, message, places, help)
}

fn unmatched(program: &Program<'_>, handler: &'static HandlerDef, bind: &Bind) -> Option<Finding> {
    let home = program.home(handler.group.name);
    let how = program.kind(home);
    let matches = |kind: &&EventKind| bind.may_take(how, kind);
    let known = program.registry.kinds();
    let (at_home, elsewhere): (Vec<&EventKind>, Vec<&EventKind>) =
        known.into_iter().partition(|kind| program.reaches(kind, home));
    if at_home.iter().any(matches) {
        return None;
    }
    let place = handler_place(handler);
    let foreign = "write `foreign` beside `bind` when other services own the events";
    let nearest = || nearest_pattern(bind.key()?, at_home.iter().map(|kind| kind.key));
    let (message, help) = if at_home.is_empty() && elsewhere.is_empty() {
        (
            format!("binding `{bind}` of {place} matches no known event: this program declares none"),
            format!(
                "{foreign}; if their crate is a dependency that is never named, add `use that_crate as _;` to main.rs"
            ),
        )
    } else if let Some(other) = elsewhere.iter().find(|kind| matches(kind)) {
        let exchange = program.exchange(other);
        (
            format!(
                "binding `{bind}` of {place} matches no known event on exchange {home:?}, the home of group \
                 {:?}; `{}` is published to {exchange:?}",
                handler.group.name, other.key
            ),
            format!(
                "name the event's type instead of `RawEvent`, or set `exchange = {exchange:?}` on the group; {foreign}"
            ),
        )
    } else if let Some(near) = nearest() {
        (
            format!("binding `{bind}` of {place} matches no known event; did you mean `{near}`?"),
            format!("correct `bind`; {foreign}"),
        )
    } else {
        (format!("binding `{bind}` of {place} matches no known event"), format!("correct `bind`; {foreign}"))
    };
    Some(Finding::new(FindingKind::UnmatchedBinding, message, vec![place], help))
}
