//! What every kind of exchange takes.
use es_bus::{RawEvent, event, exchange, group, handler};
use serde::{Deserialize, Serialize};

#[exchange(name = "tasks", kind = "direct", transient, auto_delete, bus = "default", crate = es_bus)]
struct Tasks;
#[exchange(kind = "fanout", internal)]
struct News;
#[exchange(kind = "headers", alternate_exchange = News, arguments("x-note" = "kept", "x-level" = -1, "x-on" = true))]
struct Reports;
#[exchange(alternate_exchange = "somebody.elses")]
struct Orders;

#[event(aggregate = "Task", exchange = Tasks)]
#[derive(Serialize, Deserialize)]
struct Created {}

#[event(aggregate = "News", exchange = News, view)]
#[derive(Serialize, Deserialize)]
struct Told {}

#[event(aggregate = "Report", exchange = Reports, headers(format = "pdf", pages = 3))]
#[derive(Serialize, Deserialize)]
struct Rendered {}

#[event(aggregate = "Order", exchange = Orders)]
#[derive(Serialize, Deserialize)]
enum Order {
    Placed,
    #[event(exchange = Tasks)]
    Packed,
}

#[event]
#[derive(Serialize, Deserialize)]
enum Everything {
    Created(Created),
    Rendered(Rendered),
}

#[handler(group = "g", bind = ["Task.Created"])]
async fn direct(_event: Created) {}

#[handler(group = "g", bind = "#")]
async fn fanout(_event: Told) {}

#[handler(group = "g", bind(headers(match = "any", format = "csv", "match" = "x", language = "de")))]
async fn headers(_event: Rendered) {}

#[handler(group = "g", bind(Created::ROUTING_KEY, headers(pages = 3), headers(event_type = "Rendered")))]
async fn both(_event: Everything) {}

#[handler(group = "g")]
async fn without(_event: Everything) {}

#[handler(group = "g")]
async fn set(_event: Order) {}

#[group(exchange = News)]
struct AtNews;

#[handler(group = AtNews)]
async fn raw(_event: RawEvent) {}

fn main() {}
