//! A program as an AsyncAPI document: every event has its channel and its message, every group what it receives and sends.

use std::collections::BTreeSet;

use es_bus::{Bus, Emit, RawEvent, Registry, event, exchange, group, handler};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Money(u64, String);

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id, headers(region = "eu"), ttl = "1h", priority = 3)]
#[derive(Serialize, Deserialize, JsonSchema)]
struct OrderPlaced {
    order_id: String,
    total: Money,
}

#[exchange(name = "news", kind = "fanout")]
struct News;

#[event(aggregate = "News", exchange = News, transient)]
#[derive(Serialize, Deserialize)]
struct NewsTold {}

#[handler(group = "desk")]
async fn tell(_order: OrderPlaced) -> Emit<NewsTold> {
    Emit(NewsTold {})
}

#[handler(group = "desk", bind = "Order.*")]
async fn record(_event: RawEvent) {}

#[group(exclusive)]
struct Caches;

#[handler(group = Caches)]
async fn refresh(_news: NewsTold) {}

fn document() -> String {
    let events = Registry::new().event::<OrderPlaced>().event::<NewsTold>();
    let registry = events.handler::<tell>().handler::<record>().handler::<refresh>();
    let bus = Bus::builder().without_environment().url("memory://").registry(registry).build().unwrap();
    bus.asyncapi("Shop", "1.4.0")
}

/// Every reference in a document.
fn references<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            all.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|inner| references(inner, all));
        }
        Value::Array(array) => array.iter().for_each(|inner| references(inner, all)),
        _ => {}
    }
}

#[test]
fn every_event_has_a_channel_and_every_group_what_it_receives_and_sends() {
    let text = document();

    let document: Value = serde_json::from_str(&text).unwrap();
    let names =
        |of: &str| document[of].as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>();
    assert_eq!(
        names("channels"),
        BTreeSet::from(["events.Order.OrderPlaced", "events.Order.any", "news.News.NewsTold"])
    );
    assert_eq!(
        names("operations"),
        BTreeSet::from([
            "caches.receive.news.News.NewsTold",
            "desk.receive.events.Order.OrderPlaced",
            "desk.receive.events.Order.any",
            "desk.send.news.News.NewsTold",
            "send.events.Order.OrderPlaced",
            "send.news.News.NewsTold",
        ])
    );
    let placed = &document["operations"]["desk.receive.events.Order.OrderPlaced"];
    assert_eq!(placed["x-handlers"], json!(["record", "tell"]));
    assert_eq!(placed["x-queue"], "events.desk");
    let mut all = Vec::new();
    references(&document, &mut all);
    for reference in all {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    insta::assert_snapshot!(text);
}
