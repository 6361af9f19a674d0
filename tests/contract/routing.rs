//! Which queues a message goes to.

use std::collections::BTreeMap;

use es_bus::{
    message::{Headers, Value},
    model::{Binding, Exchange, ExchangeBinding, ExchangeKind},
    name::{ExchangeName, QueueName},
    topic,
    transport::{DeclareError, Publication, PublishError},
};

use super::{Fixture, publication, text};

pub(crate) async fn direct_compares_the_key(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Direct).await;
    let queues = bound(fixture, &events, &["Order.Placed", "Order.*", "#"]).await;

    for key in ["Order.Placed", "Order.*"] {
        fixture.publish_to(&events, key, key).await.expect("one queue is bound to it");
    }

    assert_eq!(fixture.contents(&queues["Order.Placed"]).await, ["Order.Placed"]);
    assert_eq!(fixture.contents(&queues["Order.*"]).await, ["Order.*"], "wildcards mean nothing here");
    assert!(fixture.contents(&queues["#"]).await.is_empty());
}

pub(crate) async fn fanout_ignores_the_key(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Fanout).await;
    let queues = bound(fixture, &events, &["", "Order.Placed"]).await;

    fixture.publish_to(&events, "Invoice.Sent", "invoice").await.expect("queues are bound");

    for queue in queues.values() {
        assert_eq!(fixture.contents(queue).await, ["invoice"]);
    }
}

pub(crate) async fn the_default_exchange_names_the_queue(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let default = ExchangeName::default_exchange();

    fixture.publish_to(&default, queue.as_str(), "order").await.expect("the queue is there");
    let error = fixture.publish_to(&default, "nobody", "lost").await;

    assert!(matches!(error, Err(PublishError::Unroutable { .. })), "{error:?}");
    assert_eq!(fixture.contents(&queue).await, ["order"]);
}

pub(crate) async fn a_consistent_hash_gives_each_value_to_one_queue(fixture: &Fixture) {
    let shared = hashed(fixture).await;
    let (one, three) = (fixture.plain("one").await, fixture.plain("three").await);
    let lost = fixture.transport.publish(&of_aggregate(&shared, 0)).await;
    assert!(matches!(lost, Err(PublishError::Unroutable { .. })), "nothing is bound: {lost:?}");
    for no_weight in ["Order.*", "0", ""] {
        let refused = fixture.transport.bind(&Binding::by_key(shared.clone(), one.clone(), no_weight)).await;
        assert!(matches!(refused, Err(DeclareError::Refused { .. })), "{no_weight:?}: {refused:?}");
    }
    for (queue, weight) in [(&one, "1"), (&three, "3")] {
        fixture
            .transport
            .bind(&Binding::by_key(shared.clone(), queue.clone(), weight))
            .await
            .expect("a weight");
    }

    for id in (0..200).chain(0..200) {
        fixture.transport.publish(&of_aggregate(&shared, id)).await.expect("one of them takes it");
    }

    let (of_one, of_three) = (fixture.contents(&one).await, fixture.contents(&three).await);
    assert_eq!(of_one.len() + of_three.len(), 400, "each comes once");
    for of in [&of_one, &of_three] {
        let (first, second) = of.split_at(of.len() / 2);
        assert_eq!(first, second, "what came to it the first time comes to it the second time");
    }
    assert!((40..160).contains(&of_one.len()), "{} of about 100", of_one.len());
}

pub(crate) async fn a_weight_that_changed_counts_once_both_bindings_were_made_anew(fixture: &Fixture) {
    let shared = hashed(fixture).await;
    let (changed, other) = (fixture.plain("changed").await, fixture.plain("other").await);
    let binding = |queue: &QueueName, weight: &str| Binding::by_key(shared.clone(), queue.clone(), weight);
    let (old, new) = (binding(&changed, "1"), binding(&changed, "100"));
    for made in [&old, &binding(&other, "1"), &new] {
        fixture.transport.bind(made).await.expect("a weight");
    }
    let publish = async || {
        for id in 0..100 {
            fixture.transport.publish(&of_aggregate(&shared, id)).await.expect("one of them takes it");
        }
        (fixture.contents(&changed).await.len(), fixture.contents(&other).await.len())
    };

    let (share, rest) = publish().await;
    assert!((20..80).contains(&share), "the older weight counts: {share} and {rest}");
    fixture.transport.unbind(&old).await.expect("it is there");
    assert_eq!(publish().await, (0, 100), "and without it there is no share, whatever is bound");
    fixture.transport.bind(&new).await.expect("it is there");
    assert_eq!(publish().await, (0, 100), "to bind what is bound changes nothing");
    fixture.transport.unbind(&new).await.expect("it is there");
    fixture.transport.bind(&new).await.expect("a weight");
    let (share, rest) = publish().await;
    assert!(share > 85, "made anew it counts: {share} and {rest}");
}

