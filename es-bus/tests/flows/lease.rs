//! A delivery whose channel is gone is nobody's here any more: what its run comes to is dropped.

use es_bus::{Lease, Registry, State, group, handler, testing::TestBus};

use crate::support::{Gate, Journal, OrderPlaced, at_rest, eventually, placed, ready_in, take_all};

#[handler(group = "leased", retries = 0)]
async fn leased(
    order: OrderPlaced,
    lease: Lease,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) -> Result<(), String> {
    gate.pass().await;
    journal.note(format!("{} {}", order.order_id, if lease.is_lost() { "lost" } else { "held" }));
    if order.order_id == "fails" { Err("no".to_owned()) } else { Ok(()) }
}

async fn bus(registry: Registry) -> (TestBus, Journal, Gate) {
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone()).state(gate.clone()));
    (bus.await.unwrap(), journal, gate)
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_lost_lease_is_not_dead_lettered_and_comes_again() {
    let (bus, journal, gate) = bus(Registry::new().handler::<leased>()).await;
    bus.publish(&placed("fails")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link();
    gate.open(1);
    gate.entered(2).await;
    assert_eq!(journal.lines(), ["fails lost"]);
    assert_eq!((bus.counts().stale, bus.counts().dead_lettered), (1, 0));
    assert_eq!(bus.fates("leased"), [], "no dead letter is told of that there is not");
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["fails lost", "fails held"]);
    assert_eq!((bus.counts().stale, bus.counts().dead_lettered), (1, 1));
    assert_eq!(take_all(&bus, "events.leased.dlq").await.len(), 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outcome_of_a_lost_lease_settles_nothing_of_the_next_channel() {
    let (bus, journal, gate) = bus(Registry::new().handler::<leased>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link();
    eventually("it is in hand again", || bus.broker().pending().unsettled == 1).await;
    gate.open(1);
    gate.entered(2).await;

    assert_eq!(journal.lines(), ["o-1 lost"]);
    assert_eq!(bus.broker().pending().unsettled, 1, "the second delivery is not acknowledged");
    assert_eq!(bus.counts().stale, 1);
    gate.open(1);
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["o-1 lost", "o-1 held"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_waits_for_the_broker_is_left_when_the_event_comes_again() {
    let (bus, _journal, gate) = bus(Registry::new().handler::<leased>()).await;
    bus.publish(&placed("fails")).await.unwrap();
    gate.entered(1).await;
    bus.broker().faults().block("memory");
    gate.open(1);
    at_rest().await;

    bus.broker().faults().cut_link();
    eventually("its outcome is dropped", || bus.counts().stale == 1).await;
    bus.broker().faults().unblock();
    gate.entered(2).await;
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!(bus.counts().dead_lettered, 1);
    assert_eq!(ready_in(&bus, "events.leased.dlq").await, 1, "and no second copy");
    bus.stop().await.unwrap();
}

#[group(on_exhausted = "drop")]
struct Forgetful;

#[handler(group = Forgetful, retries = 0)]
async fn forget(_order: OrderPlaced, State(gate): State<Gate>) -> Result<(), String> {
    gate.pass().await;
    Err("no".to_owned())
}

/// It is not lost: it comes again.
#[tokio::test(start_paused = true)]
async fn a_failure_of_a_lost_lease_is_not_dropped_where_no_dead_letters_are_kept() {
    let (bus, _journal, gate) = bus(Registry::new().handler::<forget>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link();
    gate.open(1);
    gate.entered(2).await;
    assert_eq!((bus.counts().stale, bus.counts().dropped), (1, 0));
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!((bus.counts().stale, bus.counts().dropped), (1, 1));
    bus.stop().await.unwrap();
}

#[handler(group = "waiting")]
async fn waiting(order: OrderPlaced, lease: Lease, State(journal): State<Journal>) -> Result<(), String> {
    if order.total == 100 && journal.lines().is_empty() {
        journal.note("waits");
        lease.lost().await;
        journal.note("stopped");
        return Err("it comes again".to_owned());
    }
    journal.note("done");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_the_loss_stops_at_once() {
    let (bus, journal, _gate) = bus(Registry::new().handler::<waiting>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    eventually("it runs", || !journal.lines().is_empty()).await;

    bus.broker().faults().cut_link();
    bus.run_until_idle().await;
    eventually("it is done", || journal.lines().len() == 3).await;

    assert_eq!(journal.lines(), ["waits", "stopped", "done"]);
    assert_eq!((bus.counts().stale, bus.counts().retried), (1, 0));
    bus.stop().await.unwrap();
}
