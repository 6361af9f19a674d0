//! Bindings of handlers that take raw events: nothing else shows that one is mistyped.

use super::{Finding, Program, handler_place};
use crate::{
    event::EventKind,
    registry::{FindingKind, HandlerDef},
    suggest::nearest_pattern,
    topic,
};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    for handler in program.registry.handlers() {
        for bind in handler.binds {
            let place = handler_place(handler);
            if let Some(fault) = topic::binding_key_fault(bind) {
                findings.push(Finding::new(
                    FindingKind::InvalidName,
                    format!("binding {bind:?} of {place} {}", fault.describe()),
                    vec![place],
                    "correct `bind`",
                ));
            } else if handler.kinds().is_none() && !handler.foreign {
                findings.extend(unmatched(program, handler, bind));
            }
        }
    }
}

fn unmatched(program: &Program<'_>, handler: &'static HandlerDef, bind: &str) -> Option<Finding> {
    let home = program.home(handler.group.name);
    let known = program.registry.kinds();
    let (at_home, elsewhere): (Vec<&EventKind>, Vec<&EventKind>) =
        known.into_iter().partition(|kind| program.exchange(kind) == home);
    if at_home.iter().any(|kind| topic::matches(bind, kind.key)) {
        return None;
    }
    let place = handler_place(handler);
    let foreign = "write `foreign` beside `bind` when other services own the events";
    let (message, help) = if at_home.is_empty() && elsewhere.is_empty() {
        (
            format!("binding `{bind}` of {place} matches no known event: this program declares none"),
            format!(
                "{foreign}; if their crate is a dependency that is never named, add `use that_crate as _;` to main.rs"
            ),
        )
    } else if let Some(other) = elsewhere.iter().find(|kind| topic::matches(bind, kind.key)) {
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
    } else if let Some(near) = nearest_pattern(bind, at_home.iter().map(|kind| kind.key)) {
        (
            format!("binding `{bind}` of {place} matches no known event; did you mean `{near}`?"),
            format!("correct `bind`; {foreign}"),
        )
    } else {
        (format!("binding `{bind}` of {place} matches no known event"), format!("correct `bind`; {foreign}"))
    };
    Some(Finding::new(FindingKind::UnmatchedBinding, message, vec![place], help))
}
