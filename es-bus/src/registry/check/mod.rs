//! Everything that is wrong with a program as a whole, before a broker is touched.
//!
//! In come a [`Registry`] and the [`Facts`] of the process that is about to start; out come all
//! [`Finding`]s at once, in an order that depends on neither linking nor registration. What one item
//! shows by itself was refused by the macros; what the configuration says is checked there.

mod bindings;
mod events;
mod exchanges;
mod groups;
mod handlers;
mod start;
#[cfg(test)]
mod tests;

use super::{EventDef, Finding, HandlerDef, Place, Registry};
use crate::{event::EventKind, exchange::ExchangeKind, handler::TypeMap};

/// What the check has to know of the process, besides what it declares.
///
/// # Examples
///
/// ```
/// use es_bus::{TypeMap, registry::Facts};
///
/// let mut state = TypeMap::default();
/// state.insert(String::from("shared with handlers"));
///
/// let facts = Facts::new().consuming().groups(&["projections"]).state(&state);
/// # let _ = facts;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    consumes: bool,
    groups: Option<&'a [&'a str]>,
    state: Option<&'a TypeMap>,
    exchange: &'a str,
    exchange_type: Option<ExchangeKind>,
    homes: &'a [(&'a str, &'a str)],
    layered: &'a [(&'a str, Option<&'a str>)],
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            consumes: false,
            groups: None,
            state: None,
            exchange: "events",
            exchange_type: None,
            homes: &[],
            layered: &[],
        }
    }
}

impl<'a> Facts<'a> {
    /// A process that does not consume, of which nothing more is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The process is to consume: it has to have handlers.
    #[must_use]
    pub fn consuming(mut self) -> Self {
        self.consumes = true;
        self
    }

    /// The groups that it is to consume; all of them when not said.
    #[must_use]
    pub fn groups(mut self, groups: &'a [&'a str]) -> Self {
        self.groups = Some(groups);
        self
    }

    /// What is provided to handlers; not checked when not said.
    #[must_use]
    pub fn state(mut self, state: &'a TypeMap) -> Self {
        self.state = Some(state);
        self
    }

    /// The default exchange of the bus; `events` when not said.
    #[must_use]
    pub fn exchange(mut self, exchange: &'a str) -> Self {
        self.exchange = exchange;
        self
    }

    /// How the default exchange picks queues, where the configuration says so; as an `#[exchange]`
    /// of its name says, else by topics, when not said.
    #[must_use]
    pub fn exchange_type(mut self, exchange_type: ExchangeKind) -> Self {
        self.exchange_type = Some(exchange_type);
        self
    }

    /// The home exchanges of groups, by the name of the group, where the configuration has the last
    /// word; else what `#[group(exchange = ..)]` says.
    #[must_use]
    pub fn homes(mut self, homes: &'a [(&'a str, &'a str)]) -> Self {
        self.homes = homes;
        self
    }

    /// The groups, and handlers of groups, that the program puts layers around.
    #[must_use]
    pub fn layered(mut self, layered: &'a [(&'a str, Option<&'a str>)]) -> Self {
        self.layered = layered;
        self
    }

    fn selects(&self, group: &str) -> bool {
        self.groups.is_none_or(|groups| groups.contains(&group))
    }
}

/// Everything that is wrong with what a program declares; empty when it may start.
///
/// Definitions are held to each other per bus; what [`Facts`] say holds for every bus of the
/// registry, so a registry of several is narrowed first ([`Registry::on_bus`]). All groups are
/// checked, also those that the process does not consume; only the state has to be there just for
/// those that it does.
///
/// # Examples
///
/// ```
/// use es_bus::registry::{Facts, Registry, check};
///
/// // A program that only publishes needs no handlers.
/// assert!(check(&Registry::new(), &Facts::new()).is_empty());
/// assert_eq!(check(&Registry::new(), &Facts::new().consuming()).len(), 1);
/// ```
#[must_use]
pub fn check(registry: &Registry, facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    start::check(registry, facts, &mut findings);
    for bus in registry.buses() {
        let registry = &registry.on_bus(bus);
        let program = Program { registry, facts };
        exchanges::check(&program, &mut findings);
        events::check(&program, &mut findings);
        handlers::check(&program, &mut findings);
        groups::check(&program, &mut findings);
        bindings::check(&program, &mut findings);
    }
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.kind, f.places.first().map(|p| (p.location.file, p.location.line)));
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
    findings.dedup();
    findings
}

/// What one bus of the program declares, and the exchanges that it means.
struct Program<'a> {
    registry: &'a Registry,
    facts: &'a Facts<'a>,
}

impl Program<'_> {
    /// The exchange that an event is published to.
    fn exchange(&self, kind: &EventKind) -> &str {
        kind.exchange.unwrap_or(self.facts.exchange)
    }

    /// The home exchange of a group.
    fn home(&self, group: &str) -> &str {
        let configured = self.facts.homes.iter().find(|(name, _)| *name == group).map(|(_, home)| *home);
        let declared = || self.registry.group_def(group).and_then(|def| setting(def.settings, "exchange"));
        configured.or_else(declared).unwrap_or(self.facts.exchange)
    }
}

fn setting(settings: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    settings.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

fn event_place(def: &EventDef) -> Place {
    Place::new(format!("event `{}::{}`", def.location.module, def.type_name), def.location)
}

fn handler_place(def: &HandlerDef) -> Place {
    Place::new(format!("handler `{}::{}`", def.location.module, def.name), def.location)
}

/// Words for a sentence: `a`, `b` and `c`.
fn listed<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
