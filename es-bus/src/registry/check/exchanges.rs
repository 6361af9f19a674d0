//! Exchanges that are declared twice, that cannot be named, or that cannot take what goes to them.

use std::collections::BTreeSet;

use super::{Finding, Program, event_place};
use crate::{
    exchange::{ExchangeDef, ExchangeKind},
    name::ExchangeName,
    registry::{FindingKind, Place},
};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = program.registry.exchanges().iter().map(|def| def.name).collect();
    for name in names {
        conflict(program, name, findings);
    }
    for def in program.registry.exchanges() {
        invalid(def, findings);
    }
    default_kind(program, findings);
    internal(program, findings);
    fields_on_direct(program, findings);
}

fn place(def: &ExchangeDef) -> Place {
    Place::new(format!("exchange {:?}", def.name), def.location)
}

/// What a definition says, each word as the attribute has it.
fn said(def: &ExchangeDef) -> Vec<(&'static str, String)> {
    let mut said = vec![
        ("kind", def.kind.as_str().to_owned()),
        ("transient", (!def.durable).to_string()),
        ("auto_delete", def.auto_delete.to_string()),
        ("internal", def.internal.to_string()),
        ("alternate_exchange", def.alternate.map_or("none", |alternate| alternate.name).to_owned()),
    ];
    let mut arguments: Vec<_> =
        def.arguments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    arguments.sort();
    said.push(("arguments", if arguments.is_empty() { "none".to_owned() } else { arguments.join(", ") }));
    said
}

fn conflict(program: &Program<'_>, name: &str, findings: &mut Vec<Finding>) {
    let defs: Vec<&ExchangeDef> =
        program.registry.exchanges().iter().copied().filter(|def| def.name == name).collect();
    let all: Vec<_> = defs.iter().map(|def| said(def)).collect();
    let Some(first) = all.first() else { return };
    let differing: Vec<usize> =
        (0..first.len()).filter(|&at| all.iter().any(|said| said[at].1 != first[at].1)).collect();
    if differing.is_empty() {
        return;
    }
    let words: Vec<_> = differing.iter().map(|&at| first[at].0).collect();
    let places = defs.iter().zip(&all).map(|(def, said)| {
        let said: Vec<_> = differing.iter().map(|&at| format!("{} = {}", said[at].0, said[at].1)).collect();
        Place::new(said.join(", "), def.location)
    });
    findings.push(Finding::new(
        FindingKind::ConflictingExchange,
        format!("exchange {name:?} is declared {} times, with different {}", defs.len(), super::listed(&words)),
        places.collect(),
        "keep one `#[exchange]` and name its type everywhere (`exchange = ThatType`), or give the other a name of \
         its own",
    ));
}

fn invalid(def: &ExchangeDef, findings: &mut Vec<Finding>) {
    let names =
        [("name", Some(def.name)), ("alternate_exchange", def.alternate.map(|alternate| alternate.name))];
    for (key, name) in names {
        if let Some(Err(error)) = name.map(ExchangeName::new) {
            findings.push(Finding::new(
                FindingKind::InvalidName,
                format!("{error} ({})", def.location),
                vec![place(def)],
                format!("correct `{key}`"),
            ));
        }
    }
    if def.alternate.is_some_and(|alternate| alternate.name == def.name) {
        findings.push(Finding::new(
            FindingKind::ConflictingExchange,
            format!("exchange {:?} ({}) is its own alternate exchange", def.name, def.location),
            vec![place(def)],
            "name another exchange: what this one has no queue for, it would have none for again",
        ));
    }
}

/// The configuration's word for the default exchange against the program's.
fn default_kind(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let (name, Some(kind)) = (program.facts.exchange, program.facts.exchange_type) else { return };
    if let Some(def) = program.registry.exchange_def(name).filter(|def| def.kind != kind) {
        findings.push(Finding::new(
            FindingKind::ConflictingExchange,
            format!(
                "exchange {name:?} is a {} exchange ({}), and the setting `exchange_type` says {:?}",
                def.kind.as_str(),
                def.location,
                kind.as_str()
            ),
            vec![place(def)],
            "leave `exchange_type` (`ES_BUS_EXCHANGE_TYPE`) unset, or set `exchange` to another exchange",
        ));
    }
}

/// Nobody can publish to an internal exchange.
fn internal(program: &Program<'_>, findings: &mut Vec<Finding>) {
    for event in program.registry.events().iter().filter(|def| !def.view) {
        for kind in event.kinds {
            let Some(def) = program.registry.exchange_def(program.exchange(kind)) else { continue };
            if def.internal {
                findings.push(Finding::new(
                    FindingKind::ConflictingExchange,
                    format!(
                        "`{}` is published to the internal exchange {:?}, which refuses it",
                        kind.key, def.name
                    ),
                    vec![event_place(event), place(def)],
                    "drop `internal` from the exchange, or name another `exchange` on the event",
                ));
            }
        }
    }
}

/// Nobody can be bound to all that a key with fields may be, where whole keys are compared.
fn fields_on_direct(program: &Program<'_>, findings: &mut Vec<Finding>) {
    for event in program.registry.events() {
        for kind in event.kinds.iter().filter(|kind| kind.has_fields()) {
            let exchange = program.exchange(kind);
            if program.kind(exchange) == ExchangeKind::Direct {
                let def = program.registry.exchange_def(exchange);
                findings.push(Finding::new(
                    FindingKind::ConflictingExchange,
                    format!(
                        "`{}` has fields in its key, and {exchange:?} is a direct exchange, which compares whole keys: \
                         nobody could be bound to all of its messages",
                        kind.key
                    ),
                    [event_place(event)].into_iter().chain(def.map(place)).collect(),
                    "make it a topic exchange, or leave the fields out of `key`",
                ));
            }
        }
    }
}

impl Program<'_> {
    /// How an exchange picks queues.
    pub(super) fn kind(&self, exchange: &str) -> ExchangeKind {
        match self.registry.exchange_def(exchange) {
            Some(def) => def.kind,
            None if exchange == self.facts.exchange => {
                self.facts.exchange_type.unwrap_or(ExchangeKind::Topic)
            }
            None => ExchangeKind::Topic,
        }
    }

    /// Whether a message that is published to `from` may come to `to`: the same exchange, or an
    /// alternate one on the way.
    pub(super) fn reaches(&self, from: &str, to: &str) -> bool {
        let mut at = from;
        // Alternate exchanges may lead back to where they began.
        for _ in 0..=self.registry.exchanges().len() {
            if at == to {
                return true;
            }
            match self.registry.exchange_def(at).and_then(|def| def.alternate) {
                Some(alternate) => at = alternate.name,
                None => return false,
            }
        }
        false
    }
}
