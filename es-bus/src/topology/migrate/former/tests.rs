use super::{
    Renamed,
    decide::{Entry, Facts, Old, Waiting, decide},
    renamed,
};
use crate::{
    model::{Binding, Former, Observed, ObservedBinding, ObservedExchange, ObservedQueue, View},
    name::{ExchangeName, QueueName},
    topology::migrate::decide::{self, Aside, Role, There},
};

fn by(key: &str) -> Binding {
    let queue = QueueName::new("events.views").unwrap();
    Binding::by_key(ExchangeName::new("events").unwrap(), queue, key)
}

/// A full queue of the old name that nobody consumes, with dead letters and retries, and nothing of the new one.
fn full() -> Facts {
    Facts {
        new: decide::Facts {
            role: Role::Work,
            queue: There::Absent,
            ready: 0,
            bound: vec![],
            aside: None,
            old: None,
            has_exchanges: false,
            wanted: vec![by("a")],
            caught_up: false,
        },
        is_partial: false,
        old: Some(Old { ready: 5, consumers: 0, bound: vec![by("a")] }),
        entry: Some(Entry { to_old: true, to_new: false }),
        letters: Some(2),
        waiting: vec![Waiting { name: "events.projections.retry.1s".to_owned(), ready: 1 }],
        has_parts: true,
        is_marked: false,
    }
}

/// With the new queue there.
fn declared(facts: Facts) -> Facts {
    Facts { new: decide::Facts { queue: There::Wanted, ..facts.new.clone() }, ..facts }
}

fn open(facts: Facts) -> Facts {
    let facts = declared(facts);
    Facts { new: decide::Facts { bound: vec![by("a")], ..facts.new.clone() }, ..facts }
}

fn consumed(facts: Facts) -> Facts {
    let old = facts.old.clone().map(|old| Old { consumers: 2, ..old });
    Facts { old, ..facts }
}

fn way(mut facts: Facts) -> String {
    let mut words = Vec::new();
    while let Some(step) = decide(&facts) {
        let keys: Vec<&str> = step.bindings.iter().map(|it| &*it.key).collect();
        let keys = if keys.is_empty() { String::new() } else { format!("({})", keys.join(",")) };
        words.push(format!("{:?}{keys}", step.what));
        facts = facts.after(&step);
        assert!(words.len() < 25, "no end: {words:?}");
    }
    words.join(" ")
}

