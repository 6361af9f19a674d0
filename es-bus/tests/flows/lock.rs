//! The lock of a program: a text that reads well, and that is the same whoever makes it.

use es_bus::{Bus, RawEvent, Registry, event, group, handler, lock::Lock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An invoice was sent.
#[event(aggregate = "Invoice", aggregate_id = number, version = 2)]
#[derive(Serialize, Deserialize, JsonSchema)]
struct InvoiceSent {
    number: String,
    lines: Vec<Line>,
    /// When it has to be paid.
    due: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    amount: u32,
    currency: Currency,
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum Currency {
    Eur,
    Usd,
}

#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct InvoicePaid {}

#[group(retired = ["Invoice.InvoiceLost"], max_length = 1000)]
struct Ledger;

#[handler(group = Ledger, formerly = ["enter"], retries = 1, backoff(base = "1s", max = "1s"))]
async fn book(_invoice: InvoiceSent) {}

#[group(exclusive)]
struct Caches;

#[handler(group = Caches, bind = "#")]
async fn refresh(_event: RawEvent) {}

fn bus() -> Bus {
    let events = Registry::new().event::<InvoicePaid>().event::<InvoiceSent>();
    let registry = events.handler::<refresh>().handler::<book>();
    let builder = Bus::builder().without_environment().url("memory://").registry(registry);
    builder.set("retry_ladder", "none").build().unwrap()
}

#[test]
fn is_a_text_with_one_thing_per_line_that_is_the_same_in_every_process() {
    let lock = Lock::of(&bus());

    let text = lock.to_string();

    // The queue of an exclusive group has another name in each.
    assert_eq!(Lock::of(&bus()).to_string(), text);
    assert_eq!(text.parse::<Lock>().unwrap(), lock);
    insta::assert_snapshot!(text);
}
