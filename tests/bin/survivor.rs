//! A service whose handler fails twice, to be killed while its event waits.
//!
//! Started with `publish` it publishes one event first. Each run of a handler adds a line to the
//! file that `SURVIVOR_LOG` names: handler, attempt, routing key, event id.

use std::{
    env,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use es_bus::{Attempt, Bus, Delivered, HandlerError, Metadata, event, handler};
use serde::{Deserialize, Serialize};

/// Something that is handled with difficulty.
#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    customer: String,
}

#[handler(group = "stubborn", retries = 5, backoff(base = "4s", max = "4s"))]
async fn fail_twice(
    _event: OrderPlaced,
    attempt: Attempt,
    delivered: Delivered,
    metadata: Metadata,
) -> Result<(), HandlerError> {
    note("fail_twice", attempt.number, &delivered, &metadata);
    if attempt.number < 2 { Err("not yet".into()) } else { Ok(()) }
}

#[handler(group = "stubborn")]
async fn succeed(_event: OrderPlaced, attempt: Attempt, delivered: Delivered, metadata: Metadata) {
    note("succeed", attempt.number, &delivered, &metadata);
}

#[handler(group = "bystanders")]
async fn look_on(_event: OrderPlaced, attempt: Attempt, delivered: Delivered, metadata: Metadata) {
    note("look_on", attempt.number, &delivered, &metadata);
}

fn note(handler: &str, attempt: u32, delivered: &Delivered, metadata: &Metadata) {
    let log = env::var_os("SURVIVOR_LOG").expect("SURVIVOR_LOG names the file");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    let line = format!("{handler} {attempt} {} {} {now}", delivered.routing_key, metadata.event_id);
    es_bus_tests::note(Path::new(&log), &line);
}

#[tokio::main]
async fn main() -> es_bus::Result<()> {
    let bus = Bus::builder().set("shutdown_timeout", Duration::from_secs(5)).build()?;
    if env::args().nth(1).as_deref() == Some("publish") {
        let publishing = Bus::builder().publish_only().build()?.start().await?;
        let event = OrderPlaced { customer: "c-1".to_owned() };
        // The queues have to be there before the event is.
        let running = bus.start().await?;
        publishing.publisher().publish(&event).await.expect("the event is published");
        publishing.stop().await?;
        return running.wait().await;
    }
    bus.run().await
}