/// An exchange that hashes the id of the aggregate.
async fn hashed(fixture: &Fixture) -> ExchangeName {
    let name = fixture.exchange_name("shared");
    let arguments = [("hash-header", "aggregate_id")].into_iter().collect();
    let exchange = Exchange { arguments, ..Exchange::durable(name.clone(), ExchangeKind::ConsistentHash) };
    fixture.transport.declare_exchange(&exchange).await.expect("the node has the plugin");
    name
}

fn of_aggregate(exchange: &ExchangeName, id: u32) -> Publication {
    let mut publication = publication(exchange, "Order.Placed", text(&id.to_string()));
    publication.message.headers.insert("aggregate_id", format!("order-{id}"));
    publication
}

pub(crate) async fn headers_match_all_or_any(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Headers).await;
    let wanted = |mode: &str| {
        [("x-match", Value::from(mode)), ("region", "eu".into()), ("level", Value::I32(3))]
            .into_iter()
            .collect::<Headers>()
    };
    let all = bound_by(fixture, &events, "all", wanted("all")).await;
    let any = bound_by(fixture, &events, "any", wanted("any")).await;
    for (body, headers) in [
        ("both", vec![("region", Value::from("eu")), ("level", Value::I64(3)), ("more", Value::Bool(true))]),
        ("one", vec![("region", "eu".into()), ("level", Value::I32(4))]),
        ("none", vec![("region", "us".into())]),
        ("text is no number", vec![("level", "3".into())]),
    ] {
        publish_with(fixture, &events, body, headers).await;
    }

    assert_eq!(fixture.contents(&all).await, ["both"]);
    assert_eq!(fixture.contents(&any).await, ["both", "one"]);
}

pub(crate) async fn headers_match_by_presence_and_ignore_own_names(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Headers).await;
    let present =
        bound_by(fixture, &events, "present", [("tenant", Value::Void)].into_iter().collect()).await;
    let own = [("x-es-delay", Value::from("4s")), ("region", "eu".into())].into_iter().collect();
    let own = bound_by(fixture, &events, "own", own).await;
    for (body, headers) in [
        ("tenant", vec![("tenant", Value::from("acme"))]),
        ("region", vec![("region", "eu".into()), ("x-es-delay", "1s".into())]),
    ] {
        publish_with(fixture, &events, body, headers).await;
    }

    assert_eq!(fixture.contents(&present).await, ["tenant"]);
    assert_eq!(fixture.contents(&own).await, ["region"], "names that begin with x- are not looked at");
}

/// The matcher that the macros use at compile time and the in-process broker at run time, held to
/// the routing of the broker itself.
pub(crate) async fn topic_agrees_with_the_matcher(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queues = bound(fixture, &events, PATTERNS).await;

    for key in KEYS {
        let publication = publication(&events, key, text(key));
        fixture.publish(Publication { mandatory: false, ..publication }).await.expect("it is confirmed");
    }

    for (pattern, queue) in queues {
        let expected: Vec<&str> = KEYS.iter().copied().filter(|key| topic::matches(pattern, key)).collect();
        assert_eq!(fixture.contents(&queue).await, expected, "binding key {pattern:?}");
    }
}

pub(crate) async fn several_matching_bindings_deliver_one_copy(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    for pattern in ["#", "Order.*", "Order.Placed", "*.Placed"] {
        fixture.bind(&events, &queue, pattern).await;
    }

    fixture.publish_to(&events, "Order.Placed", "order").await.expect("it is routed");

    assert_eq!(fixture.contents(&queue).await, ["order"]);
}

pub(crate) async fn exchanges_bound_to_exchanges_bring_one_copy_to_each_queue(fixture: &Fixture) {
    let shop = fixture.exchange("shop", ExchangeKind::Topic).await;
    let audit = fixture.exchange("audit", ExchangeKind::Fanout).await;
    let deep = fixture.exchange("deep", ExchangeKind::Direct).await;
    let give = async |source: &ExchangeName, destination: &ExchangeName, key: &str| {
        let binding = ExchangeBinding::by_key(source.clone(), destination.clone(), key);
        for _ in 0..2 {
            fixture.transport.bind_exchange(&binding).await.expect("both are there");
        }
        binding
    };
    let to_audit = give(&shop, &audit, "Order.#").await;
    give(&audit, &deep, "").await;
    // In a circle, and past it.
    give(&deep, &shop, "Order.Placed").await;
    give(&shop, &deep, "*.Placed").await;
    let (all, placed) = (fixture.plain("all").await, fixture.plain("placed").await);
    fixture.bind(&audit, &all, "").await;
    fixture.bind(&shop, &all, "Order.*").await;
    fixture.bind(&deep, &placed, "Order.Placed").await;

    for key in ["Order.Placed", "Order.Sent", "Order.Sent.Late"] {
        fixture.publish_to(&shop, key, key).await.expect("a queue gets it");
    }
    let nobody = fixture.publish_to(&shop, "Invoice.Placed", "lost").await;
    for _ in 0..2 {
        fixture.transport.unbind_exchange(&to_audit).await.expect("once there, once not");
    }
    let unbound = fixture.publish_to(&shop, "Order.Sent.Later", "lost").await;
    fixture.publish_to(&shop, "Order.Placed", "again").await.expect("a queue gets it");

    assert!(matches!(nobody, Err(PublishError::Unroutable { .. })), "{nobody:?}");
    assert!(matches!(unbound, Err(PublishError::Unroutable { .. })), "{unbound:?}");
    assert_eq!(fixture.contents(&all).await, ["Order.Placed", "Order.Sent", "Order.Sent.Late", "again"]);
    assert_eq!(fixture.contents(&placed).await, ["Order.Placed", "again"]);
    fixture.transport.delete_exchange(&deep).await.expect("it is there");
    fixture.publish_to(&shop, "Order.Placed", "still").await.expect("the rest is as it was");
    let missing = ExchangeBinding::by_key(shop.clone(), deep.clone(), "#");
    let refused = fixture.transport.bind_exchange(&missing).await;
    assert!(refused.is_err_and(|error| error.to_string().contains(deep.as_str())));
}

