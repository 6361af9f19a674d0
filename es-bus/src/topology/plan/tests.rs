//! Plans for brokers that were made by hand: what is missing, what differs, what is left over, and how it reads.

use std::time::Duration;

use super::*;
use crate::{
    message::{Headers, Value},
    model::{
        Arguments, BrokerInfo, Exchange, ExchangeKind, Observed, ObservedBinding, ObservedQueue, Queue,
        QueueKind, StreamOffset, Topology, View,
    },
    name::{ExchangeName, QueueName},
    topology::{
        StreamSettings,
        apply::apply,
        build,
        fixtures::{PLACED, SHIPPED, exchanges, group_with, handler, named_with},
    },
    transport::{Admin, Publication, Publish, memory::Memory},
};

/// What the program declares: one group, one retry queue, one dead-letter queue.
fn wanted() -> Topology {
    wanted_with(|_| {})
}

fn wanted_with(change: impl FnOnce(&mut crate::topology::GroupSettings)) -> Topology {
    let mut spec = handler("project", &["Order.OrderPlaced"], Some(&[PLACED]));
    spec.policy.retries = 1;
    let group = group_with(vec![spec], |settings| {
        settings.ladder = Vec::new();
        settings.crash_limit = None;
        settings.unknown_wait.delay = Duration::from_secs(1);
        change(settings);
    });
    build(&[group], &[], &exchanges()).unwrap()
}

/// What an earlier version declared: another binding, and another group.
fn earlier() -> Topology {
    let bare = |settings: &mut crate::topology::GroupSettings| {
        settings.ladder = Vec::new();
        settings.crash_limit = None;
        settings.unknown_wait.delay = Duration::from_secs(1);
    };
    let mut project =
        handler("project", &["Order.OrderPlaced", "Order.OrderShipped"], Some(&[PLACED, SHIPPED]));
    project.policy.retries = 1;
    let mut record = handler("record", &["Order.*"], Some(&[PLACED]));
    record.policy.retries = 1;
    let groups = [named_with("projections", vec![project], bare), named_with("audit", vec![record], bare)];
    build(&groups, &[], &exchanges()).unwrap()
}

/// A server that is at a topology, seen through its management API.
async fn at(topology: &Topology) -> Observed {
    let broker = Memory::new();
    apply(&broker, topology).await.unwrap();
    let mut observed = broker.observe(&[], &[]).await.unwrap();
    observed.view = View::Management { address: "http://ops@rabbit:15672".to_owned() };
    observed.broker = Some(BrokerInfo {
        product: "RabbitMQ".to_owned(),
        version: "3.10.8".to_owned(),
        erlang: "25.2.3".to_owned(),
        plugins: None,
    });
    // As JSON has it: in one width.
    for queue in observed.queues.values_mut() {
        let settings = queue.settings.as_mut().unwrap();
        settings.arguments =
            crate::model::json::table(&crate::model::json::of_table(&settings.arguments).unwrap());
    }
    observed
}

fn plan(wanted: &Topology, observed: &Observed, owned: Option<&Topology>, options: &PlanOptions) -> Plan {
    let mut plan = decide(wanted, observed, owned, options);
    plan.broker = "amqp://shop@rabbit:5672/".to_owned();
    plan
}

fn bare(wanted: &Topology, observed: &Observed) -> Plan {
    plan(wanted, observed, None, &PlanOptions::new())
}

fn queue<'a>(observed: &'a mut Observed, name: &str) -> &'a mut ObservedQueue {
    observed.queues.get_mut(name).unwrap()
}

fn pruning() -> PlanOptions {
    PlanOptions::new().prune()
}

/// The changes of a plan, in a word each.
fn changes(plan: &Plan) -> Vec<String> {
    let line = |step: &Step| match &step.action {
        Action::Unbind(it) => format!("unbind {} {}", it.queue, it.key),
        Action::DeleteQueue { queue, discard, .. } => {
            format!("delete {queue}{}", if *discard { " and all" } else { "" })
        }
        Action::DeleteExchange(name) => format!("delete {name}"),
        other => format!("{other:?}"),
    };
    plan.changes().map(line).collect()
}

