//! Consistent-hash exchanges on a real broker: the plugin that has them, and whose share an aggregate is.

use std::collections::{BTreeMap, BTreeSet};

use es_bus::{Error, Registry, State, event, exchange, group, handler, plan::Outcome};
use es_bus_tests::Node;
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use crate::support::{Journal, builder, run, soon, stop};

#[exchange(name = "shop")]
struct Shop;
#[exchange(name = "shards", kind = "consistent-hash", from(Shop, "Order.#"))]
struct Shards;

#[event(aggregate = "Order", aggregate_id = order, exchange = Shop)]
#[derive(Serialize, Deserialize)]
struct Counted {
    order: String,
    number: u32,
}

macro_rules! shares {
    ($($group:ident($name:literal, $weight:literal) $handler:ident;)+) => {$(
        #[group(name = $name, exchange = Shards, weight = $weight)]
        struct $group;

        #[handler(group = $group)]
        async fn $handler(event: Counted, State(journal): State<Journal>) {
            journal.note(format!("{} {} {}", $name, event.order, event.number));
        }
    )+};
}

shares! {
    First("first", 1) first;
    Second("second", 1) second;
    Third("third", 4) third;
}

const ORDERS: usize = 120;
const EACH: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_plugin_that_is_said_and_with_it_each_aggregate_comes_to_one_group() {
    let mut node = block_in_place(Node::start_bare);
    let journal = Journal::default();
    let program = |management: bool| {
        let registry = Registry::new().handler::<first>().handler::<second>().handler::<third>();
        let builder = builder(node.url(), registry).state(journal.clone());
        if management { builder.set("management_url", node.management_url()) } else { builder }
    };

    let error = program(false).build().expect("it is valid").start().await.expect_err("there is no plugin");
    assert!(matches!(error, Error::Topology(_)), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("exchange \"shards\" takes a plugin that is not enabled"), "{text}");
    assert!(text.contains("rabbitmq-plugins enable rabbitmq_consistent_hash_exchange"), "{text}");
    let plan = program(true).build().expect("it is valid").plan().await.expect("a plan");
    assert_eq!(plan.outcome(), Outcome::Conflict);
    assert!(plan.to_string().contains("rabbitmq-plugins enable rabbitmq_consistent_hash_exchange"), "{plan}");

    let (with_plugin, with_management) = (program(false), program(true));
    block_in_place(|| node.enable_plugin("rabbitmq_consistent_hash_exchange"));
    let handle = run(with_plugin).await;
    for number in 0..EACH {
        for order in 0..ORDERS {
            handle
                .publisher()
                .publish(&Counted { order: format!("order-{order}"), number })
                .await
                .expect("a group takes it");
        }
    }
    let lines = soon("every event", || {
        let lines = journal.lines();
        (lines.len() >= ORDERS * EACH as usize).then_some(lines)
    });
    stop(handle).await;

    let mut orders: BTreeMap<&str, (BTreeSet<&str>, Vec<&str>)> = BTreeMap::new();
    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        let [group, order, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (groups, numbers) = orders.entry(order).or_default();
        groups.insert(group);
        numbers.push(number);
        *shares.entry(group).or_default() += 1;
    }
    assert_eq!(orders.len(), ORDERS);
    for (order, (groups, numbers)) in &orders {
        assert_eq!((groups.len(), &numbers[..]), (1, &["0", "1", "2"][..]), "{order} came to {groups:?}");
    }
    let third = shares["third"];
    assert!(shares.len() == 3 && (180..300).contains(&third), "two thirds of 360: {shares:?}");
    let plan = with_management.build().expect("it is valid").plan().await.expect("a plan");
    assert_eq!(plan.outcome(), Outcome::Nothing, "{plan}");
}