pub(crate) async fn an_exchange_that_gives_to_another_keeps_from_its_alternate_one(fixture: &Fixture) {
    let lost = fixture.exchange("lost", ExchangeKind::Fanout).await;
    let mut shop = Exchange::durable(fixture.exchange_name("shop"), ExchangeKind::Topic);
    shop.arguments.insert("alternate-exchange", lost.as_str());
    fixture.transport.declare_exchange(&shop).await.expect("it is declared");
    let audit = fixture.exchange("audit", ExchangeKind::Topic).await;
    let (kept, found) = (fixture.plain("kept").await, fixture.plain("found").await);
    fixture.bind(&audit, &kept, "Order.Placed").await;
    fixture.bind(&lost, &found, "").await;
    let binding = ExchangeBinding::by_key(shop.name.clone(), audit, "Order.#");
    fixture.transport.bind_exchange(&binding).await.expect("both are there");

    fixture.publish_to(&shop.name, "Order.Placed", "placed").await.expect("audit has a queue for it");
    fixture.publish_to(&shop.name, "Invoice.Sent", "invoice").await.expect("the alternate exchange has");
    let swallowed = fixture.publish_to(&shop.name, "Order.Sent", "sent").await;

    assert!(matches!(swallowed, Err(PublishError::Unroutable { .. })), "{swallowed:?}");
    assert_eq!(fixture.contents(&kept).await, ["placed"]);
    assert_eq!(fixture.contents(&found).await, ["invoice"]);
}

/// A queue for each binding key.
async fn bound<'a>(
    fixture: &Fixture,
    exchange: &ExchangeName,
    keys: &[&'a str],
) -> BTreeMap<&'a str, QueueName> {
    let mut queues = BTreeMap::new();
    for (number, key) in keys.iter().copied().enumerate() {
        let queue = fixture.plain(&format!("bound{number}")).await;
        fixture.bind(exchange, &queue, key).await;
        queues.insert(key, queue);
    }
    queues
}

async fn bound_by(fixture: &Fixture, exchange: &ExchangeName, name: &str, arguments: Headers) -> QueueName {
    let queue = fixture.plain(name).await;
    let binding = Binding { arguments, ..Binding::by_key(exchange.clone(), queue.clone(), "") };
    fixture.transport.bind(&binding).await.expect("the queue is bound");
    queue
}

async fn publish_with(
    fixture: &Fixture,
    exchange: &ExchangeName,
    body: &str,
    headers: Vec<(&'static str, Value)>,
) {
    let mut message = text(body);
    message.headers = headers.into_iter().collect();
    let publication = publication(exchange, "", message);
    fixture.publish(Publication { mandatory: false, ..publication }).await.expect("it is confirmed");
}

const PATTERNS: &[&str] = &[
    "",
    "#",
    "*",
    "a",
    "a.b",
    "a.*",
    "*.b",
    "a.#",
    "#.b",
    "#.b.#",
    "a.*.c",
    "a.#.c",
    "*.*",
    "*.#",
    "#.*",
    "#.#",
    "*.#.*",
    "a.#.b.#",
    "#.a.*.b.#",
    "a*",
    "a#",
    "*.a*",
    "a..b",
    "a.",
    ".a",
    "Order.OrderPlaced",
    "Order.*.v1",
    "a.#.#.c",
];

const KEYS: &[&str] = &[
    "",
    "a",
    "b",
    "a.b",
    "a.c",
    "b.a",
    "a.b.c",
    "a.b.b.c",
    "a.a.b.b",
    "b.a.b",
    "a.c.b.c",
    "b.a.c.b.a",
    "a..b",
    "a.",
    ".a",
    ".",
    "..",
    "a*",
    "a#",
    "*",
    "#",
    "a.*",
    "a.#.c",
    "Order.OrderPlaced",
    "Order.OrderPlaced.v1",
    "order.orderplaced",
];