/// Why a queue is left.
fn why_left(plan: &Plan, queue: &str) -> String {
    let mut left = plan.left();
    let step = left.find(|step| step.action == Action::Leave(Left::Queue(queue.to_owned())));
    step.map_or_else(|| "it is not left".to_owned(), |step| step.reason.clone())
}

#[tokio::test]
async fn on_an_empty_broker_is_everything_in_the_order_in_which_it_is_done() {
    let plan = bare(&wanted(), &at(&Topology::new()).await);

    assert_eq!((plan.outcome(), plan.exit_code()), (Outcome::Changes, 2));
    insta::assert_snapshot!(plan);
}

#[tokio::test]
async fn is_nothing_where_the_broker_is_at_the_topology() {
    let plan = bare(&wanted(), &at(&wanted()).await);

    assert_eq!((plan.outcome(), plan.exit_code()), (Outcome::Nothing, 0));
    insta::assert_snapshot!(plan, @r"
    Plan for amqp://shop@rabbit:5672/: nothing to do, it has what is declared
    RabbitMQ 3.10.8 on Erlang 25.2.3, seen through http://ops@rabbit:15672
    ");
}

#[tokio::test]
async fn what_differs_is_told_with_both_values_and_stands_in_the_way() {
    let limited = wanted_with(|settings| settings.max_length = Some(10));
    let mut observed =
        at(&wanted_with(|settings| settings.message_ttl = Some(Duration::from_secs(60)))).await;
    queue(&mut observed, "events.projections").ready = Some(3);
    observed.exchanges.get_mut("events").unwrap().settings.as_mut().unwrap().kind = "fanout".to_owned();

    let plan = bare(&limited, &observed);

    assert_eq!((plan.outcome(), plan.exit_code()), (Outcome::Conflict, 3));
    insta::assert_snapshot!(plan);
    insta::assert_snapshot!(plan.to_json());
}

#[tokio::test]
async fn a_binding_by_hand_is_told_and_left() {
    let mut observed = at(&wanted()).await;
    let by_hand = |queue: &str| ObservedBinding {
        source: "events".to_owned(),
        destination: queue.to_owned(),
        to_exchange: false,
        key: "#".to_owned(),
        arguments: [("team", "ops")].into_iter().collect(),
    };
    let bindings = observed.bindings.as_mut().unwrap();
    bindings.push(by_hand("events.projections"));
    bindings.push(by_hand("somebody.elses"));
    bindings.push(ObservedBinding { to_exchange: true, ..by_hand("events.projections.in") });

    let plan = bare(&wanted(), &observed);

    assert_eq!(plan.outcome(), Outcome::Nothing, "applying it would do nothing");
    insta::assert_snapshot!(plan);
}

#[tokio::test]
async fn over_amqp_alone_what_exists_cannot_be_compared() {
    let broker = Memory::new();
    let mut part = Topology::new();
    part.add_exchange(Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Topic)).unwrap();
    part.add_queue(Queue::durable(QueueName::new("events.projections").unwrap(), QueueKind::Classic))
        .unwrap();
    apply(&broker, &part).await.unwrap();
    let mut observed = Observed::new(View::Amqp);
    for name in ["events", "events.projections.in"] {
        observed.exchanges.insert(name.to_owned(), Default::default());
    }
    let full = ObservedQueue { ready: Some(1), consumers: Some(0), ..ObservedQueue::default() };
    observed.queues.insert("events.projections".to_owned(), full);

    let plan = bare(&wanted(), &observed);

    assert_eq!(plan.outcome(), Outcome::Changes);
    assert_eq!(plan.unverified().count(), 5, "two exchanges, a queue, and its bindings on these");
    insta::assert_snapshot!(plan);
}

#[tokio::test]
async fn what_is_retired_is_unbound_once() {
    let retired = wanted_with(|settings| settings.retired = vec!["Order.OrderShipped".to_owned()]);
    let mut observed = at(&wanted()).await;
    assert_eq!(bare(&retired, &observed).outcome(), Outcome::Nothing, "it is not bound");

    observed.bindings.as_mut().unwrap().push(ObservedBinding {
        source: "events".to_owned(),
        destination: "events.projections".to_owned(),
        to_exchange: false,
        key: "Order.OrderShipped".to_owned(),
        arguments: Headers::new(),
    });
    let plan = bare(&retired, &observed);

    assert_eq!(changes(&plan), ["unbind events.projections Order.OrderShipped"]);
    assert_eq!(plan.left().count(), 0, "it is not told twice");
}

