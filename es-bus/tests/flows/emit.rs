//! `Emit<T>`: what a handler returns is published before its event is acknowledged.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{
    BoxError, Emit, Envelope, FailureKind, FromDelivery, HandlerError, Invocation, Metadata, RawEvent,
    Registry, State, event, handler,
    registry::Handler,
    testing::{Fate, TestBus},
};
use serde::{Deserialize, Serialize};

use crate::support::{
    Gate, InvoiceSent, Journal, OrderPlaced, OrderShipped, at_rest, foreign, placed, publish_raw, ready_in,
    shipped, take_all,
};

/// An invoice was issued, of another service's exchange.
#[event(aggregate = "Invoice", aggregate_id = order_id, exchange = "billing")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct InvoiceIssued {
    order_id: String,
    total: u32,
}

/// What an accountant wants to see.
#[event(aggregate = "Ledger")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum LedgerEvent {
    Booked { sum: u32 },
    Flagged,
}

#[handler(group = "invoicing")]
async fn invoice(order: OrderPlaced) -> Emit<InvoiceIssued> {
    Emit(InvoiceIssued { order_id: order.order_id, total: order.total })
}

#[handler(group = "billing")]
async fn receive(invoice: Envelope<InvoiceIssued>, State(journal): State<Journal>) {
    let Metadata { correlation_id, causation_id, tenant_id, actor_id, .. } = invoice.metadata;
    journal.note(format!(
        "{} {correlation_id:?} {causation_id:?} {tenant_id:?} {actor_id:?}",
        invoice.event.order_id
    ));
}

