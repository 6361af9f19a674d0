//! The definitions of one program, sorted.

use std::collections::BTreeSet;

use super::{
    DeclaredEvent, EventDef, Exchange, ExchangeDef, Group, GroupDef, Handler, HandlerDef, Submission,
    collect::submissions,
};
use crate::{event::EventKind, exchange::Bind};

/// The exchanges, events, groups and handlers of a program.
///
/// [`Registry::collected`] holds whatever is annotated in the crates that are linked;
/// [`Registry::new`] holds what is put into it. Both are sorted and hold a definition once, so that
/// what is made of them does not depend on the order of linking or of registration.
///
/// A handler brings its group along when it names a type marked `#[group]`, and makes the events
/// that it takes known. Events and groups bring their exchange along where they name it by its type.
///
/// # Examples
///
/// ```
/// use es_bus::Registry;
///
/// let registry = Registry::collected();
/// for handler in registry.handlers() {
///     for bind in handler.binds {
///         println!("{} {} <- {bind}", handler.group.name, handler.name);
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    exchanges: Vec<&'static ExchangeDef>,
    events: Vec<&'static EventDef>,
    groups: Vec<&'static GroupDef>,
    handlers: Vec<&'static HandlerDef>,
    pub(super) collected: bool,
}

impl Registry {
    /// A registry of nothing, to be filled by hand.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whatever is annotated in the crates that are linked into this program.
    ///
    /// A crate that no code names is not linked: write `use that_crate as _;` in `main.rs`.
    #[must_use]
    pub fn collected() -> Self {
        let mut registry = Self { collected: true, ..Self::default() };
        for submission in submissions() {
            registry.insert(submission);
        }
        registry
    }

    /// With an exchange: a type that is marked `#[exchange]`. It is declared, whoever names it.
    #[must_use]
    pub fn exchange<X: Exchange>(mut self) -> Self {
        self.insert_exchange(X::DEF);
        self
    }

    /// With an event, or an event set.
    #[must_use]
    pub fn event<E: DeclaredEvent>(mut self) -> Self {
        self.insert_event(E::DEF);
        self
    }

    /// With a group and its settings; its handlers are put in one by one.
    #[must_use]
    pub fn group<G: Group>(mut self) -> Self {
        self.insert_group(G::DEF);
        self
    }

    /// With a handler: the name of the function that is marked `#[handler]`.
    #[must_use]
    pub fn handler<H: Handler>(mut self) -> Self {
        self.insert_handler(H::DEF);
        self
    }

    /// Without a handler.
    ///
    /// Its group and the events that it takes stay known where something else declares them.
    #[must_use]
    pub fn without<H: Handler>(mut self) -> Self {
        self.handlers.retain(|def| identity_of_handler(def) != identity_of_handler(H::DEF));
        self
    }