#[tokio::test]
async fn queues_of_one_process_are_no_part_of_it() {
    let exclusive = wanted_with(|settings| {
        settings.exclusive = Some("a1b2".to_owned());
        settings.kind = QueueKind::Classic;
    });

    let plan = bare(&exclusive, &at(&Topology::new()).await);

    let named = format!("{plan}");
    assert!(!named.contains("a1b2") && named.contains("exchange \"events\""), "{named}");
}

#[tokio::test]
async fn what_an_earlier_version_declared_is_told_and_pruned_when_asked() {
    let observed = at(&earlier()).await;

    let asked_nothing = plan(&wanted(), &observed, Some(&earlier()), &PlanOptions::new());
    let pruned = plan(&wanted(), &observed, Some(&earlier()), &pruning());

    assert_eq!(asked_nothing.outcome(), Outcome::Nothing);
    insta::assert_snapshot!("left_over", asked_nothing);
    assert_eq!(pruned.outcome(), Outcome::Changes);
    insta::assert_snapshot!("pruned", pruned);
    // Nothing that is declared goes, and without a record nothing at all.
    assert_eq!(changes(&plan(&earlier(), &observed, Some(&earlier()), &pruning())), Vec::<String>::new());
    assert_eq!(changes(&plan(&wanted(), &observed, None, &pruning())), Vec::<String>::new());
    assert_eq!(changes(&plan(&wanted(), &observed, Some(&wanted()), &pruning())), Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_that_is_in_use_stays_and_with_it_what_it_needs() {
    const AUDIT: &str = "events.audit";
    const RETRY: &str = "events.audit.retry.1s";
    const DLQ: &str = "events.audit.dlq";
    let all = ["delete events.audit.retry.1s", "delete events.audit", "delete events.audit.dlq"];
    let exchanges = ["delete events.audit.in", "delete events.audit.retry"];
    let every: Vec<&str> = all.iter().chain(&exchanges).copied().collect();
    struct Case {
        what: &'static str,
        change: fn(&mut Observed),
        discard: &'static [&'static str],
        deleted: Vec<&'static str>,
        left: (&'static str, &'static str),
    }
    let cases = [
        Case {
            what: "idle",
            change: |_| {},
            discard: &[],
            deleted: every.clone(),
            left: (AUDIT, "it is not left"),
        },
        Case {
            what: "a message in the retry queue comes back to the work queue",
            change: |it| queue(it, RETRY).ready = Some(1),
            discard: &[],
            deleted: vec![],
            left: (AUDIT, "\"events.audit.retry.1s\" stays, and sends dead letters to it"),
        },
        Case {
            what: "its reason",
            change: |it| queue(it, RETRY).ready = Some(1),
            discard: &[],
            deleted: vec![],
            left: (RETRY, "it has 1 message: drain it, or allow its loss by name"),
        },
        Case {
            what: "a message that may go",
            change: |it| queue(it, RETRY).ready = Some(1),
            discard: &[RETRY],
            deleted: every
                .iter()
                .map(|it| if it.contains("1s") { "delete events.audit.retry.1s and all" } else { it })
                .collect(),
            left: (RETRY, "it is not left"),
        },
        Case {
            what: "a dead letter",
            change: |it| queue(it, DLQ).ready = Some(2),
            discard: &[],
            deleted: vec![all[0], all[1], exchanges[0], exchanges[1]],
            left: (DLQ, "it has 2 messages"),
        },
        Case {
            what: "a message in hand",
            change: |it| queue(it, AUDIT).unacknowledged = Some(1),
            discard: &[],
            deleted: vec![],
            left: (AUDIT, "it has 1 message"),
        },
        Case {
            what: "a consumer, also where messages may go",
            change: |it| queue(it, AUDIT).consumers = Some(1),
            discard: &[AUDIT],
            deleted: vec![],
            left: (AUDIT, "it has 1 consumer: stop who reads it first"),
        },
        Case {
            what: "a dead letter on its way that no count has",
            change: |it| queue(it, AUDIT).dead_letters = Some(1),
            discard: &[],
            deleted: vec![],
            left: (AUDIT, "1 dead letter is on the way out of it"),
        },
        Case {
            what: "counts that are not told yet",
            change: |it| queue(it, AUDIT).ready = None,
            discard: &[],
            deleted: vec![],
            left: (AUDIT, "the broker does not tell yet"),
        },
        Case {
            what: "a node that is down",
            change: |it| queue(it, AUDIT).trouble = Some("its state is \"down\"".to_owned()),
            discard: &[],
            deleted: vec![],
            left: (AUDIT, "it cannot be looked into: its state is \"down\""),
        },
    ];
    for Case { what, change, discard, deleted, left: (name, reason) } in cases {
        let mut observed = at(&earlier()).await;
        change(&mut observed);
        let options = discard.iter().fold(pruning(), |options, name| options.discard(*name));

        let plan = plan(&wanted(), &observed, Some(&earlier()), &options);

        let mut deletions = changes(&plan);
        deletions.retain(|line| line.starts_with("delete"));
        assert_eq!(deletions, deleted, "{what}");
        let found = why_left(&plan, name);
        assert!(found.contains(reason), "{what}: {found}");
    }
}

#[tokio::test]
async fn over_amqp_alone_a_queue_that_may_hide_dead_letters_stays_unless_told() {
    let mut observed = Observed::new(View::Amqp);
    for exchange in earlier().exchanges() {
        observed.exchanges.insert(exchange.name.to_string(), Default::default());
    }
    for queue in earlier().queues() {
        let idle = ObservedQueue { ready: Some(0), consumers: Some(0), ..ObservedQueue::default() };
        observed.queues.insert(queue.name.to_string(), idle);
    }

    let careful = plan(&wanted(), &observed, Some(&earlier()), &pruning());
    let told = pruning().discard("events.audit").discard("events.audit.retry.1s");
    let told = plan(&wanted(), &observed, Some(&earlier()), &told);

    assert!(why_left(&careful, "events.audit").contains("may keep dead letters that no count shows"));
    let deletions = |plan: &Plan| -> Vec<String> {
        changes(plan).into_iter().filter(|line| line.starts_with("delete")).collect()
    };
    assert_eq!(
        deletions(&careful),
        Vec::<String>::new(),
        "the dead-letter queue is sent to by one that stays"
    );
    // A binding that cannot be seen is gone once it was unbound.
    let binding = earlier().bindings().find(|it| it.key == "Order.OrderShipped").unwrap().clone();
    let left = Applied::default().forget(&told, &earlier(), &wanted());
    assert!(!left.bindings().any(|it| *it == binding));
    assert_eq!(
        deletions(&told),
        [
            "delete events.audit.retry.1s and all",
            "delete events.audit and all",
            "delete events.audit.dlq",
            "delete events.audit.in",
            "delete events.audit.retry"
        ]
    );
}

#[tokio::test]
async fn warns_of_policies_and_of_what_an_upgrade_breaks() {
    let mut observed = at(&wanted()).await;
    let sets = |queue: &mut ObservedQueue, name: &str, value: Value| {
        queue.policy = Some("ops".to_owned());
        queue.policy_sets.insert(name.to_owned(), value);
    };
    sets(queue(&mut observed, "events.projections"), "message-ttl", Value::I64(1000));
    // Lower than what is declared, and higher.
    sets(queue(&mut observed, "events.projections.dlq"), "delivery-limit", Value::I64(5));
    sets(queue(&mut observed, "events.projections.retry.1s"), "delivery-limit", Value::I64(2_000_000));
    observed.deprecated = Some(vec!["global_qos".to_owned(), "new_one".to_owned()]);
    let transient = wanted_with(|settings| {
        settings.durable = false;
        settings.kind = QueueKind::Classic;
        settings.dlq_kind = QueueKind::Classic;
    });
    let lines = |plan: &Plan| -> String {
        plan.warnings.iter().map(|it| format!("{}: {}\n", it.about, it.text)).collect()
    };
    let mut old = at(&transient).await;
    old.broker.as_mut().unwrap().version = "3.9.1".to_owned();
    sets(queue(&mut old, "events.projections"), "ha-mode", Value::from("all"));
    let mut unlimited = at(&wanted()).await;
    let found = queue(&mut unlimited, "events.projections.dlq").settings.as_mut().unwrap();
    found.arguments.remove("x-delivery-limit");

    insta::assert_snapshot!(format!(
        "{}\n{}\n{}",
        lines(&bare(&wanted(), &observed)),
        lines(&bare(&transient, &old)),
        lines(&bare(&wanted(), &unlimited))
    ));
}

#[tokio::test]
async fn a_plan_that_is_applied_leaves_nothing_to_do() {
    let broker = Memory::new();
    apply(&broker, &earlier()).await.unwrap();
    let first = bare(&Topology::new(), &broker.observe(&[], &[]).await.unwrap());
    assert_eq!(first.outcome(), Outcome::Nothing);
    let mut eyes = Eyes::Transport { because: None };
    let look = async |eyes: &mut Eyes| eyes.observe(&broker, &[], &[]).await.unwrap();
    let pruned = plan(&wanted(), &look(&mut eyes).await, Some(&earlier()), &pruning());

    let applied = perform(&broker, &pruned, &wanted(), &eyes).await.unwrap();
    let again = perform(&broker, &pruned, &wanted(), &eyes).await.unwrap();

    assert!(applied.is_complete() && again.is_complete(), "what is done is done: {again:?}");
    assert_eq!(applied.done.len(), pruned.changes().count());
    let after = plan(&wanted(), &look(&mut eyes).await, Some(&earlier()), &pruning());
    assert_eq!((after.outcome(), after.steps.len()), (Outcome::Nothing, 0), "{after}");
    assert_eq!(applied.forget(&pruned, &earlier(), &wanted()).without(&wanted()), Topology::new());
}

#[tokio::test]
async fn a_queue_that_is_used_by_the_time_of_the_deletion_stays() {
    let broker = Memory::new();
    apply(&broker, &earlier()).await.unwrap();
    let mut eyes = Eyes::Transport { because: None };
    let observed = eyes.observe(&broker, &[], &[]).await.unwrap();
    let pruned = plan(&wanted(), &observed, Some(&earlier()), &pruning());
    let late = Publication {
        exchange: ExchangeName::default_exchange(),
        routing_key: "events.audit".into(),
        message: Default::default(),
        mandatory: true,
        lane: None,
    };
    broker.publish(&late).await.unwrap();

    let applied = perform(&broker, &pruned, &wanted(), &eyes).await.unwrap();

    let refused: Vec<&str> = applied.refused.iter().map(|(_, reason)| &**reason).collect();
    let behind = "something that was to go before it stays";
    assert_eq!(refused, ["it has messages by now", behind, behind, behind]);
    let audit = QueueName::new("events.audit").unwrap();
    assert_eq!(broker.queue_status(&audit).await.unwrap().unwrap().messages, 1);
    let left = applied.forget(&pruned, &earlier(), &wanted());
    assert!(left.queue("events.audit").is_some() && left.queue("events.audit.retry.1s").is_none());
}

#[tokio::test]
async fn a_plan_with_a_conflict_changes_nothing() {
    let broker = Memory::new();
    let events = ExchangeName::new("events").unwrap();
    broker.declare_exchange(&Exchange::durable(events, ExchangeKind::Fanout)).await.unwrap();
    let mut eyes = Eyes::Transport { because: None };
    let observed = eyes.observe(&broker, &[], &[]).await.unwrap();
    let plan = bare(&wanted(), &observed);

    let error = perform(&broker, &plan, &wanted(), &eyes).await.unwrap_err();

    let PerformError::Refused(error) = error else { panic!("{error:?}") };
    let told: Vec<String> = error.errors.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["exchange \"events\" exists with other settings: type is fanout, not topic"]);
    let after = eyes.observe(&broker, &[], &[]).await.unwrap();
    assert_eq!((after.exchanges.len(), after.queues.len()), (1, 0));
}

