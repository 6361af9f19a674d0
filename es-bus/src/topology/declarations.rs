//! Programs made by hand, as their attributes would declare them, for the tests of what looks at the whole.

use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeDef, ExchangeKind},
    extract::Input,
    handler::Call,
    outcome::Outcome,
    registry::{Emitted, EventDef, GroupDef, GroupRef, HandlerDef, Location, Registry, Submission},
};

pub(crate) const fn exchange(name: &'static str, kind: ExchangeKind) -> ExchangeDef {
    ExchangeDef {
        bus: "default",
        name,
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        alternate: None,
        sources: &[],
        arguments: &[],
        location: at(1),
    }
}

pub(crate) const fn at(line: u32) -> Location {
    Location { module: "shop", file: "src/shop.rs", line }
}

pub(crate) fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

pub(crate) fn group(name: &'static str, settings: &'static [(&'static str, &'static str)]) -> GroupRef {
    let def = GroupDef {
        bus: "default",
        name,
        formerly: &[],
        settings,
        exchange: None,
        layer: None,
        location: at(2),
    };
    GroupRef { name, def: Some(leak(def)) }
}

/// A handler of typed events, or of raw ones.
pub(crate) fn handler(
    group: GroupRef,
    name: &'static str,
    line: u32,
    binds: Option<Vec<Bind>>,
    kinds: Option<&'static [EventKind]>,
) -> HandlerDef {
    HandlerDef {
        bus: "default",
        group,
        name,
        formerly: &[],
        has_bind: binds.is_some(),
        binds: match (binds, kinds) {
            (Some(binds), _) => binds.leak(),
            (None, Some(kinds)) => kinds.iter().map(|kind| Bind::Key(kind.key)).collect::<Vec<_>>().leak(),
            (None, None) => &[],
        },
        foreign: true,
        inputs: leak([kinds.map_or(Input::Raw, |kinds| Input::Event { name: "Event", kinds })]),
        needs: |_| {},
        emits: Emitted::By(|_| {}),
        settings: &[],
        layer: None,
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: at(line),
    }
}

pub(crate) fn keys(keys: &[&'static str]) -> Option<Vec<Bind>> {
    Some(keys.iter().copied().map(Bind::Key).collect())
}

/// What a program declares.
pub(crate) fn declared(
    handlers: Vec<HandlerDef>,
    events: &'static [EventKind],
    exchanges: &[&'static ExchangeDef],
) -> Registry {
    let mut registry = Registry::new();
    let event = EventDef {
        bus: "default",
        type_name: "Event",
        kinds: events,
        view: false,
        is_set: false,
        schema: || None,
        decode: None,
        location: at(7),
    };
    registry.insert(&Submission::Event(leak(event)));
    for def in exchanges {
        registry.insert(&Submission::Exchange(def));
    }
    for def in handlers {
        registry.insert(&Submission::Handler(leak(def)));
    }
    registry
}