    /// With everything that another registry holds.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        self.collected |= other.collected;
        other.exchanges.iter().for_each(|def| self.insert_exchange(def));
        other.events.iter().for_each(|def| self.insert_event(def));
        other.groups.iter().for_each(|def| self.insert_group(def));
        other.handlers.iter().for_each(|def| self.insert_handler(def));
        self
    }

    /// What belongs to the bus of this name; `"default"` where nothing else is said.
    #[must_use]
    pub fn on_bus(&self, bus: &str) -> Self {
        let mut registry = Self {
            exchanges: self.exchanges.iter().copied().filter(|def| def.bus == bus).collect(),
            events: self.events.iter().copied().filter(|def| def.bus == bus).collect(),
            groups: self.groups.iter().copied().filter(|def| def.bus == bus).collect(),
            handlers: self.handlers.iter().copied().filter(|def| def.bus == bus).collect(),
            collected: self.collected,
        };
        // Whoever names an exchange by its type has it on the own bus.
        for def in registry.named_exchanges() {
            registry.insert_exchange(def);
        }
        registry
    }

    /// Only the handlers of the named groups, and the settings of these groups; all events.
    ///
    /// A name that no group has selects nothing: [`check`](super::check()) of the whole registry
    /// tells.
    #[must_use]
    pub fn select<S: AsRef<str>>(&self, groups: &[S]) -> Self {
        let selected = |name: &str| groups.iter().any(|group| group.as_ref() == name);
        Self {
            exchanges: self.exchanges.clone(),
            events: self.events.clone(),
            groups: self.groups.iter().copied().filter(|def| selected(def.name)).collect(),
            handlers: self.handlers.iter().copied().filter(|def| selected(def.group.name)).collect(),
            collected: self.collected,
        }
    }

    /// The exchanges that are declared by types, by name, then by place.
    #[must_use]
    pub fn exchanges(&self) -> &[&'static ExchangeDef] {
        &self.exchanges
    }

    /// The definition of an exchange; `None` for one that is only named by a text.
    #[must_use]
    pub fn exchange_def(&self, name: &str) -> Option<&'static ExchangeDef> {
        self.exchanges.iter().copied().find(|def| def.name == name)
    }

    /// The events, by module and name.
    #[must_use]
    pub fn events(&self) -> &[&'static EventDef] {
        &self.events
    }

    /// The settings of groups, by the name of the group, then by place.
    #[must_use]
    pub fn groups(&self) -> &[&'static GroupDef] {
        &self.groups
    }

    /// The handlers, by group, module and name.
    #[must_use]
    pub fn handlers(&self) -> &[&'static HandlerDef] {
        &self.handlers
    }

    /// The handlers of a group, by module and name.
    pub fn handlers_of(&self, group: &str) -> impl Iterator<Item = &'static HandlerDef> {
        self.handlers.iter().copied().filter(move |def| def.group.name == group)
    }

    /// The settings of a group; `None` for a group that is only named by its handlers.
    #[must_use]
    pub fn group_def(&self, group: &str) -> Option<&'static GroupDef> {
        self.groups.iter().copied().find(|def| def.name == group)
    }

    /// The names of all groups, those without settings or without handlers included, sorted.
    #[must_use]
    pub fn group_names(&self) -> Vec<&'static str> {
        let names: BTreeSet<_> = (self.groups.iter().map(|def| def.name))
            .chain(self.handlers.iter().map(|def| def.group.name))
            .collect();
        names.into_iter().collect()
    }

    /// Every event that this program knows, once: those declared, and those that a handler takes or
    /// emits; by exchange, routing key and name.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static EventKind> {
        let mut kinds: Vec<&'static EventKind> = (self.events.iter().flat_map(|def| def.kinds))
            .chain(self.handlers.iter().filter_map(|def| def.kinds()).flatten())
            .chain(self.handlers.iter().flat_map(|def| def.emitted()))
            .collect();
        kinds.sort_by_key(|kind| (kind.exchange, kind.key, kind.name, kind.aggregate, kind.version));
        kinds.dedup();
        kinds
    }

    /// The names of the buses that something belongs to, sorted.
    #[must_use]
    pub fn buses(&self) -> Vec<&'static str> {
        let names: BTreeSet<_> = (self.events.iter().map(|def| def.bus))
            .chain(self.exchanges.iter().map(|def| def.bus))
            .chain(self.groups.iter().map(|def| def.bus))
            .chain(self.handlers.iter().map(|def| def.bus))
            .collect();
        names.into_iter().collect()
    }

    /// Whether nothing is declared at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
            && self.events.is_empty()
            && self.groups.is_empty()
            && self.handlers.is_empty()
    }

    /// Whether it holds what was linked.
    #[must_use]
    pub fn is_collected(&self) -> bool {
        self.collected
    }

    pub(crate) fn insert(&mut self, submission: &Submission) {
        match submission {
            Submission::Exchange(def) => self.insert_exchange(def),
            Submission::Event(def) => self.insert_event(def),
            Submission::Group(def) => self.insert_group(def),
            Submission::Handler(def) => self.insert_handler(def),
            // Asked by the verdict of an error, wherever it comes from: `failures()`.
            Submission::Failure(_) => {}
        }
    }

    /// An exchange, those that it hands its unroutable messages to, and those that it gets messages from.
    fn insert_exchange(&mut self, def: &'static ExchangeDef) {
        // Named by their types they cannot lead round: a definition holds those that it names.
        let mut left = vec![def];
        while let Some(def) = left.pop() {
            insert(&mut self.exchanges, def, |def| (def.name, def.location, def.bus));
            left.extend(def.alternate.and_then(|alternate| alternate.def));
            left.extend(def.sources.iter().filter_map(|source| source.exchange.def));
        }
    }

    fn insert_exchanges_of(&mut self, kinds: &'static [EventKind]) {
        for def in kinds.iter().filter_map(|kind| kind.exchange_def) {
            self.insert_exchange(def);
        }
    }

    /// The exchanges that events, groups and handlers name by their types.
    fn named_exchanges(&self) -> Vec<&'static ExchangeDef> {
        let of_kinds = self.kinds().into_iter().filter_map(|kind| kind.exchange_def);
        of_kinds.chain(self.groups.iter().filter_map(|def| def.exchange)).collect()
    }

    fn insert_event(&mut self, def: &'static EventDef) {
        insert(&mut self.events, def, |def| {
            (def.location.module, def.type_name, def.location.file, def.location.line, def.bus)
        });
        self.insert_exchanges_of(def.kinds);
    }

    fn insert_group(&mut self, def: &'static GroupDef) {
        insert(&mut self.groups, def, |def| (def.name, def.location, def.bus));
        if let Some(exchange) = def.exchange {
            self.insert_exchange(exchange);
        }
    }

    fn insert_handler(&mut self, def: &'static HandlerDef) {
        insert(&mut self.handlers, def, identity_of_handler);
        self.insert_exchanges_of(def.kinds().unwrap_or_default());
        if let Some(group) = def.group.def {
            self.insert_group(group);
        }
    }
}

/// Puts a definition in its place, unless it is there.
///
/// A definition is known by what it says, not by its address: a constant may have several.
fn insert<T, K: Ord>(all: &mut Vec<&'static T>, def: &'static T, key: impl Fn(&'static T) -> K) {
    if let Err(at) = all.binary_search_by_key(&key(def), |there| key(there)) {
        all.insert(at, def);
    }
}

type HandlerIdentity =
    (&'static str, &'static str, &'static str, &'static str, u32, &'static str, &'static [Bind]);

fn identity_of_handler(def: &'static HandlerDef) -> HandlerIdentity {
    let at = def.location;
    (def.group.name, at.module, def.name, at.file, at.line, def.bus, def.binds)
}
