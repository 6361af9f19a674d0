//! Settings of a group that cannot stand side by side. `#[group]` refuses what it sees of them itself;
//! here is what several layers say together.
//!
//! A setting that forms the queue as a whole (`exclusive`, `compat`) contradicts what is said about
//! the same group only: `dlq_ttl` at the top of the file is for groups that have a dead-letter queue.

use super::{
    error::Finding,
    settings::GroupSettings,
    source::{Setting, Source},
};
use crate::model::{
    QueueKind,
    policy::{OnExhausted, OnUnknown, Ordering},
};

/// Reports what cannot be; brings `kind` to what `exclusive` and `compat` imply.
pub(super) fn check(
    group: &str,
    settings: &mut GroupSettings,
    is_own: impl Fn(&str) -> bool,
    findings: &mut Vec<Finding>,
) {
    let check = &mut Check { group, is_own, findings };
    if settings.exclusive.value {
        check.exclusive(settings);
    }
    if settings.compat.value.is_some() {
        check.compat(settings);
    }
    if settings.ordering.value == Ordering::Strict {
        check.strict(settings);
    }
    if settings.exclusive.value || settings.compat.value.is_some() {
        settings.kind.value = QueueKind::Classic;
    }
    match settings.kind.value {
        QueueKind::Quorum => check.quorum(settings),
        QueueKind::Classic => {}
        QueueKind::Stream => check.stream(settings),
    }
    if settings.kind.value != QueueKind::Stream {
        let remedy = "only a stream is read from a place in it: set `kind = \"stream\"`, or leave it out";
        let beside = format!("kind \"{}\"", settings.kind.value);
        check.refuse_own(STREAM_ONLY, &settings.kind.source, &beside, remedy);
    }
    if settings.dlq_kind.value == Some(QueueKind::Stream) {
        check.finding(
            &settings.dlq_kind.source,
            "dlq_kind \"stream\" cannot be",
            "dead letters are taken out one by one: leave `dlq_kind` out",
        );
    }
    if settings.on_exhausted.value == OnExhausted::Drop && !settings.exclusive.value {
        check.refuse_own(
            DEAD_LETTERS,
            &settings.on_exhausted.source,
            "on_exhausted \"drop\"",
            "there is no dead-letter queue then: drop one of the two",
        );
    }
    if settings.queue.value.names_queue() {
        check.finding(
            &settings.queue.source,
            format!("queue {:?} is named after itself", settings.queue.value.as_str()),
            "use {exchange} and {group}",
        );
    }
    durability(settings, check.group, check.findings);
}

/// What says where dead letters go, and how they are kept.
const DEAD_LETTERS: &[&str] =
    &["dlx", "dlx_kind", "dlq", "dlq_key", "dlq_bind", "dlq_kind", "dlq_ttl", "dlq_max_length"];

/// What only a stream has.
const STREAM_ONLY: &[&str] = &["offset", "max_age"];

/// What a stream has not.
const NOT_STREAM: &[&str] = &["max_length", "message_ttl", "overflow", "max_priority", "expires"];

/// What an exclusive queue has no use for.
const NOT_EXCLUSIVE: &[&str] = &[
    "compat",
    "single_active_consumer",
    "expires",
    "durable",
    "auto_delete",
    "unknown_delay",
    "unknown_retries",
    "crash_limit",
    "retry_ladder",
];

/// What eventsource-py does not declare, or names itself.
const NOT_COMPAT: &[&str] = &[
    "queue",
    "single_active_consumer",
    "expires",
    "max_priority",
    "max_length",
    "max_length_bytes",
    "overflow",
    "message_ttl",
    "durable",
    "auto_delete",
    "arguments",
    "dlx",
    "dlx_kind",
    "dlq",
    "dlq_key",
    "dlq_bind",
    "dlq_kind",
];

struct Check<'a, F> {
    group: &'a str,
    is_own: F,
    findings: &'a mut Vec<Finding>,
}

