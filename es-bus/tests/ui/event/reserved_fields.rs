#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed {
    event_id: String,
//~^ error 5 «event_id» field `event_id` has the name of a field of the envelope, which stands beside it on the wire: rename it, or write `payload = "nested"`
    metadata: String,
//~^ error 5 «metadata» field `metadata` has the name of a field of the envelope, which stands beside it on the wire: rename it, or write `payload = "nested"`
    #[serde(rename = "tenant_id")]
//~^ error 22 «"tenant_id"» field `tenant`, which serde calls `tenant_id`, has the name of a field of the envelope, which stands beside it on the wire: rename it, or write `payload = "nested"`
    tenant: String,
    #[serde(rename = "own_actor")]
    actor_id: String,
    #[serde(skip)]
    causation_id: String,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Camel {
    event_id: String,
    metadata: String,
//~^ error 5 «metadata» field `metadata` has the name of a field of the envelope, which stands beside it on the wire: rename it, or write `payload = "nested"`
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "snake_case")]
#[allow(non_snake_case)]
enum Set {
    Placed { aggregate_id: String },
//~^ error 14 «aggregate_id» field `aggregate_id` has the name of a field of the envelope, which stands beside it on the wire: rename it, or write `payload = "nested"`
    #[serde(rename_all = "UPPERCASE")]
    Paid { aggregate_id: String },
    #[event(payload = "nested")]
    Gone { aggregate_id: String },
}

fn main() {}
