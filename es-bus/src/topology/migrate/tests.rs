use super::{
    MigrationStep as Do,
    decide::{Aside, Facts, Role, Step, Target, There, decide, is_half_way},
    step::Names,
};
use crate::{
    model::{Binding, Observed, Queue, QueueKind, View},
    name::{ExchangeName, QueueName},
    topology::{
        build,
        fixtures::{PLACED, exchanges, group, handler},
    },
};

fn queue() -> QueueName {
    QueueName::new("orders").unwrap()
}

fn by(key: &str) -> Binding {
    Binding::by_key(ExchangeName::new("events").unwrap(), queue(), key)
}

/// A queue with other settings, `ready` messages, and the binding `a`.
fn other(ready: u64) -> Facts {
    Facts {
        role: Role::Work,
        queue: There::Other,
        ready,
        bound: vec![by("a")],
        aside: None,
        old: None,
        has_exchanges: false,
        wanted: vec![by("a")],
        caught_up: false,
    }
}

fn aside(ready: u64, bound: &[&str]) -> Option<Aside> {
    Some(Aside { ready, bound: bound.iter().map(|key| by(key)).collect() })
}

/// The steps from here on when nothing comes between, one word each.
fn way(mut facts: Facts) -> String {
    let mut words = Vec::new();
    while let Some(step) = decide(&facts) {
        let keys: Vec<&str> = step.bindings.iter().map(|it| &*it.key).collect();
        let keys = if keys.is_empty() { String::new() } else { format!("({})", keys.join(",")) };
        words.push(format!("{:?}{keys}", step.what));
        facts = facts.after(&step);
        assert!(words.len() < 20, "no end: {words:?}");
    }
    words.join(" ")
}

#[test]
fn the_next_step_follows_from_what_is_there() {
    let wanted = |facts: Facts| Facts { queue: There::Wanted, ready: 0, ..facts };
    let begun = |facts: Facts| Facts { has_exchanges: true, ..facts };
    for (case, facts, expected) in [
        ("what is declared", wanted(other(0)), ""),
        ("nothing of it", Facts { queue: There::Absent, bound: vec![], ..other(0) }, ""),
        ("an empty queue", other(0), "Prepare Divert(a) Unbind(a) Replace Open(a) Close(a) DropAside Tidy"),
        (
            "a full queue",
            other(5),
            "Prepare Divert(a) Unbind(a) Empty Replace ReturnOld DropOld Open(a) Close(a) DropAside Tidy",
        ),
        (
            "killed amid binding",
            begun(Facts { bound: vec![by("a"), by("b")], aside: aside(2, &["a"]), ..other(0) }),
            "Divert(b) Unbind(a,b) Replace Return Open(a,b) Close(a,b) DropAside Tidy",
        ),
        (
            "an old replica bound it again",
            begun(Facts { aside: aside(0, &["a"]), ..other(0) }),
            "Unbind(a) Replace Open(a) Close(a) DropAside Tidy",
        ),
        (
            "an old replica declared it again, amid the return",
            begun(Facts { aside: aside(3, &["a"]), old: Some(4), ..other(1) }),
            "Unbind(a) Empty Replace ReturnOld DropOld Return Open(a) Close(a) DropAside Tidy",
        ),
        (
            "killed between deletion and declaration",
            begun(Facts { queue: There::Absent, bound: vec![], aside: aside(3, &["a"]), ..other(0) }),
            "Create Return Open(a) Close(a) DropAside Tidy",
        ),
        (
            "a new replica bound it while older ones are still away",
            begun(Facts { aside: aside(3, &["a"]), old: Some(4), ..wanted(other(0)) }),
            "Unbind(a) ReturnOld DropOld Return Open(a) Close(a) DropAside Tidy",
        ),
        (
            "a new replica bound it with more",
            begun(Facts { bound: vec![by("b")], aside: aside(3, &["a"]), ..wanted(other(0)) }),
            "Divert(b) Unbind(b) Return Open(a,b) Close(a,b) DropAside Tidy",
        ),
        (
            "all of it was moved once",
            begun(Facts { bound: vec![], aside: aside(9, &["a"]), caught_up: true, ..wanted(other(0)) }),
            "Open(a) Close(a) Return DropAside Tidy",
        ),
        (
            "killed when it was bound again",
            begun(Facts { aside: aside(9, &["a"]), ..wanted(other(0)) }),
            "Close(a) Return DropAside Tidy",
        ),
        (
            "a new replica bound it while many wait",
            begun(Facts { aside: aside(1000, &["a"]), ..wanted(other(0)) }),
            "Unbind(a) Return Open(a) Close(a) DropAside Tidy",
        ),
        (
            "killed amid unbinding the one aside",
            begun(Facts { aside: aside(0, &["b"]), ..wanted(other(0)) }),
            "Open(b) Close(b) DropAside Tidy",
        ),
        ("the last ones", begun(Facts { aside: aside(3, &[]), ..wanted(other(0)) }), "Return DropAside Tidy"),
        (
            "the binding that is declared was never made",
            begun(Facts { bound: vec![], aside: aside(0, &[]), ..wanted(other(0)) }),
            "Open(a) DropAside Tidy",
        ),
        ("only what is left of it", begun(wanted(other(0))), "Tidy"),
        (
            "old ones without the one aside",
            begun(Facts { old: Some(2), ..wanted(other(0)) }),
            "ReturnOld DropOld Tidy",
        ),
        (
            "a retry queue: nothing is moved",
            Facts { role: Role::Waiting, ..other(5) },
            "Prepare Divert(a) Unbind(a) Empty Replace Open(a) Close(a) DropAside",
        ),
        (
            "a retry queue with messages in both",
            Facts { role: Role::Waiting, bound: vec![], aside: aside(2, &["a"]), ..wanted(other(0)) },
            "Open(a) Close(a) Return DropAside",
        ),
        (
            "another change of what is declared",
            begun(Facts { aside: aside(0, &["a"]), old: Some(0), bound: vec![], ..other(2) }),
            "Empty Replace ReturnOld DropOld Open(a) Close(a) DropAside Tidy",
        ),
    ] {
        assert_eq!(way(facts), expected, "{case}");
    }
}

