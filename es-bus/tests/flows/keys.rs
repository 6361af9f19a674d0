//! Routing keys with fields: the key of each message has a word of its own.

use es_bus::{
    Bus, Delivered, Error, Event, PublishError, RawEvent, Registry, State, SubscribeError, event, exchange,
    explain::Question, group, handler, testing::TestBus,
};
use serde::{Deserialize, Serialize};

use crate::support::{Journal, foreign, publish_raw};

#[event(aggregate = "Order", key = "order.created.{region}", aggregate_id = id)]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderCreated {
    id: u64,
    region: String,
}

fn created(region: &str) -> OrderCreated {
    OrderCreated { id: 1, region: region.to_owned() }
}

#[event(aggregate = "Stock")]
#[derive(Debug, Serialize, Deserialize)]
enum Stock {
    #[event(key = "stock.{house}.moved.{shelf}")]
    Moved {
        house: String,
        shelf: u8,
    },
    #[event(key = "counted.{house}.{house}")]
    Counted {
        house: String,
    },
    Gone,
}

#[event(aggregate = "Point", key = "{0}.point", payload = "nested")]
#[derive(Debug, Serialize, Deserialize)]
struct Point(u8, u8);

/// Bound to what the event's key is, whatever the field.
#[handler(group = "everywhere")]
async fn everywhere(event: OrderCreated, delivered: Delivered, State(journal): State<Journal>) {
    journal.note(format!("everywhere {} {}", delivered.routing_key, event.region));
}

#[handler(group = "europe", bind = "order.created.eu")]
async fn europe(event: OrderCreated, State(journal): State<Journal>) {
    journal.note(format!("europe {}", event.region));
}

#[handler(group = "orders", bind = "order.#")]
async fn orders(event: RawEvent, delivered: Delivered, State(journal): State<Journal>) {
    drop(event);
    journal.note(format!("orders {}", delivered.routing_key));
}

fn registry() -> Registry {
    Registry::new().handler::<everywhere>().handler::<europe>().handler::<orders>().event::<Stock>()
}

async fn bus(journal: &Journal) -> TestBus {
    TestBus::start(|builder| builder.registry(registry()).state(journal.clone())).await.unwrap()
}

fn sorted(journal: &Journal) -> Vec<String> {
    let mut lines = journal.lines();
    lines.sort();
    lines
}

#[test]
fn the_words_of_a_key_come_from_the_fields() {
    assert_eq!(OrderCreated::ROUTING_KEY, "order.created.*");
    assert_eq!(OrderCreated::KINDS[0].key, "order.created.*");
    assert_eq!(created("eu").routing_key(), "order.created.eu");
    assert_eq!(Stock::Moved { house: "a".to_owned(), shelf: 3 }.routing_key(), "stock.a.moved.3");
    assert_eq!(Stock::Counted { house: "b".to_owned() }.routing_key(), "counted.b.b");
    assert_eq!(Stock::Gone.routing_key(), "Stock.Gone");
    assert_eq!(Point(4, 2).routing_key(), "4.point");
}

