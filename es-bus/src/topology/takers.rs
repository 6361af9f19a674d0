//! Which of a group's handlers take an event, without asking each of them. Pure.
//!
//! In come the handlers and bindings of a group, once; what a lookup costs then depends on the event and on the
//! handlers that it goes to, not on how many the group has. Everything is by place in the group: nobody who
//! keeps a [`Takers`] keeps a handler.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use super::{Bound, GroupSpec};
use crate::{
    event::EventKind,
    exchange::ExchangeKind,
    message::Headers,
    model::policy::OnUnknown,
    topic::{self, Trie, is_pattern},
};

/// What a message says of itself, as far as handlers are picked by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims<'a> {
    /// The exchange that it was first published to.
    pub(crate) exchange: &'a str,
    /// The key that it was first published with.
    pub(crate) routing_key: &'a str,
    /// The type that it claims to be.
    pub(crate) event_type: Option<&'a str>,
    /// The type of aggregate that it claims to be of.
    pub(crate) aggregate_type: Option<&'a str>,
    pub(crate) headers: &'a Headers,
}

/// The handlers of a group, by what they take.
#[derive(Debug)]
pub(crate) struct Takers {
    by_name: HashMap<Arc<str>, usize>,
    by_former_name: HashMap<&'static str, usize>,
    /// Those of typed events, by the name of the event.
    by_type: HashMap<&'static str, Vec<Typed>>,
    /// The same by its key, for messages that name no type.
    by_key: HashMap<&'static str, Vec<Typed>>,
    /// The same where words of the key are fields.
    by_pattern: Vec<(&'static str, Typed)>,
    /// Those of raw events.
    raw: Vec<usize>,
    /// The same by their bindings.
    raw_on: HashMap<String, Bindings<usize>>,
    /// What is bound for typed events.
    typed_on: HashMap<String, Bindings<()>>,
    /// What was bound while the program runs.
    late: Bindings<()>,
    /// Keys of events that the group gave up.
    retired: Bindings<()>,
    on_unknown: OnUnknown,
}

/// A handler of typed events, and one of the kinds that it takes.
#[derive(Debug)]
struct Typed {
    handler: usize,
    aggregate: &'static str,
    /// The binding that brings such an event when it is published with its own key: asked first.
    likely: usize,
}

impl Takers {
    pub(super) fn of(group: &GroupSpec) -> Self {
        let mut takers = Self {
            by_name: HashMap::new(),
            by_former_name: HashMap::new(),
            by_type: HashMap::new(),
            by_key: HashMap::new(),
            by_pattern: Vec::new(),
            raw: Vec::new(),
            raw_on: HashMap::new(),
            typed_on: HashMap::new(),
            late: Bindings::default(),
            retired: Bindings::default(),
            on_unknown: group.on_unknown(),
        };
        // Hundreds of handlers may ask for the same.
        let mut seen = HashSet::new();
        for (index, handler) in group.handlers.iter().enumerate() {
            takers.by_name.entry(Arc::clone(&handler.name)).or_insert(index);
            for name in handler.formerly {
                takers.by_former_name.entry(name).or_insert(index);
            }
            for bound in &handler.bound {
                let exchange = bound.exchange.as_str();
                if handler.kinds.is_none() {
                    of_exchange(&mut takers.raw_on, exchange).add(bound, index);
                } else if bound.kind == ExchangeKind::Headers
                    || seen.insert((exchange, bound.kind, &bound.key))
                {
                    of_exchange(&mut takers.typed_on, exchange).add(bound, ());
                }
            }
            match &handler.kinds {
                None => takers.raw.push(index),
                Some(kinds) => kinds.iter().for_each(|kind| takers.add_kind(index, &handler.bound, kind)),
            }
        }
        for late in &group.bound {
            takers.late.add(&late.bound, ());
        }
        for key in &group.settings.retired {
            takers.retired.add_key(ExchangeKind::Topic, key.clone().into(), ());
        }
        takers
    }

    fn add_kind(&mut self, handler: usize, bound: &[Bound], kind: &EventKind) {
        let likely = bound.iter().position(|bound| bound.may_deliver(kind)).unwrap_or_default();
        let typed = || Typed { handler, aggregate: kind.aggregate, likely };
        self.by_type.entry(kind.name).or_default().push(typed());
        if kind.has_fields() {
            self.by_pattern.push((kind.key, typed()));
        } else {
            self.by_key.entry(kind.key).or_default().push(typed());
        }
    }

    /// The handler of a name, or the one that had it before.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_former_name.get(name)).copied()
    }

