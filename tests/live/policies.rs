//! Limits that policies carry (`limits_in`): changed on a real broker without touching the queue, and never where the
//! policy of somebody else applies.

use std::{fs, time::Duration};

use es_bus::{
    Bus, BusBuilder, Error, Registry, State, handler,
    migrate::MigrateOptions,
    plan::{Action, Outcome, PlanOptions},
    transport::DeclareError,
};
use es_bus_tests::{Node, Vhost, eventually};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::sleep};

use crate::support::{Journal, OrderPlaced, TempDir, builder, placed, publisher, run, stop};

#[handler(group = "projections", retries = 0)]
async fn project(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(order.order_id);
}

#[handler(group = "accounting", retries = 0)]
async fn book(_order: OrderPlaced) {}

fn registry() -> Registry {
    Registry::new().handler::<project>()
}

/// The program, of a queue of either kind.
fn program(vhost: &Vhost, kind: &'static str, most: &'static str) -> BusBuilder {
    builder(vhost.url(), registry())
        .state(Journal::default())
        .set("management_url", Node::shared().management_url())
        .set("program", "shop")
        .set("limits_in", "policies")
        .set("crash_limit", "none")
        .set("retry_ladder", "none")
        .set("unknown_retries", 0)
        .set_for_group("projections", "kind", kind)
        .set_for_group("projections", "max_length", most)
}

fn bus(builder: BusBuilder) -> Bus {
    builder.build().unwrap_or_else(|error| panic!("{error:?}"))
}