#[tokio::test]
async fn a_program_that_runs_is_told_what_is_not_as_declared_and_not_what_it_left() {
    let mut observed = at(&wanted()).await;
    let bound = |key: &str| ObservedBinding {
        source: "events".to_owned(),
        destination: "events.projections".to_owned(),
        to_exchange: false,
        key: key.to_owned(),
        arguments: Headers::new(),
    };
    let bindings = observed.bindings.as_mut().unwrap();
    bindings.retain(|it| it.key != "Order.OrderPlaced");
    bindings.extend([bound("#"), bound("Order.OrderShipped"), bound("Order.Gone")]);
    observed.exchanges.remove("events_dlq");
    let settings = queue(&mut observed, "events.projections").settings.as_mut().unwrap();
    settings.arguments.insert("x-max-length", Value::I64(500));
    let mut wanted = wanted();
    let gone = wanted.bindings().find(|it| it.key == "Order.OrderPlaced").unwrap().clone();
    wanted.add_unbound(crate::model::Binding { key: "Order.Gone".into(), ..gone });

    let told = |owned: &Topology| -> String {
        let plan = plan(&wanted, &observed, Some(owned), &PlanOptions::new());
        let told = deviations(&plan);
        told.iter().map(|it| format!("{:8} {}\n", it.kind.as_str(), it.text)).collect()
    };

    insta::assert_snapshot!(told(&Topology::new()));
    let left = told(&earlier());
    assert!(!left.contains("Order.OrderShipped") && left.contains("by \"#\""), "{left}");
    let nothing = plan(&wanted, &Observed::new(View::Amqp), None, &PlanOptions::new());
    assert!(deviations(&nothing).iter().all(|it| it.kind == DriftKind::Missing));
}