#[tokio::test(start_paused = true)]
async fn a_handler_gets_what_its_binding_may_match() {
    let journal = Journal::default();
    let bus = bus(&journal).await;

    bus.publish(&created("eu")).await.unwrap();
    bus.publish(&created("us")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(
        sorted(&journal),
        [
            "europe eu",
            "everywhere order.created.eu eu",
            "everywhere order.created.us us",
            "orders order.created.eu",
            "orders order.created.us",
        ]
    );
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_names_no_type_is_told_by_its_key() {
    let journal = Journal::default();
    let bus = bus(&journal).await;

    publish_raw(&bus, "order.created.jp", foreign(r#"{"id": 7, "region": "jp"}"#)).await;
    publish_raw(&bus, "order.shipped.jp", foreign("{}")).await;
    bus.run_until_idle().await;

    assert_eq!(
        sorted(&journal),
        ["everywhere order.created.jp jp", "orders order.created.jp", "orders order.shipped.jp"]
    );
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_subscribed_while_it_runs_gets_what_its_binding_may_match() {
    let journal = Journal::default();
    let registry = Registry::new().event::<OrderCreated>();
    let bus = TestBus::start(|builder| builder.registry(registry).publish_only()).await.unwrap();
    let subscribe = |group: &str, word: &'static str| {
        let journal = journal.clone();
        bus.subscriptions().subscribe(group, move |event: OrderCreated| {
            let journal = journal.clone();
            async move { journal.note(format!("{word} {}", event.region)) }
        })
    };

    let _everywhere = subscribe("everywhere", "everywhere").await.unwrap();
    let _europe = subscribe("europe", "europe").bind("order.created.eu").await.unwrap();
    let _bound = subscribe("bound", "bound").bind("order.created.jp").await.unwrap();
    bus.subscriptions().bind_event::<OrderCreated>("bound").await.unwrap();
    let refused = subscribe("nowhere", "nowhere").bind("order.paid.eu").await;
    bus.publish(&created("eu")).await.unwrap();
    bus.publish(&created("us")).await.unwrap();
    bus.run_until_idle().await;

    assert!(matches!(refused, Err(Error::Subscribe(SubscribeError::BringsNothing { .. }))), "{refused:?}");
    assert_eq!(sorted(&journal), ["bound eu", "bound us", "europe eu", "everywhere eu", "everywhere us"]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_no_word_is_an_error_of_the_publish() {
    let journal = Journal::default();
    let bus = bus(&journal).await;
    let long = "x".repeat(300);

    for (region, part) in [
        ("", "has an empty word (it ends with a dot)"),
        ("eu.west", "has more words than that: the value of a field has a dot"),
        ("*", "contains a wildcard"),
        ("#", "contains a wildcard"),
        ("São Paulo", "not printable ASCII"),
        (&long, "is longer than the 255 bytes"),
    ] {
        let error = bus.publish(&created(region)).await.unwrap_err();
        assert!(matches!(&error, PublishError::Key { event: "OrderCreated", .. }), "{region:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("`order.created.*`"), "{region:?}: {text}");
    }
    // What is said where it is published is the publisher's own affair.
    bus.publish(&created("eu.west")).key("order.elsewhere").await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(sorted(&journal), ["orders order.elsewhere"]);
    bus.stop().await.unwrap();
}

#[test]
fn the_binding_of_a_handler_without_bind_is_not_wide() {
    let builder = || Bus::builder().without_environment().url("memory://").state(Journal::default());
    let bus = builder().registry(Registry::new().handler::<everywhere>()).build().unwrap();

    let stranger = Question::key("order.created.eu").header("event_type", "Stranger");
    let answer = bus.explain(&stranger).unwrap().groups[0].to_string();
    assert!(answer.contains("waits 40 × 30s"), "{answer}");

    let by_key = bus.explain(&Question::key("order.created.eu")).unwrap();
    assert_eq!(by_key.subject.event.as_deref(), Some("OrderCreated"));
    assert_eq!(by_key.groups[0].handlers[0].handler, "everywhere");
    assert_eq!(
        bus.explain(&Question::event("OrderCreated")).unwrap_err().to_string(),
        "words of the key of OrderCreated are fields, `order.created.*`, and who gets it depends on them: ask by a key, \
         `Question::key(\"order.created.x\")`"
    );
    let whole = builder().registry(registry()).build().unwrap();
    let told: Vec<_> = whole.cautions().into_iter().map(|finding| finding.message).collect();
    assert_eq!(
        told,
        [
            "no group of this program takes 3 events from exchange \"events\": Stock.Gone, counted.*.*, stock.*.moved.*"
        ]
    );
}

mod clashes {
    use super::*;

    #[exchange(name = "tasks", kind = "direct")]
    struct Tasks;

    #[group(exchange = Tasks)]
    struct Workers;

    #[event(aggregate = "Order", key = "order.created.eu", name = "OrderCreatedInEurope")]
    #[derive(Serialize, Deserialize)]
    struct InEurope {}

    #[event(aggregate = "Task", key = "task.{kind}", exchange = "tasks")]
    #[derive(Serialize, Deserialize)]
    struct Task {
        kind: String,
    }

    #[handler(group = Workers, bind = "task.mail", foreign)]
    async fn work(event: RawEvent) {
        drop(event);
    }

    fn report(registry: Registry) -> String {
        let built = Bus::builder().without_environment().url("memory://").registry(registry).build();
        format!("{:?}", built.expect_err("they clash"))
    }

    #[test]
    fn a_key_that_another_event_may_have_is_told_at_start() {
        let report = report(Registry::new().event::<OrderCreated>().event::<InEurope>());

        assert!(
            report.contains("`order.created.eu` and `order.created.*` on exchange \"events\" may be one key")
                || report.contains(
                    "`order.created.*` and `order.created.eu` on exchange \"events\" may be one key"
                ),
            "{report}"
        );
    }

    #[test]
    fn a_direct_exchange_takes_no_fields() {
        let report = report(Registry::new().event::<Task>().handler::<work>());

        assert!(
            report.contains("`task.*` has fields in its key, and \"tasks\" is a direct exchange"),
            "{report}"
        );
    }
}
