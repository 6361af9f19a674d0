//! Plans where policies carry limits, made and performed on the in-process broker, which obeys them.

use std::time::Duration;

use super::*;
use crate::{
    message::{Headers, Message},
    model::{
        Observed, ObservedPolicy, Overflow, QueueKind, Topology,
        policy::{LimitsIn, OnExhausted},
    },
    name::{ExchangeName, QueueName},
    topology::{
        GroupSettings, build,
        fixtures::{PLACED, exchanges, handler, named_with},
    },
    transport::{Admin, Publication, Publish, memory::Memory},
};

/// One group, whose limits policies carry.
fn wanted(change: impl FnOnce(&mut GroupSettings)) -> Topology {
    named("projections", change)
}

fn named(name: &str, change: impl FnOnce(&mut GroupSettings)) -> Topology {
    let mut spec = handler("project", &["Order.OrderPlaced"], Some(&[PLACED]));
    spec.policy.retries = 0;
    let group = named_with(name, vec![spec], |settings| {
        settings.limits_in = LimitsIn::Policies;
        settings.ladder = Vec::new();
        settings.crash_limit = None;
        settings.unknown_wait.times = 0;
        change(settings);
    });
    build(&[group], &[], &exchanges()).unwrap()
}

fn limited(max_length: u64) -> Topology {
    wanted(|settings| settings.max_length = Some(max_length))
}

async fn seen(broker: &Memory) -> Observed {
    broker.observe(&[], &[]).await.unwrap()
}

async fn planned(broker: &Memory, wanted: &Topology, owned: Option<&Topology>, prune: bool) -> Plan {
    let options = if prune { PlanOptions::new().prune() } else { PlanOptions::new() };
    let mut plan = decide(wanted, &seen(broker).await, owned, &options);
    plan.broker = "memory".to_owned();
    plan
}

async fn applied(broker: &Memory, wanted: &Topology) -> Result<Applied, PerformError> {
    let plan = planned(broker, wanted, None, false).await;
    perform(broker, &plan, wanted, &Eyes::Transport { because: None }).await
}

async fn policies(broker: &Memory) -> Vec<ObservedPolicy> {
    seen(broker).await.policies.unwrap()
}

/// How many of so many events the queue takes.
async fn taken(broker: &Memory, events: usize) -> usize {
    let publication = Publication {
        exchange: ExchangeName::new("events").unwrap(),
        routing_key: PLACED.key.into(),
        message: Message::default(),
        mandatory: true,
        lane: None,
    };
    let mut taken = 0;
    for _ in 0..events {
        taken += usize::from(broker.publish(&publication).await.is_ok());
    }
    taken
}

/// The steps, without what is seen of the broker.
fn steps(plan: &Plan) -> String {
    let text = plan.to_string();
    text.split_once("\n\n").map_or_else(String::new, |(_, steps)| steps.to_owned())
}

#[tokio::test]
async fn an_empty_broker_gets_the_policy_before_events_come() {
    let broker = Memory::new();
    let topology = wanted(|settings| {
        settings.max_length = Some(10);
        settings.dlq_max_length = Some(5);
        settings.dlq_ttl = Some(Duration::from_secs(60));
    });

    let plan = planned(&broker, &topology, None, false).await;
    perform(&broker, &plan, &topology, &Eyes::Transport { because: None }).await.unwrap();
    let after = planned(&broker, &topology, None, false).await;

    insta::assert_snapshot!(steps(&plan));
    assert!(after.is_exact(), "{after}");
    assert_eq!(taken(&broker, 12).await, 10);
}

#[tokio::test]
async fn a_limit_is_changed_in_place_and_what_is_in_the_queue_stays() {
    let broker = Memory::new();
    applied(&broker, &limited(10)).await.unwrap();
    assert_eq!(taken(&broker, 12).await, 10);

    let plan = planned(&broker, &limited(15), None, false).await;
    let applied = perform(&broker, &plan, &limited(15), &Eyes::Transport { because: None }).await.unwrap();

    insta::assert_snapshot!(steps(&plan));
    let json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
    insta::assert_snapshot!("a_changed_limit_as_json", format!("{:#}", json["steps"]));
    assert_eq!(applied.done.len(), 1);
    assert_eq!(taken(&broker, 12).await, 5);
    assert_eq!(seen(&broker).await.queues["events.projections"].ready, Some(15));
    assert!(planned(&broker, &limited(15), None, false).await.is_exact());
}