/// Everything that can be there, whoever was killed where.
fn everything() -> Vec<Facts> {
    let mut all = Vec::new();
    let keys: [&[&str]; 3] = [&[], &["a"], &["a", "b"]];
    for role in [Role::Work, Role::Kept, Role::Waiting] {
        for queue in [There::Absent, There::Other, There::Wanted] {
            for bound in keys {
                for on_aside in [None, Some(&[] as &[&str]), Some(&["a"]), Some(&["b"])] {
                    for old in [None, Some(0), Some(2)] {
                        for (ready, waiting) in [(0, 0), (2, 0), (0, 2), (2, 2)] {
                            let is_there = queue != There::Absent;
                            all.push(Facts {
                                role,
                                queue,
                                ready: if is_there { ready } else { 0 },
                                bound: bound.iter().filter(|_| is_there).map(|key| by(key)).collect(),
                                aside: on_aside.and_then(|bound| aside(waiting, bound)),
                                old,
                                has_exchanges: true,
                                wanted: vec![by("a")],
                                caught_up: false,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn from_whatever_is_there_the_way_ends_and_no_step_of_it_loses_anything() {
    for begin in everything() {
        let mut facts = begin.clone();
        let mut steps = 0;
        while let Some(step) = decide(&facts) {
            safe(&facts, &step).unwrap_or_else(|reason| panic!("{reason}: {step:?} on {facts:?}"));
            facts = facts.after(&step);
            steps += 1;
            assert!(steps < 20, "no end from {begin:?}");
        }
        assert!(facts.aside.is_none() && facts.old.is_none(), "something is left of {begin:?}: {facts:?}");
        // One that is not there and has no migration is for a start to declare.
        if facts.queue == There::Wanted && begin.aside.is_some() {
            assert!(facts.bound.contains(&by("a")), "not bound, from {begin:?}");
        }
    }
}

fn safe(facts: &Facts, step: &Step) -> Result<(), &'static str> {
    let on_aside: &[Binding] = facts.aside.as_ref().map_or(&[], |aside| &aside.bound);
    let led = |facts: &Facts| {
        let aside = facts.aside.iter().flat_map(|aside| &aside.bound);
        facts.bound.iter().chain(aside).cloned().collect::<Vec<_>>()
    };
    let after = facts.clone().after(step);
    if led(facts).iter().any(|binding| !led(&after).contains(binding)) {
        return Err("an event would reach no queue");
    }
    let all =
        |facts: &Facts| facts.ready + facts.aside.as_ref().map_or(0, |it| it.ready) + facts.old.unwrap_or(0);
    match step.what {
        Do::Replace if facts.ready > 0 || !facts.bound.is_empty() => Err("it has messages, or gets some"),
        Do::DropOld | Do::DropAside | Do::Tidy if all(&after) < all(facts) => Err("messages go with it"),
        Do::DropAside if !on_aside.is_empty() => Err("events come to it"),
        Do::Return | Do::ReturnOld if facts.queue != There::Wanted => Err("there is nowhere to move it to"),
        Do::Return if facts.old.unwrap_or(0) > 0 => Err("newer ones before older ones"),
        Do::ReturnOld if !facts.bound.is_empty() && !on_aside.is_empty() => {
            Err("newer ones beside older ones")
        }
        _ => Ok(()),
    }
}

#[test]
fn what_a_queue_is_for_is_told_by_what_it_is_bound_to() {
    let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
    let topology = build(&[group(handlers)], &[], &exchanges()).unwrap();

    let roles: Vec<(String, Role)> = topology
        .queues()
        .map(|queue| {
            let target = Target::of(queue, Names::of(&queue.name).unwrap(), &topology);
            (queue.name.to_string(), target.role)
        })
        .collect();

    let role = |suffix: &str| {
        let name = format!("events.projections{suffix}");
        roles.iter().find(|(queue, _)| *queue == name).map(|(_, role)| *role)
    };
    assert_eq!(role(""), Some(Role::Work));
    assert_eq!(role(".dlq"), Some(Role::Kept));
    assert_eq!(role(".suspects"), Some(Role::Kept));
    assert_eq!(role(".retry.1s"), Some(Role::Waiting));
}

#[test]
fn any_trace_of_a_migration_is_one_that_is_half_way() {
    let observed = Observed::new(View::Memory);
    assert!(!is_half_way(&queue(), &observed));

    for name in ["orders.migrating", "orders.migrating.old"] {
        let mut observed = observed.clone();
        observed.queues.insert(name.to_owned(), Default::default());
        assert!(is_half_way(&queue(), &observed), "{name}");
    }
    for name in ["orders.migrating.old", "orders.migrating.back"] {
        let mut observed = observed.clone();
        observed.exchanges.insert(name.to_owned(), Default::default());
        assert!(is_half_way(&queue(), &observed), "{name}");
    }
}

#[test]
fn a_name_that_is_too_long_for_others_is_refused() {
    let long = QueueName::new("q".repeat(250)).unwrap();
    let error = Names::of(&long).unwrap_err();
    assert!(error.to_string().contains("give it a shorter name"), "{error}");
    assert!(!is_half_way(&Queue::durable(long, QueueKind::Quorum).name, &Observed::new(View::Memory)));
}
