//! Raw identifiers keep their names without the mark.
use es_bus::{event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", aggregate_id = r#type)]
#[derive(Serialize, Deserialize)]
struct Typed {
    r#type: String,
}

#[handler(group = "g")]
async fn r#match(event: Typed) {
    let _ = event.r#type;
}

fn main() {
    let name: &str = <r#match as es_bus::registry::Handler>::DEF.name;
    assert_eq!(name, "match");
}