#[tokio::test]
async fn of_a_queue_without_limits_any_more_the_policy_goes() {
    let broker = Memory::new();
    applied(&broker, &limited(10)).await.unwrap();
    assert_eq!(taken(&broker, 12).await, 10);

    let plan = planned(&broker, &wanted(|_| ()), None, false).await;
    perform(&broker, &plan, &wanted(|_| ()), &Eyes::Transport { because: None }).await.unwrap();

    insta::assert_snapshot!(steps(&plan));
    assert_eq!(policies(&broker).await, []);
    assert_eq!(taken(&broker, 12).await, 12);
}

#[tokio::test]
async fn the_policy_of_another_one_is_in_the_way_and_nothing_is_changed() {
    let broker = Memory::new();
    applied(&broker, &limited(10)).await.unwrap();
    let mut observed = seen(&broker).await;
    let other = ObservedPolicy {
        name: "ops".to_owned(),
        pattern: "^events".to_owned(),
        apply_to: "all".to_owned(),
        definition: [("max-length", 1_000_000_i64)].into_iter().collect(),
        priority: 5,
    };
    observed.policies.as_mut().unwrap().push(other);

    let mut plan = decide(&limited(20), &observed, None, &PlanOptions::new());
    plan.broker = "memory".to_owned();
    let refused = perform(&broker, &plan, &limited(20), &Eyes::Transport { because: None }).await;

    assert_eq!(plan.exit_code(), 3);
    insta::assert_snapshot!(steps(&plan));
    assert!(matches!(refused, Err(PerformError::Refused(_))), "{refused:?}");
    assert_eq!(policies(&broker).await[0].definition.get_int("max-length"), Some(10));
    let drift: Vec<String> = deviations(&plan).into_iter().map(|it| it.text).collect();
    assert!(
        drift[0].starts_with("policy \"ops\" (pattern \"^events\", priority 5) applies to queue"),
        "{drift:?}"
    );
}

#[tokio::test]
async fn limits_that_are_arguments_become_a_policy_by_a_migration_only() {
    let broker = Memory::new();
    let by_arguments = wanted(|settings| {
        settings.limits_in = LimitsIn::Arguments;
        settings.max_length = Some(10);
    });
    applied(&broker, &by_arguments).await.unwrap();

    let forth = planned(&broker, &limited(10), None, false).await;
    let refused = applied(&broker, &limited(10)).await;

    insta::assert_snapshot!(steps(&forth));
    assert!(matches!(refused, Err(PerformError::Refused(_))), "{refused:?}");
    assert_eq!(policies(&broker).await, []);
}

