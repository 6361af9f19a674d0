//! The way of a message over exchanges to queues.

use super::{BindingAnswer, ExchangeAnswer, Nobody, OnwardAnswer, Program, message::Message, queue_name};
use crate::{
    event::Unroutable,
    message::Headers,
    model::{Binding, Exchange, ExchangeKind, asked, refusal},
    topology::GroupSpec,
};

/// Where a message comes to.
pub(super) struct Way<'a> {
    /// The exchanges, in order; none for the default exchange.
    pub(super) exchanges: Vec<&'a Exchange>,
    /// The groups whose queues it ends in, by name.
    pub(super) groups: Vec<&'a GroupSpec>,
    /// Whether any queue takes it.
    is_taken: bool,
}

pub(super) fn way<'a>(program: &Program<'a>, message: &Message<'_>) -> Way<'a> {
    let mut way = Way { exchanges: Vec::new(), groups: Vec::new(), is_taken: false };
    let mut queues: Vec<&str> = Vec::new();
    if message.exchange.is_empty() {
        // Its keys are the names of queues.
        queues.extend(program.topology.queue(&message.routing_key).map(|queue| queue.name.as_str()));
    } else {
        let stops = program.topology.spread(&message.exchange, |exchange, key, arguments| {
            refused(exchange.kind, (key, arguments), message).is_none()
        });
        for stop in stops {
            way.exchanges.push(stop.exchange);
            if stop.exchange.internal && way.exchanges.len() == 1 {
                break;
            }
            queues.extend(stop.bindings.iter().map(|binding| binding.queue.as_str()));
        }
    }
    way.is_taken = !queues.is_empty();
    way.groups = queues.into_iter().filter_map(|queue| program.group_of(queue)).collect();
    way.groups.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    // Several bindings bring it once.
    way.groups.dedup_by(|a, b| a.name == b.name);
    way
}

fn refused(kind: ExchangeKind, asked: (&str, &Headers), message: &Message<'_>) -> Option<String> {
    refusal(kind, asked, (&message.routing_key, &message.headers))
}

impl Way<'_> {
    /// Whether it comes to the queue of a group.
    pub(super) fn reaches(&self, group: &GroupSpec) -> bool {
        self.groups.iter().any(|there| there.name == group.name)
    }

    /// What each exchange does with it.
    pub(super) fn told(&self, program: &Program<'_>, message: &Message<'_>) -> Vec<ExchangeAnswer> {
        let answer = |exchange: &&Exchange| {
            let bindings = program.topology.bindings_of(&exchange.name);
            let mut bindings: Vec<_> =
                bindings.map(|binding| told(program, exchange, binding, message)).collect();
            bindings.sort_by_key(|binding| !binding.delivers);
            let onward = program.topology.exchange_bindings_of(&exchange.name);
            let mut onward: Vec<_> = onward
                .map(|binding| {
                    let because = refused(exchange.kind, (&binding.key, &binding.arguments), message);
                    OnwardAnswer {
                        asks: asked(exchange.kind, &binding.key, &binding.arguments),
                        exchange: binding.destination.as_str().to_owned(),
                        delivers: because.is_none(),
                        because,
                    }
                })
                .collect();
            onward.sort_by_key(|onward| !onward.delivers);
            ExchangeAnswer {
                exchange: exchange.name.as_str().to_owned(),
                kind: exchange.kind.as_str(),
                hashes: (exchange.kind == ExchangeKind::ConsistentHash).then(|| exchange.hashed()),
                internal: exchange.internal,
                bindings,
                onward,
                alternate: exchange.alternate().map(str::to_owned),
            }
        };
        self.exchanges.iter().map(answer).collect()
    }
}

fn told(
    program: &Program<'_>,
    exchange: &Exchange,
    binding: &Binding,
    message: &Message<'_>,
) -> BindingAnswer {
    let because = refused(exchange.kind, (&binding.key, &binding.arguments), message);
    let group = program.group_of(binding.queue.as_str());
    let handlers = group.into_iter().flat_map(|group| &group.handlers);
    let asked_for = handlers.filter(|handler| {
        handler.bound.iter().any(|bound| group.is_some_and(|group| group.binding(bound) == *binding))
    });
    BindingAnswer {
        asks: asked(exchange.kind, &binding.key, &binding.arguments),
        queue: group.map_or_else(|| binding.queue.as_str().to_owned(), queue_name),
        whose: whose(program, binding.queue.as_str()),
        handlers: asked_for.map(|handler| handler.name.as_ref().to_owned()).collect(),
        delivers: because.is_none(),
        because,
    }
}

/// What a queue is to the program.
fn whose(program: &Program<'_>, queue: &str) -> String {
    if let Some(group) = program.group_of(queue) {
        let name = group.name.as_str();
        let is_stream = group.stream.as_ref().is_some_and(|names| names.stream.as_str() == queue);
        return if is_stream { format!("the stream of group {name:?}") } else { format!("group {name:?}") };
    }
    for group in program.groups {
        let name = group.name.as_str();
        if group.keeps_dead_letters() && group.dlq.as_str() == queue {
            return format!("the dead-letter queue of group {name:?}");
        }
        let is_retry = |delay| group.retry_queue(delay).is_ok_and(|retry| retry.as_str() == queue);
        if group.delays().into_iter().any(is_retry) {
            return format!("a retry queue of group {name:?}");
        }
        if group.suspects().is_some_and(|name| name.is_ok_and(|name| name.as_str() == queue)) {
            return format!("the queue of suspects of group {name:?}");
        }
    }
    "a queue".to_owned()
}

/// What it means that no queue takes it; `None` where one does.
pub(super) fn nobody(program: &Program<'_>, message: &Message<'_>, way: &Way<'_>) -> Option<Nobody> {
    if program.topology.exchange(&message.exchange).is_some_and(|exchange| exchange.internal) {
        return Some(Nobody::Refused);
    }
    (!way.is_taken).then(|| match message.unroutable() {
        // No binding that the program knows of takes it, so that nobody doing so is no surprise.
        Some(Unroutable::Known) => Nobody::Counted,
        Some(Unroutable::Optional) => Nobody::Silent,
        Some(Unroutable::Mandatory) => Nobody::Mandatory,
        None => Nobody::Raw,
    })
}