fn first_words(journal: &Journal) -> Vec<String> {
    journal.lines().iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

async fn bus_of(registry: Registry, journal: &Journal) -> TestBus {
    TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_emits_is_published_as_caused_by_its_event() {
    let journal = Journal::default();
    let bus = bus_of(Registry::new().handler::<invoice>().handler::<receive>(), &journal).await;

    bus.publish(&placed("o-1"))
        .id("event-1")
        .correlation_id("request-1")
        .tenant("acme")
        .actor("jane")
        .await
        .unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [r#"o-1 Some("request-1") Some("event-1") Some("acme") Some("jane")"#]);
    assert_eq!(bus.counts().published, 2);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_exchange_of_what_is_emitted_is_declared_and_known() {
    let registry = Registry::new().handler::<invoice>();

    let emitted = |def: &'static es_bus::registry::HandlerDef| -> Vec<_> {
        def.emitted().iter().map(|kind| kind.name).collect()
    };
    assert_eq!(emitted(<invoice as Handler>::DEF), ["InvoiceIssued"]);
    assert_eq!(
        emitted(<many as Handler>::DEF),
        ["InvoiceIssued", "OrderShipped", "Booked", "Flagged", "Booked", "Flagged"]
    );
    assert!(registry.kinds().iter().any(|kind| kind.name == "InvoiceIssued"));
    let bus = bus_of(registry, &Journal::default()).await;

    // Nobody is bound: that it is no `NoExchange` is the point.
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(bus.fates("invoice"), [Fate::Handled]);
    bus.stop().await.unwrap();
}

type Many = (Option<InvoiceIssued>, Vec<OrderShipped>, (LedgerEvent, LedgerEvent));

#[handler(group = "many", retries = 3)]
async fn many(
    order: OrderPlaced,
    State(first): State<Arc<AtomicBool>>,
    State(gate): State<Gate>,
) -> Result<Emit<Many>, String> {
    gate.pass().await;
    // An invoice in the second run only: it moves nobody else's id.
    let first = first.swap(false, Ordering::SeqCst);
    let invoice = (!first).then(|| InvoiceIssued { order_id: order.order_id.clone(), total: order.total });
    let shipped = vec![shipped("s-1"), shipped("s-2"), shipped("s-1")];
    if order.order_id == "hopeless" {
        return Err("nothing is emitted".to_owned());
    }
    Ok(Emit((invoice, shipped, (LedgerEvent::Booked { sum: order.total }, LedgerEvent::Flagged))))
}

#[handler(group = "everything", bind = "#", foreign)]
async fn note(raw: RawEvent, metadata: Metadata, State(journal): State<Journal>) {
    journal.note(format!("{} {}", raw.routing_key, metadata.event_id));
}

async fn many_bus(journal: &Journal, gate: &Gate) -> TestBus {
    let registry = Registry::new().handler::<many>().handler::<note>();
    TestBus::start(|builder| {
        let first = Arc::new(AtomicBool::new(true));
        builder.registry(registry).state(journal.clone()).state(gate.clone()).state(first)
    })
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn sets_options_lists_and_tuples_are_emitted_in_their_order() {
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = many_bus(&journal, &gate).await;

    gate.open(1);
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let keys = first_words(&journal);
    let of = |key: &str| keys.iter().filter(|of| *of == key).count();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!(
        (of("Order.OrderShipped"), of("Ledger.Booked"), of("Ledger.Flagged"), of("Invoice.InvoiceIssued")),
        (3, 1, 1, 0)
    );
    let at = |key: &str| keys.iter().position(|of| of == key);
    assert!(at("Ledger.Booked") < at("Ledger.Flagged"), "{keys:?}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_again_emits_the_same_ids() {
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = many_bus(&journal, &gate).await;

    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;
    // Of what it emits the first is refused: the first of two of one order.
    bus.broker().faults().refuse_publishes(1);
    gate.open(2);
    bus.run_until_idle().await;
    let [Fate::Retried { kind: FailureKind::Completion, error, .. }] = &bus.fates("many")[..] else {
        panic!("{:?}", bus.fates("many"))
    };
    assert!(error.contains("what the handler emits was not published: 3 of 5 events published"), "{error}");
    assert!(error.contains("event 0 failed: a queue refused"), "{error}");
    let first = journal.lines();
    assert_eq!(first.len(), 4, "the event, and three of five: {first:?}");
    bus.run_to_the_end().await;

    assert_eq!(bus.fates("many").last(), Some(&Fate::Handled));
    let all = journal.lines();
    let ids: BTreeSet<&String> = all.iter().collect();
    // The event, the five that follow, and the invoice that the second run adds, elsewhere.
    assert_eq!((all.len(), ids.len()), (9, 6), "{all:#?}");
    assert!(first.iter().all(|line| ids.contains(line)), "{all:#?}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_emits_nothing() {
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = many_bus(&journal, &gate).await;

    gate.open(4);
    bus.publish(&placed("hopeless")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(bus.counts().published, 1);
    assert_eq!(bus.fates("many").len(), 4);
    bus.stop().await.unwrap();
}

#[handler(group = "hasty", timeout = "100ms", retries = 0)]
async fn hasty(order: OrderPlaced, State(gate): State<Gate>) -> Emit<InvoiceSent> {
    gate.pass().await;
    Emit(InvoiceSent { number: order.total })
}

/// The event is in the handler's hands, and the broker takes no more publishes.
async fn blocked_behind_a_handler(bus: &TestBus, gate: &Gate, nth: usize) {
    bus.publish(&placed(&format!("o-{nth}"))).await.unwrap();
    gate.entered(nth).await;
    bus.broker().faults().block("memory");
    gate.open(1);
    at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_what_follows_is_confirmed_within_the_publishers_time() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<hasty>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(gate.clone())).await.unwrap();

    blocked_behind_a_handler(&bus, &gate, 1).await;
    assert_eq!((bus.broker().pending().unsettled, bus.fates("hasty")), (1, vec![]));
    // Far beyond the handler's own tenth of a second.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((bus.broker().pending().unsettled, bus.fates("hasty")), (1, vec![]));
    bus.broker().faults().unblock();
    bus.run_until_idle().await;
    assert_eq!(bus.fates("hasty"), [Fate::Handled]);

    blocked_behind_a_handler(&bus, &gate, 2).await;
    tokio::time::sleep(Duration::from_secs(32)).await;
    bus.broker().faults().unblock();
    bus.run_until_idle().await;
    let [_, Fate::DeadLettered { error, .. }] = &bus.fates("hasty")[..] else { panic!("dead-lettered") };
    assert!(error.contains("30s"), "{error}");
    let [dead] = &take_all(&bus, "events.hasty.dlq").await[..] else { panic!("one dead letter") };
    assert!(dead.message.headers.get_str("x-dlq-reason").unwrap().contains("30s"));
    bus.stop().await.unwrap();
}

/// A completion that says when it ran.
struct Commit;

impl FromDelivery for Commit {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let Some(journal) = invocation.state::<Journal>() else { return Ok(Self) };
        let publisher = invocation.state::<es_bus::Publisher>();
        invocation.on_outcome(move |outcome| {
            let done = outcome.is_done();
            Box::pin(async move {
                journal.note(format!("committed: {done}"));
                // Within a completion the scope is the handled event as well.
                if let (true, Some(publisher)) = (done, publisher) {
                    publisher.publish(&InvoiceSent { number: 1 }).await?;
                }
                Ok::<(), BoxError>(())
            })
        });
        Ok(Self)
    }
}

#[handler(group = "booking", bind = "Order.OrderPlaced")]
fn book(
    order: OrderPlaced,
    _commit: Commit,
    State(journal): State<Journal>,
) -> Result<Emit<LedgerEvent>, String> {
    journal.note("blocking");
    Ok(Emit(LedgerEvent::Booked { sum: order.total }))
}

#[tokio::test(start_paused = true)]
async fn a_blocking_handler_emits_before_its_extractors_complete() {
    let journal = Journal::default();
    let bus = bus_of(Registry::new().handler::<book>().handler::<note>(), &journal).await;

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let words = first_words(&journal);
    let at =
        |word: &str| words.iter().position(|of| of == word).unwrap_or_else(|| panic!("{word}: {words:?}"));
    assert!(at("blocking") < at("committed:"), "{words:?}");
    assert!(at("Ledger.Booked") < at("Invoice.InvoiceSent"), "{words:?}");
    bus.stop().await.unwrap();
}

#[handler(group = "bridge", bind = "legacy.#", foreign)]
async fn bridge(raw: RawEvent) -> Emit<InvoiceSent> {
    Emit(InvoiceSent { number: u32::try_from(raw.received.message.body.len()).unwrap_or(0) })
}

#[tokio::test(start_paused = true)]
async fn messages_of_another_system_without_ids_are_not_taken_for_one() {
    let journal = Journal::default();
    let bus = bus_of(Registry::new().handler::<bridge>().handler::<note>(), &journal).await;

    for _ in 0..2 {
        publish_raw(&bus, "legacy.order", foreign(r#"{"order":1}"#)).await;
        let mut message = foreign(r#"{"order":1}"#);
        message.properties.message_id = Some("m-1".into());
        publish_raw(&bus, "legacy.order", message).await;
    }
    bus.run_until_idle().await;

    let of_invoices: Vec<String> =
        journal.lines().into_iter().filter(|line| line.starts_with("Invoice.InvoiceSent")).collect();
    assert_eq!(of_invoices.len(), 4);
    assert_eq!(
        of_invoices.iter().collect::<BTreeSet<_>>().len(),
        3,
        "the two of one id are one: {of_invoices:?}"
    );
    bus.stop().await.unwrap();
}

#[handler(group = "gated")]
async fn gated(order: OrderPlaced, State(gate): State<Gate>) -> Emit<Vec<InvoiceSent>> {
    gate.pass().await;
    Emit((0..order.total).map(|number| InvoiceSent { number }).collect())
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_still_to_be_emitted() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<gated>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(gate.clone())).await.unwrap();
    let broker = Arc::clone(bus.broker());
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    let stopping = tokio::spawn(bus.stop());
    at_rest().await;
    gate.open(1);
    stopping.await.unwrap().unwrap();

    let looks = crate::support::bus_on(&broker, |builder| {
        builder.registry(Registry::new().event::<OrderPlaced>()).publish_only()
    })
    .await;
    assert_eq!(ready_in(&looks, "events.gated").await, 0);
    looks.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_is_subscribed_emits_as_well() {
    let journal = Journal::default();
    let bus = bus_of(Registry::new().handler::<receive>().event::<OrderShipped>(), &journal).await;
    let subscriptions = bus.subscriptions();
    let _async = subscriptions
        .subscribe("invoicing", |order: OrderPlaced| async move {
            Ok::<_, HandlerError>(Emit(InvoiceIssued { order_id: order.order_id, total: order.total }))
        })
        .await
        .unwrap();
    // Of an exchange that nobody knew when the bus was started.
    let _blocking = subscriptions
        .subscribe_blocking("tolls", |order: OrderShipped| Emit(Some(TollDue { order_id: order.order_id })))
        .await
        .unwrap();

    bus.publish(&placed("o-1")).id("event-1").await.unwrap();
    bus.publish(&shipped("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [r#"o-1 Some("event-1") Some("event-1") None None"#]);
    assert_eq!((bus.counts().failed, bus.counts().published, bus.counts().unroutable), (0, 3, 1));
    bus.stop().await.unwrap();
}

#[event(aggregate = "Toll", aggregate_id = order_id, exchange = "tolls")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TollDue {
    order_id: String,
}
