//! A plan says what a deploy changes on a real broker, and does nothing else; what is applied leaves nothing to do.

use std::sync::Arc;

use es_bus::{
    Bus, BusBuilder, Error, Registry, handler,
    model::Binding,
    name::{ExchangeName, QueueName},
    plan::{Action, Outcome, Plan, PlanOptions},
    transport::{Admin as _, Consume as _, ConsumeRequest, Settlement, Transport as _},
};
use es_bus_tests::{Node, Vhost};
use insta::assert_snapshot;
use serde_json::json;
use tokio::task::block_in_place;

use crate::support::{
    InvoiceSent, Launch, Look, OrderPlaced, OrderShipped, TempDir, builder, connect, publisher, soon, stop,
};

#[handler(group = "projections", retries = 1)]
async fn project(_order: OrderPlaced) {}

#[handler(group = "projections", retries = 1, bind = "*.OrderShipped")]
async fn project_shipment(_shipment: OrderShipped) {}

#[handler(group = "accounting", bind = "Invoice.#", retries = 0)]
async fn book(_invoice: InvoiceSent) {}

/// What the program declares now, and what it declared before.
fn registry() -> Registry {
    Registry::new().handler::<project>()
}

fn earlier() -> Registry {
    registry().handler::<project_shipment>().handler::<book>()
}

fn program(vhost: &Vhost, registry: Registry) -> BusBuilder {
    let management = Node::shared().management_url();
    builder(vhost.url(), registry).set("management_url", management).set("program", "shop")
}

fn bus(vhost: &Vhost, registry: Registry) -> Bus {
    program(vhost, registry).build().unwrap_or_else(|error| panic!("{error:?}"))
}

