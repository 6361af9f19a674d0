//! Exchanges that are declared twice, that cannot be named, or that cannot take what goes to them.

use std::collections::BTreeSet;

use super::{Finding, Program, event_place};
use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeDef, ExchangeKind, Misfit, SourceDef},
    name::ExchangeName,
    registry::{FindingKind, Place},
    topic,
};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = program.registry.exchanges().iter().map(|def| def.name).collect();
    for name in names {
        conflict(program, name, findings);
    }
    for def in program.registry.exchanges() {
        invalid(def, findings);
        sources(program, def, findings);
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
    let sources: Vec<_> = def.sources.iter().map(source).collect();
    said.push(("from", if sources.is_empty() { "none".to_owned() } else { sources.join(", ") }));
    let mut arguments: Vec<_> =
        def.arguments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    arguments.sort();
    said.push(("arguments", if arguments.is_empty() { "none".to_owned() } else { arguments.join(", ") }));
    said
}

/// As it is written in an attribute: `from("shop", "Order.#")`.
fn source(source: &SourceDef) -> String {
    let binds = source.binds.iter().map(|bind| match bind {
        Bind::Key(key) => format!(", {key:?}"),
        Bind::Headers(headers) => format!(", {headers}"),
    });
    format!("from({:?}{})", source.exchange.name, binds.collect::<String>())
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
    let sources = def.sources.iter().map(|source| ("from", Some(source.exchange.name)));
    for (key, name) in names.into_iter().chain(sources) {
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

/// What exchanges of another kind would look at, or an exchange that gets its own.
fn sources(program: &Program<'_>, def: &ExchangeDef, findings: &mut Vec<Finding>) {
    for from in def.sources {
        let (name, said) = (from.exchange.name, source(from));
        let kind = program.kind(name);
        let of_source = program.registry.exchange_def(name).filter(|source| source.name != def.name);
        let mut told = |message: String, help: &str| {
            let places = [place(def)].into_iter().chain(of_source.map(place)).collect();
            findings.push(Finding::new(FindingKind::UnmatchedBinding, message, places, help));
        };
        if name == def.name {
            told(
                format!("exchange {name:?} ({}) gets messages from itself: `{said}`", def.location),
                "name another exchange, or drop `from`",
            );
            continue;
        }
        if from.binds.is_empty() && kind == ExchangeKind::Direct {
            told(
                format!("`{said}` of exchange {:?} asks a direct exchange for everything", def.name),
                "list the keys: it compares whole keys",
            );
        }
        for bind in from.binds {
            if let Some(fault) = bind.key().and_then(topic::binding_key_fault) {
                told(
                    format!("binding `{bind}` of exchange {:?} to {name:?} {}", def.name, fault.describe()),
                    "correct `from`",
                );
            } else if let Some(misfit) = bind.misfit(kind) {
                let help = match misfit {
                    Misfit::Pattern => {
                        "it takes `*` and `#` literally: list the keys, or make it a topic exchange"
                    }
                    Misfit::NoKeys => "it looks at no key, everything comes: name the exchange alone",
                    Misfit::OnlyHeaders => "it looks at headers only: write `headers(format = \"pdf\")`",
                    Misfit::Shares => "it gives a share of everything: name the exchange alone",
                    Misfit::NoHeaders => "it looks at no headers: write keys, or make it a headers exchange",
                };
                told(
                    format!(
                        "binding `{bind}` of exchange {:?} is nothing that {name:?} can do, a {} exchange",
                        def.name,
                        kind.as_str()
                    ),
                    help,
                );
            }
        }
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

    /// Whether a message of an event may come to an exchange: it is published there, or it gets there over
    /// exchanges that are bound to one another, or alternate ones.
    pub(super) fn reaches(&self, kind: &EventKind, to: &str) -> bool {
        let mut way = vec![self.exchange(kind)];
        let mut gone = 0;
        while let Some(at) = way.get(gone).copied() {
            if at == to {
                return true;
            }
            gone += 1;
            let how = self.kind(at);
            let gets = |source: &&SourceDef| {
                let takes = |bind: &Bind| bind.may_take(how, kind) && bind.misfit(how).is_none();
                source.exchange.name == at && (source.binds.is_empty() || source.binds.iter().any(takes))
            };
            let onward =
                self.registry.exchanges().iter().filter(|def| def.sources.iter().any(|source| gets(&source)));
            let over = self.registry.exchange_def(at).and_then(|def| def.alternate);
            for name in onward.map(|def| def.name).chain(over.map(|alternate| alternate.name)) {
                if !way.contains(&name) {
                    way.push(name);
                }
            }
        }
        false
    }
}