/// A consistent-hash exchange with two queues, of which one has this weight.
fn shares(weight: &str) -> Topology {
    let shards = ExchangeName::new("shards").unwrap();
    let arguments = [("hash-header", "aggregate_id")].into_iter().collect();
    let exchange = Exchange { arguments, ..Exchange::durable(shards.clone(), ExchangeKind::ConsistentHash) };
    let mut topology = Topology::new();
    topology.add_exchange(exchange).unwrap();
    for (name, weight) in [("left", weight), ("right", "1")] {
        let queue = QueueName::new(name).unwrap();
        topology.add_queue(Queue::durable(queue.clone(), QueueKind::Classic)).unwrap();
        topology.add_binding(crate::model::Binding::by_key(shards.clone(), queue, weight));
    }
    topology
}

#[tokio::test]
async fn a_plugin_that_is_not_enabled_is_in_the_way_and_one_that_cannot_be_seen_is_not() {
    let mut observed = at(&Topology::new()).await;
    let outcome = |observed: &Observed| {
        let plan = decide(&shares("1"), observed, None, &PlanOptions::new());
        (plan.outcome(), plan.to_string())
    };
    assert_eq!(outcome(&observed).0, Outcome::Changes);
    let mut plugins = |enabled: &[&str]| {
        let broker = observed.broker.as_mut().unwrap();
        broker.plugins = Some(enabled.iter().map(|plugin| (*plugin).to_owned()).collect());
        outcome(&observed)
    };

    let (without, text) = plugins(&["rabbitmq_management"]);
    assert_eq!(without, Outcome::Conflict);
    assert!(text.contains("exchange \"shards\" takes a plugin that is not enabled"), "{text}");
    assert!(text.contains("`rabbitmq-plugins enable rabbitmq_consistent_hash_exchange`"), "{text}");
    assert_eq!(plugins(&["rabbitmq_consistent_hash_exchange", "rabbitmq_management"]).0, Outcome::Changes);
}