impl<F: Fn(&str) -> bool> Check<'_, F> {
    fn finding(&mut self, place: &Source, problem: impl std::fmt::Display, remedy: &str) {
        let problem = format!("group \"{}\": {problem}", self.group);
        self.findings.push(Finding::new(place, problem).remedy(remedy));
    }

    /// Refuses what is said about the group beside something that leaves no room for it.
    fn refuse_own(&mut self, keys: &[&str], place: &Source, beside: &str, remedy: &str) {
        let said: Vec<&str> = keys.iter().copied().filter(|key| (self.is_own)(key)).collect();
        if !said.is_empty() {
            self.finding(place, format!("{beside} and {} do not go together", said.join(", ")), remedy);
        }
    }

    fn classic_only(&mut self, kind: &Setting<QueueKind>, beside: &str, remedy: &str) {
        if kind.value != QueueKind::Classic && (self.is_own)("kind") {
            let problem = format!("kind \"{}\" and {beside} do not go together", kind.value);
            self.finding(&kind.source, problem, remedy);
        }
    }

    fn exclusive(&mut self, settings: &GroupSettings) {
        let place = &settings.exclusive.source;
        self.classic_only(
            &settings.kind,
            "exclusive",
            "an exclusive queue is a classic one: leave `kind` out",
        );
        let keys: Vec<&str> = NOT_EXCLUSIVE.iter().chain(DEAD_LETTERS).copied().collect();
        self.refuse_own(
            &keys,
            place,
            "exclusive",
            "an exclusive queue goes with its process, retries in memory, and has no dead-letter queue",
        );
        if (self.is_own)("on_exhausted") && settings.on_exhausted.value == OnExhausted::DeadLetter {
            self.finding(
                place,
                "exclusive and on_exhausted \"dead_letter\" do not go together",
                "an exclusive group drops what it gives up: leave `on_exhausted` out",
            );
        }
        if (self.is_own)("on_unknown") && settings.on_unknown.value != Some(OnUnknown::Skip) {
            self.finding(
                place,
                "exclusive and on_unknown do not go together",
                "an exclusive group skips what its handlers do not take: leave `on_unknown` out",
            );
        }
    }

    fn compat(&mut self, settings: &GroupSettings) {
        let place = &settings.compat.source;
        let beside = "compat \"eventsource\"";
        self.classic_only(
            &settings.kind,
            beside,
            "eventsource-py declares classic queues: leave `kind` out, or give the group a queue of its own",
        );
        self.refuse_own(
            NOT_COMPAT,
            place,
            beside,
            "the queue is declared exactly as eventsource-py declares it, or one of the two is refused (406): \
             leave it out, or give the group a queue of its own without `compat`",
        );
        if settings.on_unknown.value.is_none() {
            self.finding(
                place,
                "compat \"eventsource\" wants on_unknown to be set",
                "eventsource-py binds the queue to \"#\", so events come that no handler here takes: \"skip\" \
                 where both sides handle the same events, \"wait\" while only the Python workers know some of \
                 them, \"dead_letter\" where nothing else may come",
            );
        }
    }

    /// Strict order takes one active process, whose failures stay where they are.
    fn strict(&mut self, settings: &GroupSettings) {
        let says_otherwise =
            (self.is_own)("single_active_consumer") && !settings.single_active_consumer.value;
        let refused = [
            (
                settings.exclusive.value,
                "exclusive",
                "each process has all events of an exclusive group: leave `ordering` at \"aggregate\" for it",
            ),
            (
                settings.compat.value.is_some(),
                "compat \"eventsource\"",
                "the Python workers take any event at any time: give the group a queue of its own without `compat`",
            ),
            (
                settings.max_priority.value.is_some(),
                "max_priority",
                "an event of a higher priority overtakes: leave one of the two out",
            ),
            (
                says_otherwise,
                "single_active_consumer = false",
                "strict order takes one active process: leave `single_active_consumer` out",
            ),
        ];
        for (is_said, what, remedy) in refused {
            if is_said {
                let problem = format!("ordering \"strict\" and {what} do not go together");
                self.finding(&settings.ordering.source, problem, remedy);
            }
        }
    }

    /// A stream keeps what was read, in the order in which it came, until it is too old or too much.
    fn stream(&mut self, settings: &GroupSettings) {
        let place = &settings.kind.source;
        self.refuse_own(
            NOT_STREAM,
            place,
            "kind \"stream\"",
            "a stream has one order, and lets events go by `max_age` and `max_length_bytes` alone: leave it out",
        );
        for (is_said, what) in
            [(settings.auto_delete.value, "auto_delete"), (!settings.durable.value, "durable = false")]
        {
            if is_said {
                let problem = format!("{what} and kind \"stream\" do not go together");
                self.finding(place, problem, "a stream stays when nobody reads it: leave it out");
            }
        }
    }

    fn quorum(&mut self, settings: &GroupSettings) {
        let remedy = "a quorum queue cannot: set `kind = \"classic\"` for the group, or leave it out";
        let refused = [
            (settings.max_priority.value.is_some(), &settings.max_priority.source, "max_priority"),
            (settings.auto_delete.value, &settings.auto_delete.source, "auto_delete"),
            (!settings.durable.value, &settings.durable.source, "durable = false"),
        ];
        for (is_said, place, what) in refused {
            if is_said {
                self.finding(
                    place,
                    format!("{what} and kind \"quorum\" ({}) do not go together", settings.kind.source),
                    remedy,
                );
            }
        }
    }
}

/// A dead-letter queue that outlives the broker beside a queue that does not.
fn durability(settings: &GroupSettings, group: &str, findings: &mut Vec<Finding>) {
    if !settings.durable.value && settings.dlq_kind.value == Some(QueueKind::Quorum) {
        let problem =
            format!("group \"{group}\": durable = false and dlq_kind \"quorum\" do not go together");
        let remedy = "the dead-letter queue is as durable as the queue: leave `dlq_kind` out";
        findings.push(Finding::new(&settings.dlq_kind.source, problem).remedy(remedy));
    }
}
