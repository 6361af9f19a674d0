//! What a group does with a message that comes to its queue.

use super::{
    GroupAnswer, HandlerAnswer, Program, failure,
    message::Message,
    place, queue_name,
    way::Way,
    why::{other, who},
};
use crate::{
    duration,
    event::EventKind,
    model::{
        Overflow, Policy,
        policy::{LimitsIn, Ordering},
    },
    topic,
    topology::GroupSpec,
};

pub(super) fn answer(
    program: &Program<'_>,
    group: &GroupSpec,
    message: &Message<'_>,
    way: &Way<'_>,
) -> GroupAnswer {
    let (run, name) = (who(group, message), group.name.as_str());
    let handler = |index: &usize| {
        let handler = &group.handlers[*index];
        HandlerAnswer {
            handler: handler.name.as_ref().to_owned(),
            declared: place(program, name, &handler.name),
            timeout: duration::print(handler.timeout),
            retry: failure::retry(group, handler),
            end: failure::end(group),
        }
    };
    let others = (0..group.handlers.len()).filter(|index| !run.contains(index));
    GroupAnswer {
        group: name.to_owned(),
        queue: queue_name(group),
        is_consumed: (program.is_consumed)(name),
        handlers: run.iter().map(handler).collect(),
        others: others.map(|index| other(program, group, &group.handlers[index], message, way)).collect(),
        unknown: run.is_empty().then(|| failure::unknown(group, &message.routing_key)),
        dead_letters: failure::dead_letters(group),
        notes: notes(group, message),
    }
}

/// What else may become of it, a sentence each.
fn notes(group: &GroupSpec, message: &Message<'_>) -> Vec<String> {
    let settings = &group.settings;
    let mut notes = Vec::new();
    let end = if group.keeps_dead_letters() {
        format!("the broker dead-letters it to {}", group.dlq)
    } else {
        "the broker drops it".to_owned()
    };
    let ttl = settings.message_ttl.into_iter().chain(message.kind.and_then(EventKind::ttl)).min();
    if let Some(ttl) = ttl {
        notes.push(format!("after {} in the queue without a worker, {end}", duration::print(ttl)));
    }
    if settings.max_length.is_some() || settings.max_length_bytes.is_some() {
        notes.push(match settings.overflow {
            Overflow::DropHead => format!("once it is the oldest in a full queue, {end}"),
            Overflow::RejectPublish | Overflow::RejectPublishDlx => {
                "while the queue is full, the publish is refused".to_owned()
            }
        });
    }
    let carries = settings.limits_in == LimitsIn::Policies && !group.is_exclusive();
    if carries
        && (settings.message_ttl.is_some()
            || settings.max_length.is_some()
            || settings.max_length_bytes.is_some())
    {
        notes.push(format!("policy {:?} carries these limits (`limits_in`)", Policy::name_for(&group.queue)));
    }
    if settings.retired.iter().any(|key| topic::matches(key, &message.routing_key)) {
        notes.push("the group gave its key up (`retired`)".to_owned());
    }
    if settings.ordering == Ordering::Strict {
        notes.push("while it is tried again, the events of its aggregate that come after it wait".to_owned());
    }
    if group.is_exclusive() {
        notes.push(
            "each process has a queue of its own, and misses what is published while it is away".to_owned(),
        );
    }
    notes
}
