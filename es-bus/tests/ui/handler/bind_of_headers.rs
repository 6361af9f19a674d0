#![allow(dead_code, unused_imports, unused_variables)]
use es_bus::{RawEvent, handler};

#[handler(group = "g", bind())]
//~^ error 28 «()» `bind` is empty: leave it out to be bound to exactly the events that the handler takes
async fn nothing(event: RawEvent) {}

#[handler(group = "g", bind(headers()))]
//~^ error 29 «headers» `headers(..)` names no header, so it would match every message: say which, `headers(format = "pdf")`
async fn everything(event: RawEvent) {}

#[handler(group = "g", bind(headers(match = "some", format = "pdf")))]
//~^ error 45 «"some"» `match` is "all", every header has to be there, or "any", one of them is enough; a header of that name is written in quotes, `"match" = ..`
async fn some(event: RawEvent) {}

#[handler(group = "g", bind(headers(match = "all", match = "any", format = "pdf", format = "csv")))]
//~^ error 52 «match» `match` is given twice
//~^^ error 83 «format» header `format` is given twice
async fn twice(event: RawEvent) {}

#[handler(group = "g", bind(headers(format = "pdf", pages = 1.5)))]
//~^ error 61 «1.5» the value is a text, a whole number, `true` or `false`
async fn fraction(event: RawEvent) {}

#[handler(group = "g", bind(headers("x-team" = "orders", "es-delay" = "4s")))]
//~^ error 48 «"orders"» header `x-team` begins with `x-`, and RabbitMQ leaves those out when it matches: choose another name
//~^^ error 71 «"4s"» header `es-delay` is written by es-bus itself; choose another name
async fn own(event: RawEvent) {}

#[handler(group = "g", bind(header(format = "pdf")))]
//~^ error 29 «header» `bind` of `#[handler]` takes a pattern, a constant, or a list of them: `bind = "Order.*"`, `bind = [OrderPlaced::ROUTING_KEY]`; or, on a headers exchange, `bind(headers(match = "all", format = "pdf"))`
async fn misspelt(event: RawEvent) {}

#[handler(group = "g", headers(format = "pdf"))]
//~^ error 24 «headers» unknown key `headers`, did you mean `bind(headers(..))`?
async fn elsewhere(event: RawEvent) {}

fn main() {}