#[tokio::test]
async fn another_hash_is_a_difference_although_the_broker_takes_it_for_the_same() {
    let mut other = shares("1");
    let there = at(&other).await;
    other = Topology::new();
    let mut exchange = shares("1").exchange("shards").unwrap().clone();
    exchange.arguments = [("hash-property", "message_id")].into_iter().collect();
    other.add_exchange(exchange).unwrap();

    let plan = decide(&other, &there, None, &PlanOptions::new());

    let text = plan.to_string();
    assert_eq!(plan.outcome(), Outcome::Conflict, "{text}");
    assert!(text.contains("hash-header    this program: not set, the broker: aggregate_id"), "{text}");
}

#[tokio::test]
async fn a_weight_that_changed_is_made_anew_from_wherever_it_was_left() {
    use crate::topology::plan::{look::Eyes, perform::perform};

    let (old, new) = (shares("1"), shares("5"));
    let of_left = |bindings: &[ObservedBinding]| {
        let left = bindings.iter().filter(|binding| binding.destination == "left");
        left.map(|binding| binding.key.clone()).collect::<Vec<_>>()
    };
    // A start of the new version came first, or did not; or the plan ended between its steps.
    for before in [&["1"] as &[_], &["1", "5"], &[]] {
        let broker = Memory::new();
        apply(&broker, &old).await.unwrap();
        let left = new.bindings().next().unwrap();
        let old_left = old.bindings().next().unwrap();
        broker.unbind(old_left).await.unwrap();
        for weight in before {
            broker.bind(&crate::model::Binding { key: (*weight).to_owned(), ..left.clone() }).await.unwrap();
        }
        let observed = broker.observe(&[], &[]).await.unwrap();

        let plan = decide(&new, &observed, Some(&old), &PlanOptions::new().prune());
        perform(&broker, &plan, &new, &Eyes::Transport { because: None }).await.unwrap();

        let bindings = broker.observe(&[], &[]).await.unwrap().bindings.unwrap();
        assert_eq!(of_left(&bindings), ["5"], "{before:?}");
        for number in 0..60 {
            let mut message = crate::message::Message::default();
            message.headers.insert("aggregate_id", format!("order-{number}"));
            let publication = Publication {
                exchange: ExchangeName::new("shards").unwrap(),
                routing_key: "Order.OrderPlaced".into(),
                message,
                mandatory: true,
                lane: None,
            };
            broker.publish(&publication).await.unwrap();
        }
        let share = broker.queue_status(&QueueName::new("left").unwrap()).await.unwrap().unwrap().messages;
        assert!(share > 35, "five of six parts: {share} ({before:?})");
        assert_eq!(
            decide(&new, &broker.observe(&[], &[]).await.unwrap(), Some(&new), &PlanOptions::new()).steps,
            []
        );
    }
}