async fn plan(bus: &Bus, options: &PlanOptions) -> Plan {
    bus.plan_with(options).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// The steps of a plan that are done, without what hangs on the node.
fn steps(plan: &Plan) -> String {
    let text = plan.to_string();
    text.split_once("\n\n").map_or_else(String::new, |(_, steps)| steps.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_empty_broker_is_everything_and_once_two_have_applied_it_nothing() {
    let vhost = Node::shared().vhost("plan-empty");
    let bus = bus(&vhost, earlier());

    let first = plan(&bus, &PlanOptions::new()).await;
    assert_eq!((vhost.exchanges(), vhost.queues()), (vec![], vec![]), "a plan changes nothing");
    let (one, two) = tokio::join!(bus.apply(&first), bus.apply(&first));
    let after = plan(&bus, &PlanOptions::new()).await;

    assert_eq!(first.outcome(), Outcome::Changes);
    let all = first.changes().count();
    assert_eq!((one.expect("applied").done.len(), two.expect("applied").done.len()), (all, all));
    assert_eq!((after.outcome(), after.steps.len()), (Outcome::Nothing, 0), "{after}");
    let version = after.info.as_ref().map(|info| info.version.clone()).unwrap_or_default();
    assert!(version.split('.').count() == 3, "{after}");
    assert_eq!(after.unseen, Vec::<String>::new());
    // What a start declares is the same.
    let started = Node::shared().vhost("plan-started");
    let handle = program(&started, earlier()).build().expect("it is valid").start().await.expect("it starts");
    stop(handle).await;
    let after = plan(&self::bus(&started, earlier()), &PlanOptions::new()).await;
    assert_eq!((after.outcome(), after.steps.len()), (Outcome::Nothing, 0), "{after}");
    // Over AMQP alone the same broker is not seen to differ, and not said to be compared.
    let blind = builder(vhost.url(), earlier()).build().expect("it is valid").plan().await.expect("a plan");
    assert_eq!(blind.outcome(), Outcome::Nothing);
    assert_eq!(blind.unverified().count(), all);
    assert!(blind.unseen.iter().any(|it| it.contains("set `management_url`")), "{blind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_differs_with_both_values_and_changes_nothing_then() {
    let vhost = Node::shared().vhost("plan-differs");
    let bus = bus(&vhost, registry());
    vhost.define(&json!({
        "exchanges": [{"name": "events", "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {}}],
        "queues": [{"name": "events.projections", "durable": true, "auto_delete": false, "arguments": {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "events_dlq",
            "x-dead-letter-routing-key": "events.projections",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": 1_000_000,
            "x-max-length": 500,
        }}],
        "bindings": [{"source": "events", "destination": "events.projections", "destination_type": "queue", "routing_key": "#", "arguments": {}}],
    }));

    let plan = plan(&bus, &PlanOptions::new()).await;
    let error = bus.apply(&plan).await.expect_err("it is in the way");

    assert_eq!(plan.exit_code(), 3);
    let told: Vec<&str> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Conflict { .. } => Some("conflict"),
            Action::Leave(_) => Some("left"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["conflict", "left"], "{plan}");
    let text = steps(&plan);
    assert!(text.contains("x-max-length  this program: not set, the broker: 500"), "{text}");
    assert!(text.contains("binding \"events\" -> \"events.projections\" by \"#\"\n"), "{text}");
    assert_snapshot!(format!("{error:?}").lines().take(4).collect::<Vec<_>>().join("\n"), @r#"
    the broker did not accept a declaration; what it has was left as it is:

      1. queue "events.projections" exists with other settings
           x-max-length  this program: not set, the broker: 500
    "#);
    assert_eq!(
        (vhost.exchanges().len(), vhost.queues().len()),
        (1, 1),
        "nothing was declared, not even the record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_what_an_earlier_version_declared_and_no_queue_with_a_message() {
    let vhost = Node::shared().vhost("plan-prune");
    let prune = PlanOptions::new().prune();
    let (before, now) = (bus(&vhost, earlier()), bus(&vhost, registry()));
    before.apply(&plan(&before, &PlanOptions::new()).await).await.expect("applied");
    let publisher = publisher(vhost.url(), Registry::new().event::<InvoiceSent>()).await;
    publisher.publisher().publish(&InvoiceSent { number: 1 }).await.expect("a queue takes it");
    stop(publisher).await;
    // Counts come from statistics.
    let is_full = |plan: &Plan| plan.left().any(|step| step.reason.contains("it has 1 message: drain it"));
    let mut first = plan(&now, &prune).await;
    while !is_full(&first) {
        first = plan(&now, &prune).await;
    }

    let applied = now.apply(&first).await.expect("applied");

    assert!(applied.is_complete(), "{:?}", applied.refused);
    let bindings: Vec<String> =
        vhost.bindings().into_iter().map(|it| format!("{} {}", it.destination, it.routing_key)).collect();
    assert!(!bindings.contains(&"events.projections *.OrderShipped".to_owned()), "{bindings:?}");
    assert!(bindings.contains(&"events.projections Order.OrderPlaced".to_owned()), "{bindings:?}");
    assert!(vhost.queue("events.accounting").is_some(), "it has a message");
    assert!(vhost.queue("events.accounting.dlq").is_some(), "and its dead letters go there");
    Look::at(&vhost).await.until("events.accounting", 1, 0).await;

    // A dead letter that no queue takes is kept where it was, and in no count of messages.
    let amqp = connect(&vhost).await;
    let (dlx, dlq) = (ExchangeName::new("events_dlq"), QueueName::new("events.accounting.dlq"));
    let binding = Binding::by_key(dlx.expect("a name"), dlq.expect("a name"), "events.accounting");
    amqp.unbind(&binding).await.expect("unbound");
    let request = ConsumeRequest {
        queue: QueueName::new("events.accounting").expect("a name"),
        tag: "reject".to_owned(),
        prefetch: 1,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = amqp.consume(request).await.expect("it is there");
    let delivery = consumer.next().await.expect("a message").expect("the broker lives");
    delivery.settle(Settlement::Reject);
    consumer.close().await;
    amqp.close().await;
    let hides =
        |plan: &Plan| plan.left().any(|step| step.reason.contains("1 dead letter is on the way out of it"));
    let mut second = plan(&now, &prune).await;
    while !hides(&second) {
        second = plan(&now, &prune).await;
    }
    let other = program(&vhost, registry()).set("program", "mail").build().expect("it is valid");
    assert_eq!(second.changes().count(), 0, "{second}");
    assert_eq!(plan(&other, &prune).await.outcome(), Outcome::Nothing, "it is not another program's");

    // Where it may be lost everything goes.
    let discard = PlanOptions::new().prune().discard("events.accounting");
    let applied = now.apply(&plan(&now, &discard).await).await.expect("applied");
    assert!(applied.is_complete(), "{:?}", applied.refused);
    let left: Vec<String> = vhost.queues().into_iter().map(|it| it.name).collect();
    assert_eq!(
        left,
        [
            "es-bus.owned.shop",
            "events.projections",
            "events.projections.dlq",
            "events.projections.retry.1s",
            "events.projections.retry.30s",
            "events.projections.suspects"
        ]
    );
    let after = plan(&now, &prune).await;
    assert_eq!(after.outcome(), Outcome::Nothing, "{after}");
    let exchanges: Vec<String> = vhost.exchanges().into_iter().map(|it| it.name).collect();
    assert_eq!(
        exchanges,
        ["billing", "events", "events.projections.in", "events.projections.retry", "events_dlq"]
    );
}

#[test]
fn whose_process_is_killed_over_it_is_made_anew_and_goes_on() {
    let node = Node::shared();
    let (vhost, dir) = (node.vhost("plan-killed"), Arc::new(TempDir::new()));
    let shop = |ladder: &str| {
        Launch::new(env!("CARGO_BIN_EXE_shop"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("ES_BUS_MANAGEMENT_URL", node.management_url())
            .env("ES_BUS_PROGRAM", "shop")
            .env("ES_BUS_RETRY_LADDER", ladder)
            .env("SHOP_DIR", dir.path(""))
            .arg("apply")
    };
    let queues = || vhost.queues().len();

    // While it declares: at its first queue, and when it has some.
    for least in [1, 12] {
        let applying = shop("30s, 5m").start();
        soon("some queues", || (queues() >= least).then_some(()));
        applying.kill9();
    }
    shop("30s, 5m").run().assert_code(0);
    let with_ladder = queues();
    // While it prunes the queues of the rungs that are gone, once it is known that these are empty.
    let gone = soon("queues that are gone", || {
        let mut applying = shop("none").start();
        let gone = soon("its plan, or its end", || {
            let gone = with_ladder - queues();
            (gone > 0 || !applying.is_running()).then_some(gone)
        });
        applying.kill9();
        (gone > 0).then_some(gone)
    });
    let left = soon("nothing that is left", || {
        shop("none").run().assert_code(0);
        let names = vhost.queues().into_iter().map(|queue| queue.name);
        let rungs = names.filter(|name| name.ends_with(".retry.300s"));
        (rungs.count() == 0).then(queues)
    });

    assert!(left + gone <= with_ladder && left < with_ladder, "{with_ladder} queues, then {left}");
    assert_eq!(vhost.queue("es-bus.owned.shop").map(|record| record.kind).as_deref(), Some("quorum"));
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_wrong_with_the_management_api_or_its_user() {
    let node = Node::shared();
    let vhost = node.vhost("plan-user");
    let user = vhost.name();
    block_in_place(|| {
        node.rabbitmqctl(&["add_user", user, "s3cret/@"]);
    });
    let management = node.management_url();
    let port = management.rsplit_once(':').expect("a port").1.trim_end_matches('/').to_owned();
    let error = async |url: String| {
        let bus = program(&vhost, registry()).set("management_url", url).build().expect("it is valid");
        let error = bus.plan().await.expect_err("it cannot be looked at");
        assert!(matches!(error, Error::Management(_)), "{error:?}");
        let text = format!("{error:?}");
        assert!(!text.contains("s3cret"), "{text}");
        // RabbitMQ 4 says the first of its words otherwise.
        let text = text.replace(": Not_Authorized;", ": Login failed;");
        text.replace(user, "USER").replace(&port, "PORT")
    };

    let mut report = Vec::new();
    report.push(error(format!("http://{user}:wrong@127.0.0.1:{port}")).await);
    report.push(error(format!("http://{user}:s3cret%2F%40@127.0.0.1:{port}")).await);
    block_in_place(|| node.rabbitmqctl(&["set_user_tags", user, "management"]));
    report.push(error(format!("http://{user}:s3cret%2F%40@127.0.0.1:{port}")).await);
    report.push(
        error(vhost.url().replace("amqp://", "http://").rsplit_once('/').expect("a path").0.to_owned()).await,
    );
    block_in_place(|| node.rabbitmqctl(&["set_permissions", "-p", vhost.name(), user, "^$", "^$", ".*"]));
    let bus = program(&vhost, registry())
        .set("management_url", format!("http://{user}:s3cret%2F%40@127.0.0.1:{port}"));
    let seen = bus.build().expect("it is valid").observe().await.expect("it may look");

    assert!(seen.bindings.is_some());
    assert!(seen.unseen.iter().any(|it| it.contains("monitoring")), "plugins: {:?}", seen.unseen);
    assert_snapshot!(report.join("\n").replace(&node.port().to_string(), "AMQP"));
    block_in_place(|| node.rabbitmqctl(&["delete_user", user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_over_amqp_alone_only_what_it_is_told_may_be_lost() {
    let vhost = Node::shared().vhost("plan-blind");
    let blind =
        |registry| program(&vhost, registry).set("management_url", "none").build().expect("it is valid");
    let (before, now) = (blind(earlier()), blind(registry()));
    before.apply(&plan(&before, &PlanOptions::new()).await).await.expect("applied");

    let careful = plan(&now, &PlanOptions::new().prune()).await;
    now.apply(&careful).await.expect("applied");
    let queues: Vec<String> = vhost.queues().into_iter().map(|it| it.name).collect();
    let accounting: Vec<&String> = queues.iter().filter(|name| name.contains("accounting")).collect();
    let told =
        accounting.iter().fold(PlanOptions::new().prune(), |options, name| options.discard(name.as_str()));
    let applied = now.apply(&plan(&now, &told).await).await.expect("applied");

    assert_eq!(accounting.len(), 4, "{careful}");
    let may_hide = "it may keep dead letters that no count shows over AMQP";
    assert!(careful.left().any(|step| step.reason.contains(may_hide)), "{careful}");
    assert!(applied.is_complete() && applied.done.len() >= 4, "{applied:?}");
    let bindings = vhost.bindings();
    assert!(!bindings.iter().any(|it| it.routing_key == "*.OrderShipped"), "{bindings:?}");
    assert!(bindings.iter().any(|it| it.routing_key == "Order.OrderPlaced"), "{bindings:?}");
    assert!(!vhost.queues().iter().any(|it| it.name.contains("accounting")));
    let after = plan(&now, &PlanOptions::new().prune()).await;
    assert_eq!(after.outcome(), Outcome::Nothing);
    assert!(
        after.left().all(|step| step.reason.contains("whether others publish")),
        "it is forgotten: {after}"
    );
}
