#![allow(dead_code, unused_imports, unused_variables)]
use es_bus::{RawEvent, event, exchange, group, handler};
use serde::{Deserialize, Serialize};

#[exchange]
struct Shop;
#[exchange(kind = "consistent-hash", from(Shop, "Order.#"))]
struct Shards;
#[exchange(kind = "consistent-hash", hash_on = "correlation-id")]
struct Processes;
#[exchange(kind = "consistent-hash", hash_header = "tenant_id")]
struct Tenants;
#[exchange(kind = "fanout", from(Shards))]
struct Fed;

#[event(aggregate = "Order", exchange = Shop)]
#[derive(Serialize, Deserialize)]
struct Placed {}
#[event(aggregate = "Bill", exchange = Tenants)]
#[derive(Serialize, Deserialize)]
struct Billed {}

#[group(exchange = Shards, weight = 2)]
struct Left;

#[handler(group = Left)]
async fn typed(event: Placed) {}
#[handler(group = Left)]
async fn raw(event: RawEvent) {}
#[handler(group = "billing")]
async fn bill(event: Billed) {}

#[exchange(hash_on = "routing-key", hash_header = "tenant_id")]
//~^ error 12 «hash_on» only a consistent-hash exchange hashes: write `kind = "consistent-hash"` beside it
//~^^ error 37 «hash_header» only a consistent-hash exchange hashes: write `kind = "consistent-hash"` beside it
struct NotHashed;

#[exchange(kind = "consistent-hash", hash_on = "aggregate_id", hash = "x")]
//~^ error 48 «"aggregate_id"» `hash_on` cannot be `aggregate_id`, did you mean `aggregate-id`? (known: `aggregate-id`, `routing-key`, `message-id`, `correlation-id`)
//~^^ error 64 «hash» unknown key `hash`, did you mean `hash_on`? `hash_on = "correlation-id"`
struct Words;

#[exchange(kind = "consistent-hash", hash_on = "message-id", hash_header = "tenant_id", weight = 2)]
//~^ error 76 «"tenant_id"» `hash_on` says already what is hashed: drop one of the two
//~^^ error 89 «weight» `weight` belongs on a `#[group]`: it says how large the share of that group is, `#[group(exchange = ThisType, weight = 2)]`
struct Twice;

#[exchange(kind = "consistent-hash", hash_header = "", arguments("hash-property" = "message_id"))]
//~^ error 52 «""» a header has a name of 1 to 255 bytes
//~^^ error 84 «"message_id"» what is hashed has keys of its own: `hash_on = "correlation-id"`, `hash_header = "tenant"`
struct ByHand;

#[exchange(kind = "fanout", from(Shards, "Order.*"))]
//~^ error[E0080] 42 «"Order.*"» evaluation panicked: binding `Order.*` asks for some of it, and the consistent-hash exchange `shards` gives to each that is bound to it a share of everything: name the exchange alone
struct Some;

#[group(exchange = Shards, weight = 0)]
//~^ error 37 «0» `weight` is a number from 1 to 1000
struct Nothing;
#[group(weight = 1001, hash_on = "message-id")]
//~^ error 18 «1001» `weight` is a number from 1 to 1000
//~^^ error 24 «hash_on» `hash_on` belongs on the `#[exchange]`: all of its groups share by it
struct Much;

#[handler(group = Left, bind = "Order.*")]
//~^ error[E0080] 32 «"Order.*"» evaluation panicked: binding `Order.*` asks for some of it, and the consistent-hash exchange `shards` gives to each group a share of everything: leave `bind` out; how large the share is says `weight` of the group
async fn typed_pattern(event: Placed) {}
#[handler(group = Left, bind = "#")]
//~^ error[E0080] 32 «"#"» evaluation panicked: binding `#` asks for some of it, and the consistent-hash exchange `shards` gives to each group a share of everything: leave `bind` out; how large the share is says `weight` of the group
async fn raw_everything(event: RawEvent) {}
#[handler(group = Left, bind(headers(format = "pdf")))]
//~^ error[E0080] 30 «headers(format = "pdf")» evaluation panicked: binding `headers(match = "all", format = "pdf")` asks for some of it, and the consistent-hash exchange `shards` gives to each group a share of everything: leave `bind` out; how large the share is says `weight` of the group
async fn raw_headers(event: RawEvent) {}
#[handler(group = "billing", bind = "Bill.*")]
//~^ error[E0080] 37 «"Bill.*"» evaluation panicked: binding `Bill.*` asks for some of it, and the consistent-hash exchange `tenants` gives to each group a share of everything: leave `bind` out; how large the share is says `weight` of the group
async fn elsewhere(event: Billed) {}

fn main() {}