#[tokio::test]
async fn the_weight_of_a_queue_that_is_the_only_one_at_its_exchange_is_not_made_anew() {
    let alone = |weight: &str| {
        let (all, mut alone) = (shares(weight), Topology::new());
        alone.add_exchange(all.exchange("shards").unwrap().clone()).unwrap();
        alone.add_queue(all.queue("left").unwrap().clone()).unwrap();
        alone.add_binding(all.bindings().next().unwrap().clone());
        alone
    };
    let (old, new) = (alone("1"), alone("5"));

    let plan = decide(&new, &at(&old).await, Some(&old), &pruning());

    assert!(!plan.changes().any(|step| matches!(step.action, Action::Unbind(_))), "{plan}");
    assert!(plan.left().any(|step| step.reason.contains("its queue is the only one")), "{plan}");
}

#[tokio::test]
async fn a_stream_stays_however_many_messages_are_counted_unless_its_loss_is_allowed() {
    let with_stream = wanted_with(|settings| {
        settings.stream = Some(StreamSettings {
            offset: StreamOffset::First,
            max_age: None,
            max_length_bytes: None,
            arguments: Arguments::default(),
        });
    });
    let observed = at(&with_stream).await;
    let name = "events.projections.stream";

    let kept = plan(&wanted(), &observed, Some(&with_stream), &pruning());
    let gone = plan(&wanted(), &observed, Some(&with_stream), &pruning().discard(name));

    assert!(
        why_left(&kept, name).contains("it is a stream, and keeps what was read"),
        "{}",
        why_left(&kept, name)
    );
    assert!(changes(&gone).contains(&format!("delete {name} and all")), "{:?}", changes(&gone));
}
