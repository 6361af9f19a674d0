//! Raw identifiers keep their names without the mark.
use es_bus::{event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", aggregate_id = r#type)]
#[derive(Serialize, Deserialize)]
struct Typed {
    r#type: String,
}

#[handler(group = "g")]
//~^ error 1 «#[handler(group = "g")]» custom attribute panicked
async fn r#match(event: Typed) {
    let _ = event.r#type;
}

fn main() {
    let name: &str = <r#match as es_bus::registry::Handler>::DEF.name;
//~^ error[E0425] 23 «r#match» cannot find type `r#match` in this scope
    assert_eq!(name, "match");
}
