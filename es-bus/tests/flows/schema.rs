//! Events whose types have a JSON Schema tell it, and the others are none the worse for it.

use es_bus::{Metadata, Registry, event, wire};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Money {
    amount: u64,
    currency: String,
}

/// An order was paid.
#[event(aggregate = "Order", aggregate_id = order_id, version = 3)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OrderPaid {
    order_id: String,
    total_amount: Money,
    #[serde(default)]
    note: Option<String>,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderLost {}

#[event(aggregate = "Basket")]
#[derive(Serialize, Deserialize, JsonSchema)]
enum BasketEvent {
    Filled {
        items: Vec<String>,
    },
    Emptied,
    #[serde(rename = "thrown")]
    ThrownAway {
        reason: String,
    },
}

fn registry() -> Registry {
    Registry::new().event::<OrderPaid>().event::<OrderLost>().event::<BasketEvent>()
}

#[test]
fn events_have_the_schemas_of_their_types_and_those_without_any_have_none() {
    let schemas = registry().schemas();

    let names: Vec<_> = schemas.iter().map(|schema| schema.event.name).collect();
    assert_eq!(names, ["Emptied", "Filled", "OrderPaid"]);
    let [emptied, filled, paid] = &*schemas else { panic!("{schemas:#?}") };
    assert_eq!(emptied.payload["type"], "object");
    assert_eq!(filled.payload["properties"]["items"]["items"]["type"], "string");
    assert_eq!(paid.payload["required"], json!(["orderId", "totalAmount"]));
    insta::assert_snapshot!(format!("{:#}", paid.body));
}

#[test]
fn what_is_published_has_the_fields_that_the_schema_of_the_body_asks_for() {
    let paid = OrderPaid {
        order_id: "o-1".to_owned(),
        total_amount: Money { amount: 7, currency: "EUR".to_owned() },
        note: None,
    };
    let metadata = Metadata::new("e-1".to_owned(), "OrderPaid".to_owned(), OffsetDateTime::UNIX_EPOCH);
    let message = wire::encode(&paid, &metadata).unwrap();

    let body: Value = serde_json::from_slice(&message.body).unwrap();

    let schema = &registry().schemas()[2].body;
    let fields = body.as_object().unwrap();
    let known = schema["properties"].as_object().unwrap();
    for field in schema["required"].as_array().unwrap() {
        assert!(fields.contains_key(field.as_str().unwrap()), "{field}");
    }
    for (name, value) in fields {
        let known = known.get(name).unwrap_or_else(|| panic!("{name} is not in the schema"));
        if let Some(constant) = known.get("const") {
            assert_eq!(constant, value, "{name}");
        }
    }
}
