//! What is published carries what is said where it is published.

use es_bus::{
    Delivered, Envelope, PublishError, Publisher, Registry, Scope, State, handler, testing::TestBus,
};

use crate::support::{InvoiceSent, Journal, OrderPlaced, OrderShipped, placed, shipped};

/// Correlation, causation, tenant, actor, metadata.
fn line<E>(envelope: &Envelope<E>) -> String {
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let metadata = &envelope.metadata;
    format!(
        "{} {} {} {} {}",
        said(&metadata.correlation_id),
        said(&metadata.causation_id),
        said(&metadata.tenant_id),
        said(&metadata.actor_id),
        serde_json::Value::Object(metadata.metadata.clone()),
    )
}

#[handler(group = "inbox")]
async fn receive(order: Envelope<OrderPlaced>, State(journal): State<Journal>) {
    journal.note(line(&order));
}

/// A publisher that the program keeps, and no extractor hands out.
#[derive(Clone)]
struct Kept(std::sync::Arc<std::sync::OnceLock<Publisher>>);

impl Kept {
    fn publisher(&self) -> &Publisher {
        self.0.get().expect("it was kept after the start")
    }
}

#[handler(group = "shipping")]
async fn ship(order: OrderPlaced, State(kept): State<Kept>) -> Result<(), PublishError> {
    kept.publisher().publish(&shipped(&order.order_id)).await?;
    Ok(())
}

#[handler(group = "shipping")]
fn ship_blocking(
    _order: OrderShipped,
    delivered: Delivered,
    State(kept): State<Kept>,
) -> Result<(), PublishError> {
    // On a thread of its own.
    let number = u32::try_from(delivered.handler.len()).unwrap_or(0);
    tokio::runtime::Handle::current()
        .block_on(async { kept.publisher().publish(&InvoiceSent { number }).await.map(drop) })
}

#[handler(group = "accounting")]
async fn account_shipped(order: Envelope<OrderShipped>, State(journal): State<Journal>) {
    journal.note(format!("shipped {}", line(&order)));
}

#[handler(group = "accounting")]
async fn account(invoice: Envelope<InvoiceSent>, State(journal): State<Journal>) {
    let _ = &invoice;
    journal.note(format!("invoice {}", invoice.metadata.correlation_id.as_deref().unwrap_or("-")));
}

#[tokio::test(start_paused = true)]
async fn what_is_published_in_a_scope_carries_what_is_said_there() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<receive>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    let publisher = bus.publisher();

    let said = Scope::new()
        .correlation_id("request-1")
        .causation_id("command-1")
        .tenant("acme")
        .actor("jane")
        .metadata("channel", "web")
        .metadata("step", 1);
    es_bus::scope(said.clone(), async {
        publisher.publish(&placed("o-1")).await.unwrap();
        // What is said of the event itself comes first.
        publisher
            .publish(&placed("o-1"))
            .correlation_id("own")
            .causation_id("own")
            .tenant("own")
            .actor("own")
            .metadata("step", 2)
            .await
            .unwrap();
        publisher.publish_all(&[placed("o-1")]).await.into_result().unwrap();
        drop(publisher.publish_background(&placed("o-1")).await.unwrap());
    })
    .await;
    bus.run_until_idle().await;
    publisher.publish(&placed("o-1")).id("e-1").await.unwrap();
    bus.run_until_idle().await;

    let scoped = r#"request-1 command-1 acme jane {"channel":"web","step":1}"#;
    let own = r#"own own own own {"channel":"web","step":2}"#;
    assert_eq!(journal.lines(), [scoped, own, scoped, scoped, "e-1 - - - {}"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_publisher_knows_of_its_cause_comes_before_the_scope() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<receive>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    let mut cause = es_bus::Metadata::new(
        "cause-1".to_owned(),
        "OrderPlaced".to_owned(),
        time::OffsetDateTime::UNIX_EPOCH,
    );
    cause.correlation_id = Some("process-1".to_owned());
    let publisher = bus.publisher().caused_by(cause);

    let said = Scope::new().correlation_id("request-1").tenant("acme");
    es_bus::scope(said, async { publisher.publish(&placed("o-1")).await }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["process-1 cause-1 acme - {}"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn within_a_handler_the_scope_is_the_event_that_it_handles() {
    let journal = Journal::default();
    let kept = Kept(std::sync::Arc::default());
    let registry = Registry::new()
        .handler::<ship>()
        .handler::<ship_blocking>()
        .handler::<account_shipped>()
        .handler::<account>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone()).state(kept.clone()))
        .await
        .unwrap();
    let _ = kept.0.set(bus.publisher().clone());

    bus.publish(&placed("o-1"))
        .id("event-1")
        .correlation_id("request-1")
        .tenant("acme")
        .actor("jane")
        .metadata("own", true)
        .await
        .unwrap();
    bus.run_until_idle().await;

    // Words of metadata belong to the event of which they were said.
    assert_eq!(journal.lines(), ["shipped request-1 event-1 acme jane {}", "invoice request-1"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_word_that_json_cannot_say_is_an_error_of_whoever_publishes() {
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().event::<OrderPlaced>()).publish_only())
            .await
            .unwrap();
    let keyed_by_lists = std::collections::BTreeMap::from([(vec![1], 1)]);

    let said = Scope::new().metadata("odd", keyed_by_lists);
    let error = es_bus::scope(said, async { bus.publish(&placed("o-1")).await }).await.unwrap_err();

    let PublishError::Encode(source) = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("\"odd\""), "{source}");
    bus.stop().await.unwrap();
}