#[test]
fn the_next_step_follows_from_what_is_there() {
    let aside =
        |ready, bound: &[&str]| Some(Aside { ready, bound: bound.iter().map(|key| by(key)).collect() });
    let with_aside = |facts: Facts, aside| {
        let facts = declared(facts);
        Facts { new: decide::Facts { aside, has_exchanges: true, ..facts.new.clone() }, ..facts }
    };
    let unbound = |facts: Facts| Facts { old: facts.old.map(|old| Old { bound: vec![], ..old }), ..facts };
    let nothing =
        Facts { old: None, entry: None, letters: None, waiting: vec![], has_parts: false, ..full() };
    let rest = "MoveLetters DropFormer MoveWaiting DropWaiting DropParts";
    for (case, facts, expected) in [
        ("nothing of the old name", open(nothing.clone()), String::new()),
        ("nothing at all", nothing.clone(), String::new()),
        (
            "a full queue",
            full(),
            format!(
                "DeclareNew Prepare Divert(a) Unbind(a) TakeRetries MoveOver Open(a) Close(a) DropAside Tidy {rest}"
            ),
        ),
        (
            "one that is consumed",
            consumed(full()),
            "DeclareNew Prepare Divert(a) Unbind(a) TakeRetries MoveOver Open(a) Close(a) DropAside Tidy MoveLetters Mark"
                .to_owned(),
        ),
        (
            "killed before it was unbound",
            with_aside(full(), aside(3, &["a"])),
            format!("Unbind(a) TakeRetries MoveOver Return Open(a) Close(a) DropAside Tidy {rest}"),
        ),
        (
            "killed when the new one was open",
            with_aside(unbound(open(full())), aside(0, &["a"])),
            format!("TakeRetries MoveOver Close(a) DropAside Tidy {rest}"),
        ),
        (
            "an old replica bound it once more, beside the new version",
            open(full()),
            format!("Unbind(a) TakeRetries MoveOver Tidy {rest}"),
        ),
        (
            "an old replica bound it by a key that the new version has no more",
            Facts { old: Some(Old { ready: 0, consumers: 0, bound: vec![by("a"), by("b")] }), ..open(full()) },
            format!("Prepare Divert(b) Unbind(a,b) TakeRetries Open(b) Close(b) DropAside Tidy {rest}"),
        ),
        (
            "the last ones of the old version are gone",
            Facts { is_marked: true, letters: Some(0), waiting: vec![], ..unbound(open(full())) },
            "TakeRetries MoveOver Tidy DropFormer DropParts".to_owned(),
        ),
        (
            "they are not",
            Facts {
                is_marked: true,
                entry: Some(Entry { to_old: false, to_new: true }),
                letters: Some(0),
                ..consumed(unbound(open(Facts { old: Some(Old { ready: 0, consumers: 1, bound: vec![] }), ..full() })))
            },
            String::new(),
        ),
        (
            "killed after the queue went",
            Facts { old: None, ..open(full()) },
            "TakeRetries MoveLetters MoveWaiting DropWaiting DropParts".to_owned(),
        ),
        (
            "an exchange is all that is left",
            Facts { has_parts: true, ..open(nothing) },
            "DropParts".to_owned(),
        ),
    ] {
        assert_eq!(way(facts), expected, "{case}");
    }
}

#[test]
fn a_queue_that_is_bound_is_in_the_way_and_one_that_was_left_is_not() {
    let name = |name: &str| QueueName::new(name).unwrap();
    let former = Former {
        queue: name("events.views"),
        dlq: Some(name("dlq")),
        old: name("events.projections"),
        old_dlq: name("dlq"),
    };
    let see = |queues: &[&str], exchanges: &[&str], bound_to: Option<&[&str]>| {
        let mut observed = Observed::new(View::Amqp);
        observed.queues = queues.iter().map(|it| ((*it).to_owned(), ObservedQueue::default())).collect();
        observed.exchanges =
            exchanges.iter().map(|it| ((*it).to_owned(), ObservedExchange::default())).collect();
        observed.bindings = bound_to.map(|sources| {
            let of = |source: &&str| {
                let source = ExchangeName::new(*source).unwrap();
                ObservedBinding::of(&Binding::by_key(source, name("events.projections"), "a"))
            };
            sources.iter().map(of).collect()
        });
        renamed(&former, &observed)
    };
    let marker = "events.projections.migrated";

    assert_eq!(
        see(&["events.views", "dlq"], &["events"], Some(&[])),
        Renamed::Through,
        "what is shared is not its"
    );
    assert_eq!(see(&["events.projections"], &[], Some(&["events"])), Renamed::Not);
    assert_eq!(see(&["events.projections"], &[], None), Renamed::Not);
    assert_eq!(see(&["events.projections"], &[], Some(&[])), Renamed::Not, "nobody brought it over yet");
    assert_eq!(see(&["events.projections"], &[marker], Some(&["events.projections.in"])), Renamed::Left);
    assert_eq!(see(&["events.projections"], &[marker], None), Renamed::Left);
    assert_eq!(see(&["events.projections"], &[marker], Some(&["events"])), Renamed::Not, "bound once more");
    assert_eq!(see(&["events.projections.retry.1s"], &[], Some(&[])), Renamed::Not);
    assert_eq!(see(&[], &["events.projections.in"], Some(&[])), Renamed::Not);
}
