//! Messages that others wrote, as odd as the broker takes them: each comes to its end once, and hurts
//! no other.

use std::{collections::BTreeMap, time::Duration};

use es_bus::{
    Attempt, HandlerError, Metadata, Registry, State, handler,
    message::{Headers, Message, Properties, Value},
    name::ExchangeName,
};
use es_bus_tests::Node;
use tokio::{task::block_in_place, time::timeout};

use super::ledger::Ledger;
use crate::support::{Look, OrderPlaced, OrderShipped, builder, placed, publisher, run, stop, take};

/// Within which every one of them has come to its end.
const BOUND: Duration = Duration::from_secs(20);

/// Fails twice, so that each message is copied to the retry queue, and then to the dead letters.
#[handler(group = "wild", retries = 1, backoff(base = "200ms", max = "200ms"))]
async fn tame(order: OrderPlaced, attempt: Attempt) -> Result<(), HandlerError> {
    Err(format!("{} attempts at {}", attempt.number, order.order_id).into())
}

#[handler(group = "good", bind = "Order.OrderPlaced")]
async fn good(_order: OrderPlaced, metadata: Metadata, State(ledger): State<Ledger>) {
    ledger.handled("good", metadata.event_id);
}

/// Takes what a `CC` leads here, and lets it lie.
#[handler(group = "aside")]
async fn aside(_shipped: OrderShipped) {}

/// A proper order, but for what the function does to it.
fn odd(id: &str, make: impl FnOnce(&mut Message)) -> Message {
    let mut message = Message {
        properties: Properties {
            persistent: true,
            message_id: Some(id.to_owned().into()),
            content_type: Some("application/json".into()),
            ..Properties::default()
        },
        headers: [("event_type", "OrderPlaced")].into_iter().collect::<Headers>(),
        body: br#"{"order_id": "o-1", "total": 1}"#.as_slice().into(),
    };
    make(&mut message);
    message
}

fn all() -> Vec<Message> {
    let future = "2999-01-01T00:00:00Z";
    let body = |bytes: Vec<u8>| move |message: &mut Message| message.body = bytes.into();
    vec![
        odd("body-empty", body(Vec::new())),
        odd("body-no-utf8", body(b"\xff\x00".to_vec())),
        odd("body-no-object", body(b"[1, 2]".to_vec())),
        odd("body-other-types", body(br#"{"order_id": 17, "total": "x"}"#.to_vec())),
        odd("body-cut-short", body(br#"{"order_id": "o-1", "to"#.to_vec())),
        odd("body-large", body(vec![b'x'; 8 * 1024 * 1024])),
        odd("content-type", |message| message.properties.content_type = Some("image/png".into())),
        odd("content-encoding", |message| message.properties.content_encoding = Some("gzip".into())),
        odd("type-by-number", |message| {
            message.headers.insert("event_type", Value::I64(7));
        }),
        // Which the worker may not claim to be.
        odd("user-id", |message| message.properties.user_id = Some("guest".into())),
        odd("cc", |message| {
            let keys = vec![Value::from("Order.OrderShipped")];
            message.headers.insert("CC", Value::Array(keys.clone()));
            message.headers.insert("BCC", Value::Array(keys));
        }),
        odd("expiration", |message| message.properties.expiration = Some("3600000".into())),
        odd("clock-ahead", |message| {
            message.properties.timestamp = Some(32_472_144_000);
            for name in ["x-es-first-failure-at", "x-es-last-failure-at", "x-last-retry-at"] {
                message.headers.insert(name, future);
            }
        }),
        odd("clock-behind", |message| {
            message.properties.timestamp = Some(0);
            message.headers.insert("x-es-first-failure-at", "0001-01-01T00:00:00Z");
        }),
        odd("death", |message| {
            message.headers.insert("x-death", "often");
            message.headers.insert("x-delivery-count", Value::I64(i64::MAX));
            message.headers.insert("x-retry-count", Value::I64(-5));
        }),
        odd("attempts", |message| {
            message.headers.insert("x-es-attempts", Value::Array(vec![Value::Void, Value::from("nonsense")]));
        }),
        odd("headers-large", |message| {
            message.headers.insert("large", "h".repeat(100_000));
        }),
        odd("headers-many", |message| {
            for number in 0..3000 {
                message.headers.insert(format!("header-{number}"), Value::Bool(true));
            }
        }),
        odd("priority", |message| message.properties.priority = Some(255)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_reach_the_dead_letters_once_each_and_hurt_nobody() {
    let node = Node::shared();
    let vhost = node.vhost("odd");
    let look = Look::at(&vhost).await;
    let user = vhost.name().to_owned();
    block_in_place(|| {
        node.rabbitmqctl(&["add_user", &user, "secret"]);
        node.rabbitmqctl(&["set_permissions", "-p", &user, &user, ".*", ".*", ".*"]);
    });
    let ledger = Ledger::default();
    let registry = Registry::new().handler::<tame>().handler::<good>().handler::<aside>();
    stop(run(builder(vhost.url(), registry.clone()).state(ledger.clone())).await).await;
    let url = vhost.url().replace("guest:guest", &format!("{user}:secret"));
    let working = run(builder(url, registry.clone()).groups(["wild", "good"]).state(ledger.clone())).await;
    let publishing = publisher(vhost.url(), registry).await;
    let messages = all();

    for message in &messages {
        let exchange = ExchangeName::new("events").expect("a name");
        let sent =
            publishing.publisher().publish_message(exchange, "Order.OrderPlaced", message.clone()).await;
        sent.unwrap_or_else(|error| panic!("{:?}: {error:?}", message.properties.message_id));
    }
    let after = publishing.publisher().publish(&placed("o-2", 2)).await.expect("routed");
    // The last one is a proper order, which its group handles, and the other fails at.
    let count = messages.len() + 1;
    let dead = timeout(BOUND, take(&vhost, "events.wild.dlq", count)).await.expect("all come to their end");

    let mut times = BTreeMap::<String, usize>::new();
    for letter in &dead {
        let id = letter.message.properties.message_id.as_deref().expect("kept");
        *times.entry(id.to_owned()).or_default() += 1;
        if let Some(sent) = messages.iter().find(|sent| sent.properties.message_id.as_deref() == Some(id)) {
            assert_eq!(letter.message.body, sent.body, "{id}: the bytes that came");
        }
    }
    let ids = messages.iter().filter_map(|message| message.properties.message_id.as_deref());
    let expected = ids.chain([&*after]).map(|id| (id.to_owned(), 1)).collect();
    assert_eq!(times, expected, "each once");
    assert!(ledger.has_handled("good", &after));
    // Its publisher asked for this copy; those of the worker went nowhere else.
    look.until("events.aside", 1, 0).await;
    assert_eq!(working.stats().reconnections, 0, "no connection was lost over them");
    assert_eq!(look.queue("events.wild").await.0, 0);
    stop(publishing).await;
    stop(working).await;
    block_in_place(|| node.rabbitmqctl(&["delete_user", &user]));
}