async fn apply(bus: &Bus) {
    let plan = bus.plan().await.unwrap_or_else(|error| panic!("{error:?}"));
    bus.apply(&plan).await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// The policies, by name, each with what it sets.
async fn policies(bus: &Bus) -> Vec<(String, Option<i64>)> {
    let observed = bus.observe().await.unwrap_or_else(|error| panic!("{error:?}"));
    let all = observed.policies.unwrap_or_default().into_iter();
    let mut all: Vec<_> = all.map(|it| (it.name, it.definition.get_int("max-length"))).collect();
    all.sort();
    all
}

/// Publishes until the queue refuses, or has taken so many; says how many it took.
async fn fill(vhost: &Vhost, events: u32) -> u32 {
    let publisher = publisher(vhost.url(), registry()).await;
    let mut taken = 0;
    for number in 0..events {
        let event = placed(format!("o-{number}"), 1);
        match publisher.publisher().publish(&event).await {
            Ok(_) => taken += 1,
            Err(_) => break,
        }
    }
    stop(publisher).await;
    taken
}

fn own() -> (String, Option<i64>) {
    ("es-bus.events.projections".to_owned(), Some(5))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_changed_by_plan_and_apply_without_touching_the_queue_and_its_messages() {
    for kind in ["quorum", "classic"] {
        let vhost = Node::shared().vhost(&format!("policies-{kind}"));
        apply(&bus(program(&vhost, kind, "5"))).await;
        let set = policies(&bus(program(&vhost, kind, "5"))).await;
        let taken = fill(&vhost, 4).await;

        let raised = bus(program(&vhost, kind, "24"));
        let plan = raised.plan().await.expect("a plan");
        let applied = raised.apply(&plan).await.expect("it is applied");
        let more = fill(&vhost, 20).await;

        assert_eq!((set, taken), (vec![own()], 4), "{kind}");
        let is_change = |action: &Action| matches!(action, Action::SetPolicy { was: Some(_), .. });
        assert!(plan.steps.iter().all(|step| is_change(&step.action)), "{plan}");
        assert_eq!((plan.exit_code(), applied.done.len()), (2, 1));
        assert_eq!(more, 20, "{kind}: the queue holds as much as is declared now");
        block_in_place(|| {
            eventually("all of them", || {
                vhost.settled_queue("events.projections").filter(|it| it.messages == 24)
            })
        });
        assert!(raised.plan().await.expect("a plan").is_exact());
        // What is there is handled in its order, the oldest first.
        let journal = Journal::default();
        let running = run(program(&vhost, kind, "24").state(journal.clone())).await;
        journal.until_len(24).await;
        stop(running).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_another_one_is_a_conflict_and_nothing_is_changed() {
    let vhost = Node::shared().vhost("policies-conflict");
    vhost.define(&json!({ "policies": [{
        "name": "ops", "pattern": "^events\\.", "apply-to": "queues", "priority": 7, "definition": { "max-length": 9000 },
    }] }));
    let shop = bus(program(&vhost, "quorum", "5"));

    let plan = shop.plan().await.expect("a plan");
    let applied = shop.apply(&plan).await.expect_err("it is in the way");
    let started = bus(program(&vhost, "quorum", "5")).start().await.expect_err("it is in the way");

    assert_eq!(plan.outcome(), Outcome::Conflict, "{plan}");
    for error in [applied, started] {
        let text = format!("{error:?}");
        assert!(
            text.contains("policy \"ops\" (pattern \"^events\\\\.\", priority 7) applies to queue"),
            "{text}"
        );
        assert!(text.contains("add max-length = 5 to the one of the highest priority"), "{text}");
    }
    assert_eq!((vhost.queues(), vhost.exchanges()), (vec![], vec![]), "nothing was declared");
    assert_eq!(policies(&shop).await, [("ops".to_owned(), Some(9000))]);

    // With the keys in it, that one does.
    vhost.define(&json!({ "policies": [{
        "name": "ops", "pattern": "^events\\.", "apply-to": "queues", "priority": 7,
        "definition": { "max-length": 5, "message-ttl": 3_600_000 },
    }] }));
    apply(&shop).await;
    assert_eq!(policies(&shop).await, [("ops".to_owned(), Some(5))]);
    assert_eq!(shop.plan().await.expect("a plan").outcome(), Outcome::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_have_the_policies_and_prune_deletes_them() {
    let vhost = Node::shared().vhost("policies-pruned");
    let program = || program(&vhost, "quorum", "5").set_for_group("projections", "dlq_ttl", "1h");
    let earlier = program().registry(registry().handler::<book>());
    let earlier = bus(earlier.set("max_length", "7"));
    let dir = TempDir::new();
    let file = dir.path("definitions.json");
    fs::write(&file, earlier.topology().definitions(vhost.name()).expect("it is written")).expect("a file");
    block_in_place(|| {
        Node::shared().rabbitmqctl(&["import_definitions", file.to_str().expect("a plain path")])
    });
    let imported = earlier.plan().await.expect("a plan");
    // Nothing is to be done, and it is remembered what is declared.
    apply(&earlier).await;
    let now = bus(program());

    // A queue is deleted once the broker tells that it is empty.
    let mut plan = now.plan_with(&PlanOptions::new().prune()).await.expect("a plan");
    for _ in 0..100 {
        if plan.left().next().is_none() {
            break;
        }
        sleep(Duration::from_millis(200)).await;
        plan = now.plan_with(&PlanOptions::new().prune()).await.expect("a plan");
    }
    let applied = now.apply(&plan).await.expect("it is applied");

    assert!(imported.is_exact(), "{imported}");
    let deleted: Vec<&str> = plan
        .changes()
        .filter_map(|step| match &step.action {
            Action::DeletePolicy { policy, .. } => Some(&**policy),
            _ => None,
        })
        .collect();
    assert_eq!(deleted, ["es-bus.events.accounting"], "{plan}");
    assert!(applied.is_complete(), "{:?}", applied.refused);
    let dlq = ("es-bus.events.projections.dlq".to_owned(), None);
    assert_eq!(policies(&now).await, [own(), dlq]);
    let after = now.plan_with(&PlanOptions::new().prune()).await.expect("a plan");
    assert_eq!(after.steps.len(), 0, "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_set_policies_is_told_and_runs_where_another_user_has_set_them() {
    let node = Node::shared();
    let vhost = node.vhost("policies-rights");
    let (admin, service) = (format!("{}-admin", vhost.name()), format!("{}-service", vhost.name()));
    let as_user = |user: &str, most: &'static str| {
        let url = vhost.url().replace("guest:guest", &format!("{user}:secret"));
        let management = node.management_url().replace("guest:guest", &format!("{user}:secret"));
        let builder = program(&vhost, "quorum", most).set("program", "none");
        builder.set("url", url).set("management_url", management)
    };
    let rights =
        bus(program(&vhost, "quorum", "5")).permissions().definitions(vhost.name(), &admin, &service);
    let mut definitions: Value = serde_json::from_str(&rights).expect("it is JSON");
    definitions["users"] = json!([
        { "name": admin, "password": "secret", "tags": "policymaker" },
        { "name": service, "password": "secret", "tags": "management" },
    ]);
    let dir = TempDir::new();
    let file = dir.path("permissions.json");
    fs::write(&file, definitions.to_string()).expect("it is written");
    block_in_place(|| node.rabbitmqctl(&["import_definitions", file.to_str().expect("a plain path")]));

    // Who declares and may not set the policies binds nothing: no event comes into a queue without its limits.
    let mixed = || as_user(&service, "6").set("url", vhost.url());
    let started = bus(mixed()).start().await.expect_err("it may not");
    let bindings_then = (vhost.queues().is_empty(), vhost.bindings());
    let plan = bus(mixed()).plan().await.expect("it may look");
    let applied = bus(mixed()).apply(&plan).await.expect_err("it may not");

    apply(&bus(as_user(&admin, "5"))).await;
    let plan = bus(as_user(&service, "6")).plan().await.expect("it may look");
    let refused = bus(as_user(&service, "6")).apply(&plan).await.expect_err("it may not");
    let running = run(as_user(&service, "6").set("declare", "passive")).await;
    stop(running).await;

    assert_eq!(bindings_then, (false, vec![]));
    for refused in [&refused, &started, &applied] {
        let Error::Topology(errors) = refused else { panic!("{refused:?}") };
        assert!(matches!(&errors[..], [DeclareError::Forbidden { what: "policy", .. }]), "{errors:?}");
    }
    let text = format!("{refused:?}");
    assert!(text.contains("`rabbitmqctl set_user_tags USER policymaker`"), "{text}");
    assert!(text.contains("declare = \"passive\""), "{text}");
    assert_eq!(policies(&bus(program(&vhost, "quorum", "5"))).await, [own()], "what is there stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_become_policies_by_a_migration_under_load() {
    let vhost = Node::shared().vhost("policies-migrated");
    let by_arguments = program(&vhost, "quorum", "500").set("limits_in", "arguments");
    apply(&bus(by_arguments)).await;
    let taken = fill(&vhost, 20).await;
    let shop = bus(program(&vhost, "quorum", "500"));

    let plan = shop.plan().await.expect("a plan");
    let options = MigrateOptions::new();
    let (migrated, more) = tokio::join!(shop.migrate(&options), fill(&vhost, 50));
    let after = shop.plan().await.expect("a plan");
    let (changed, even_more) = tokio::join!(apply_to(&vhost, "400"), fill(&vhost, 50));

    assert_eq!(plan.outcome(), Outcome::Conflict, "{plan}");
    migrated.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(after.is_exact(), "{after}");
    assert_eq!((taken, more, even_more, changed), (20, 50, 50, 1));
    // Nothing of it is lost; what was moved while it was published may be there twice.
    let is_all = |it: &es_bus_tests::QueueInfo| it.messages >= 120;
    block_in_place(|| eventually("all", || vhost.settled_queue("events.projections").filter(is_all)));
}

async fn apply_to(vhost: &Vhost, most: &'static str) -> usize {
    let bus = bus(program(vhost, "quorum", most));
    let plan = bus.plan().await.expect("a plan");
    bus.apply(&plan).await.expect("it is applied").done.len()
}