    /// The handlers of a message that no retry has made, in the order of the group.
    ///
    /// Each that one of its own bindings brings it to and that takes its type. A handler of raw events gets what its
    /// exchange brings, and what came by no binding of the group on the exchange that it was published to: by an
    /// alternate exchange, say. One of typed events is told by the type, so an event that moved to another exchange
    /// is still taken from where it was before. What `is_for_all` goes to each that takes the type.
    pub(crate) fn find(&self, group: &GroupSpec, claims: Claims<'_>, is_for_all: bool) -> Vec<usize> {
        let (key, headers) = (claims.routing_key, claims.headers);
        let mut found = Vec::new();
        let (typed, patterns) = match claims.event_type {
            Some(name) => (self.by_type.get(name), &[][..]),
            None => (self.by_key.get(key), self.by_pattern.as_slice()),
        };
        let by_fields = patterns.iter().filter(|(pattern, _)| topic::matches(pattern, key));
        for typed in typed.into_iter().flatten().chain(by_fields.map(|(_, typed)| typed)) {
            let is_of_aggregate =
                claims.event_type.is_none() || claims.aggregate_type.is_none_or(|of| of == typed.aggregate);
            let bound = &group.handlers[typed.handler].bound;
            let is_brought = || {
                bound.get(typed.likely).is_some_and(|bound| bound.delivers(key, headers))
                    || bound.iter().any(|bound| bound.delivers(key, headers))
            };
            // A handler stands there once for each of its kinds that has the name.
            if found.last() != Some(&typed.handler) && is_of_aggregate && (is_for_all || is_brought()) {
                found.push(typed.handler);
            }
        }
        let typed = found.len();
        if is_for_all {
            found.extend(&self.raw);
        } else {
            self.find_raw(claims, &mut found);
        }
        if typed < found.len() || !patterns.is_empty() {
            found.sort_unstable();
            // Two bindings of one handler may bring it.
            found.dedup();
        }
        found
    }

    fn find_raw(&self, Claims { exchange, routing_key, headers, .. }: Claims<'_>, found: &mut Vec<usize>) {
        let typed = found.len();
        if let Some(raw) = self.raw_on.get(exchange) {
            raw.each_match(routing_key, headers, |handler| found.push(*handler));
        }
        let is_only_here = || self.raw_on.keys().all(|raw| raw == exchange);
        if found.len() > typed
            || is_only_here()
            || self.typed_on.get(exchange).is_some_and(|typed| typed.delivers(routing_key, headers))
        {
            return;
        }
        for raw in self.raw_on.values() {
            raw.each_match(routing_key, headers, |handler| found.push(*handler));
        }
    }

    /// Whether an event goes to each handler of the group that takes its type, whatever the bindings of these say.
    ///
    /// So does what came by a binding that was made while the program runs, which is the group's; and what came
    /// through the default exchange: a shovel or a person put it into this queue, and its routing key is merely
    /// the name of that. No binding brought it, so none can rule it out.
    pub(crate) fn is_for_all(
        &self,
        group: &GroupSpec,
        exchange: &str,
        routing_key: &str,
        headers: &Headers,
    ) -> bool {
        self.late.delivers(routing_key, headers)
            || (exchange.is_empty() && routing_key == group.queue.as_str())
    }

    /// What happens to an event that no handler takes.
    pub(crate) fn on_unknown(&self, routing_key: &str) -> OnUnknown {
        // Given up by the group (`retired = ["Order.OrderPlaced"]`).
        if self.retired.delivers(routing_key, &Headers::new()) { OnUnknown::Skip } else { self.on_unknown }
    }
}

fn of_exchange<'a, T>(all: &'a mut HashMap<String, Bindings<T>>, exchange: &str) -> &'a mut Bindings<T> {
    all.entry(exchange.to_owned()).or_default()
}

/// Bindings, and what stands for each.
#[derive(Debug)]
struct Bindings<T> {
    /// Keys that are looked at as a whole.
    exact: HashMap<Cow<'static, str>, Vec<T>>,
    /// Keys with wildcards; none where there are none.
    patterns: Option<Trie<T>>,
    /// Of fanout exchanges, and of consistent-hash ones: what came is the share of the queue.
    all: Vec<T>,
    /// Of headers exchanges, which the broker asks one by one, too.
    headers: Vec<(Bound, T)>,
}

impl<T> Default for Bindings<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), patterns: None, all: Vec::new(), headers: Vec::new() }
    }
}

impl<T> Bindings<T> {
    fn add(&mut self, bound: &Bound, value: T) {
        match bound.kind {
            ExchangeKind::Headers => self.headers.push((bound.clone(), value)),
            kind => self.add_key(kind, bound.key.clone(), value),
        }
    }

    fn add_key(&mut self, kind: ExchangeKind, key: Cow<'static, str>, value: T) {
        match kind {
            ExchangeKind::Topic if is_pattern(&key) => {
                self.patterns.get_or_insert_with(Trie::new).insert(&key, value);
            }
            ExchangeKind::Topic | ExchangeKind::Direct => self.exact.entry(key).or_default().push(value),
            ExchangeKind::Fanout | ExchangeKind::ConsistentHash => self.all.push(value),
            ExchangeKind::Headers => {}
        }
    }

    fn each_match(&self, routing_key: &str, headers: &Headers, mut visit: impl FnMut(&T)) {
        self.all.iter().for_each(&mut visit);
        self.exact.get(routing_key).into_iter().flatten().for_each(&mut visit);
        let by_headers = self.headers.iter().filter(|(bound, _)| bound.delivers(routing_key, headers));
        by_headers.for_each(|(_, value)| visit(value));
        if let Some(patterns) = &self.patterns {
            patterns.each_match(routing_key, visit);
        }
    }
}

impl Bindings<()> {
    fn delivers(&self, routing_key: &str, headers: &Headers) -> bool {
        let mut delivers = false;
        self.each_match(routing_key, headers, |()| delivers = true);
        delivers
    }
}

/// The takers of a group, found when they are first asked for. A clone of a group is there to be changed, so it starts
/// without.
#[derive(Debug, Default)]
pub(super) struct Found(OnceLock<Takers>);

impl Found {
    pub(super) fn of(&self, group: &GroupSpec) -> &Takers {
        self.0.get_or_init(|| Takers::of(group))
    }
}

impl Clone for Found {
    fn clone(&self) -> Self {
        Self::default()
    }
}
