#![allow(dead_code, unused_imports, unused_variables)]
use es_bus::{RawEvent, event, exchange, group, handler};
use serde::{Deserialize, Serialize};

#[exchange(kind = "direct")]
struct Tasks;
#[exchange(kind = "fanout")]
struct News;
#[exchange(kind = "headers")]
struct Reports;
#[exchange]
struct Orders;

#[event(aggregate = "Task", exchange = Tasks)]
#[derive(Serialize, Deserialize)]
struct Created {}

#[event(aggregate = "News", exchange = News)]
#[derive(Serialize, Deserialize)]
struct Told {}

#[event(aggregate = "Report", exchange = Reports, headers(format = "pdf", pages = 3, draft = false))]
#[derive(Serialize, Deserialize)]
struct Rendered {}

#[event(aggregate = "Report", exchange = Reports, headers("x-team" = "docs"))]
#[derive(Serialize, Deserialize)]
struct Silent {}

#[event(aggregate = "Order", exchange = Orders)]
#[derive(Serialize, Deserialize)]
struct Placed {}

#[handler(group = "g", bind = "Task.*")]
//~^ error[E0080] 31 «"Task.*"» evaluation panicked: binding `Task.*` delivers nothing: `tasks` is a direct exchange, which takes `*` and `#` literally; leave `bind` out, or list the keys (`Task.Created`), or make it a topic exchange
async fn pattern_on_direct(event: Created) {}

#[handler(group = "g", bind = "News.Told")]
//~^ error[E0080] 31 «"News.Told"» evaluation panicked: binding `News.Told` asks for a key, and the fanout exchange `news` looks at none, everything comes: leave `bind` out
async fn key_on_fanout(event: Told) {}

#[handler(group = "g", bind(headers(format = "pdf")))]
//~^ error[E0080] 29 «headers(format = "pdf")» evaluation panicked: binding `headers(match = "all", format = "pdf")` asks for headers, and `news` is a fanout exchange, which looks at none: leave `bind` out
async fn headers_on_fanout(event: Told) {}

#[handler(group = "g", bind = "Report.Rendered")]
//~^ error[E0080] 31 «"Report.Rendered"» evaluation panicked: binding `Report.Rendered` asks for a key, and the headers exchange `reports` looks at headers only: write `bind(headers(format = "pdf"))`, with the headers that are meant
async fn key_on_headers(event: Rendered) {}

#[handler(group = "g", bind(headers(format = "pdf")))]
//~^ error[E0080] 29 «headers(format = "pdf")» evaluation panicked: binding `headers(match = "all", format = "pdf")` asks for headers, and `orders` is a topic exchange, which looks at none: write `bind = "Order.Placed"`, with the key that is meant
async fn headers_on_topic(event: Placed) {}

#[handler(group = "g", bind(headers(match = "all", format = "csv", language = "de")))]
//~^ error[E0080] 29 «headers(match = "all", format = "csv", language = "de")» evaluation panicked: binding `headers(match = "all", format = "csv", language = "de")` never receives `Rendered`, whose messages always say `format = "pdf"`
async fn another_text(event: Rendered) {}

#[handler(group = "g", bind(headers(match = "all", pages = -4)))]
//~^ error[E0080] 29 «headers(match = "all", pages = -4)» evaluation panicked: binding `headers(match = "all", pages = -4)` never receives `Rendered`, whose messages always say `pages = 3`
async fn another_number(event: Rendered) {}

#[handler(group = "g", bind(headers(match = "any", format = "csv", draft = true)))]
//~^ error[E0080] 29 «headers(match = "any", format = "csv", draft = true)» evaluation panicked: binding `headers(match = "any", format = "csv", draft = true)` never receives `Rendered`, whose messages always say `format = "pdf"`
async fn neither(event: Rendered) {}

#[handler(group = "g", bind(headers(event_type = "Printed")))]
//~^ error[E0080] 29 «headers(event_type = "Printed")» evaluation panicked: binding `headers(match = "all", event_type = "Printed")` never receives `Rendered`, whose messages always say `event_type = "Rendered"`
async fn another_type(event: Rendered) {}

#[handler(group = "g")]
async fn nothing_to_be_told_by(event: Silent) {}
//~^ error[E0080] 10 «nothing_to_be_told_by» evaluation panicked: `Report.Silent` is published to the headers exchange `reports` with no headers of its own to be told by: give the event some, `headers(format = "pdf")`, or write `bind(headers(event_type = "Silent"))` here

#[group(exchange = Tasks)]
struct AtTasks;
#[group(exchange = News)]
struct AtNews;
#[group(exchange = Reports)]
struct AtReports;
#[group(exchange = Orders)]
struct AtOrders;

#[handler(group = AtTasks, bind = "#")]
//~^ error[E0080] 35 «"#"» evaluation panicked: binding `#` delivers nothing: `tasks` is a direct exchange, which takes `*` and `#` literally; list the keys, or make it a topic exchange
async fn raw_pattern_on_direct(event: RawEvent) {}

#[handler(group = AtNews, bind = "News.*")]
//~^ error[E0080] 34 «"News.*"» evaluation panicked: binding `News.*` asks for a key, and the fanout exchange `news` looks at none, everything comes: leave `bind` out
async fn raw_key_on_fanout(event: RawEvent) {}

#[handler(group = AtReports, bind = "#")]
//~^ error[E0080] 37 «"#"» evaluation panicked: binding `#` asks for a key, and the headers exchange `reports` looks at headers only: write `bind(headers(format = "pdf"))`, with the headers that are meant
async fn raw_key_on_headers(event: RawEvent) {}

#[handler(group = AtOrders, bind(headers(format = "pdf")))]
//~^ error[E0080] 34 «headers(format = "pdf")» evaluation panicked: binding `headers(match = "all", format = "pdf")` asks for headers, and `orders` is a topic exchange, which looks at none: write `bind = "Order.Placed"`, with the key that is meant
async fn raw_headers_on_topic(event: RawEvent) {}

fn main() {}