#[tokio::test]
async fn a_policy_goes_after_its_queue_and_stays_with_it() {
    let broker = Memory::new();
    let earlier = named("audit", |settings| {
        settings.max_length = Some(3);
        settings.on_exhausted = OnExhausted::Drop;
    });
    let all = both(&limited(10), &earlier);
    applied(&broker, &all).await.unwrap();

    let left = planned(&broker, &limited(10), Some(&all), false).await;
    let plan = planned(&broker, &limited(10), Some(&all), true).await;
    taken(&broker, 1).await;
    let with_messages = planned(&broker, &limited(10), Some(&all), true).await;
    broker.purge(&QueueName::new("events.audit").unwrap()).await.unwrap();
    let done = perform(&broker, &plan, &limited(10), &Eyes::Transport { because: None }).await.unwrap();

    let told = |plan: &Plan| -> Vec<String> {
        let of_policies = plan.steps.iter().filter(|step| {
            matches!(step.action, Action::DeletePolicy { .. } | Action::Leave(Left::Policy(_)))
        });
        of_policies.map(|step| format!("{:?}: {}", step.action, step.reason)).collect()
    };
    let leave =
        "Leave(Policy(\"es-bus.events.audit\")): this program once declared its queue, and no longer does";
    assert_eq!(told(&left), [format!("{leave}; prune removes it with its queue")]);
    assert_eq!(told(&with_messages), [format!("{leave}, but the queue stays")]);
    let last: Vec<&Action> = plan.changes().map(|step| &step.action).collect();
    let at = |is: fn(&Action) -> bool| last.iter().position(|it| is(it)).unwrap();
    assert!(
        at(|it| matches!(it, Action::DeleteQueue { .. }))
            < at(|it| matches!(it, Action::DeletePolicy { .. }))
    );
    assert!(done.is_complete());
    let names: Vec<String> = policies(&broker).await.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["es-bus.events.projections"]);
    assert_eq!(done.forget(&plan, &all, &limited(10)), both(&limited(10), &Topology::new()));
    // Killed in between, the policy alone is left, and goes by the next.
    let alone = seen(&broker).await;
    let alone = Observed {
        policies: Some(vec![ObservedPolicy {
            name: "es-bus.events.audit".to_owned(),
            pattern: r"^events\.audit$".to_owned(),
            apply_to: "queues".to_owned(),
            definition: Headers::new(),
            priority: 0,
        }]),
        ..alone
    };
    let next = decide(&limited(10), &alone, Some(&all), &PlanOptions::new().prune());
    assert!(next.changes().any(|step| matches!(&step.action, Action::DeletePolicy { .. })), "{next}");
}

#[tokio::test]
async fn over_amqp_alone_policies_are_not_seen_and_a_plan_with_them_changes_nothing() {
    let broker = Memory::new();
    let mut observed = seen(&broker).await;
    observed.view = crate::model::View::Amqp;
    observed.policies = None;

    let plan = decide(&limited(10), &observed, None, &PlanOptions::new());

    let unverified: Vec<&Action> = plan.unverified().map(|step| &step.action).collect();
    assert!(
        matches!(unverified[..], [Action::Unverified(it)] if matches!(**it, Action::SetPolicy { .. })),
        "{plan}"
    );
}

#[test]
fn operators_limit_what_policies_say_which_is_told_and_no_conflict() {
    let mut observed = Observed::new(crate::model::View::Management { address: String::new() });
    let operator = ObservedPolicy {
        name: "quota".to_owned(),
        pattern: "^events".to_owned(),
        apply_to: "queues".to_owned(),
        definition: [("max-length", 7_i64), ("expires", 5_i64)].into_iter().collect(),
        priority: 1,
    };
    observed.operator_policies = Some(vec![operator]);
    let topology = wanted(|settings| {
        settings.max_length = Some(10);
        settings.kind = QueueKind::Quorum;
        settings.overflow = Overflow::RejectPublish;
    });

    let plan = decide(&topology, &observed, None, &PlanOptions::new());

    let told: Vec<String> = plan.warnings.iter().map(|it| format!("{}: {}", it.about, it.text)).collect();
    assert_eq!(
        told,
        [
            "queue \"events.projections\": operator policy \"quota\" (pattern \"^events\", priority 1) limits it to \
             max-length = 7, lower than policy \"es-bus.events.projections\" does: the lower counts"
        ]
    );
}

#[tokio::test]
async fn a_policy_that_takes_the_refusals_of_a_full_quorum_queue_away_is_warned_of() {
    let broker = Memory::new();
    let topology = wanted(|settings| settings.limits_in = LimitsIn::Arguments);
    applied(&broker, &topology).await.unwrap();
    let mut observed = seen(&broker).await;
    observed.view = crate::model::View::Management { address: String::new() };
    let queue = observed.queues.get_mut("events.projections").unwrap();
    queue.policy = Some("ops".to_owned());
    queue.policy_sets = [("overflow", "drop-head")].into_iter().collect();

    let plan = decide(&topology, &observed, None, &PlanOptions::new());

    let told: Vec<&str> = plan.warnings.iter().map(|it| &*it.text).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("policy \"ops\" sets overflow = drop-head on it"), "{told:?}");
}
