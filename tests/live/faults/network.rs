//! What a network does to connections.

use std::time::Duration;

use es_bus_tests::{Door, Frame, Method, Mode, Way};

use super::load::{Load, PREFETCH, PUBLISHERS};
use crate::support::soon;

/// After a fault is over, within which events flow again. Connections are tried every half second at
/// the latest; the rest is for two busy cores.
const RECOVERY: Duration = Duration::from_secs(8);
/// How long a silent peer goes unnoticed: two heartbeats of a second, and one more for the broker.
const SILENCE: Duration = Duration::from_secs(6);

/// What may come twice for each connection that is lost: all that a worker had in hand, and every
/// publish without its confirm.
fn most(losses: usize) -> usize {
    losses * (usize::from(PREFETCH) + PUBLISHERS)
}

#[track_caller]
fn assert_few(duplicates: [usize; 2], most: usize) {
    assert!(duplicates.iter().all(|count| *count <= most), "{duplicates:?}, at most {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_closed_reset_or_half_closed_are_made_again() {
    let load = Load::start("net-cut").await;

    load.proxy.cut("");
    load.unwell_within(RECOVERY).await;
    load.flows_within(RECOVERY).await;
    load.proxy.once("", Mode::Reset);
    load.unwell_within(RECOVERY).await;
    load.flows_within(RECOVERY).await;
    for way in [Way::ToBroker, Way::ToClient] {
        load.proxy.set("", way, Mode::HalfClose);
        load.unwell_within(SILENCE).await;
        load.proxy.pass();
        load.flows_within(RECOVERY + SILENCE).await;
    }

    assert!(load.errors().is_empty(), "publishes wait for the connection: {:?}", load.errors());
    assert!(load.working.stats().reconnections >= 4, "{:#?}", load.working.stats());
    // A half-closed connection may be lost once on each side.
    assert_few(load.end().await, most(6));
}

/// Neither side hears the other; then only one of them does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_falls_silent_is_noticed_and_outlived() {
    let load = Load::start("net-silent").await;

    for ways in [&[Way::ToBroker, Way::ToClient][..], &[Way::ToClient], &[Way::ToBroker]] {
        for way in ways {
            load.proxy.set("", *way, Mode::Hold);
        }
        load.unwell_within(SILENCE).await;
        // What was held arrives now, at a broker and at a client that may both have given up.
        load.proxy.pass();
        load.flows_within(RECOVERY).await;
    }

    assert!(load.errors().is_empty(), "publishes wait for the connection: {:?}", load.errors());
    assert_few(load.end().await, most(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_costs_the_connections_and_no_event() {
    let load = Load::start("net-swallow").await;

    for way in [Way::ToBroker, Way::ToClient] {
        load.proxy.set("", way, Mode::Swallow);
    }
    load.unwell_within(SILENCE).await;
    load.proxy.pass();
    load.flows_within(RECOVERY).await;

    assert_few(load.end().await, most(2));
}

/// Each of the two connections of the worker can be lost without the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_connection_alone_can_fall_silent() {
    let load = Load::start("net-one").await;

    for side in ["(publishing)", "(consuming)"] {
        for way in [Way::ToBroker, Way::ToClient] {
            load.proxy.set(side, way, Mode::Swallow);
        }
        load.unwell_within(SILENCE).await;
        load.proxy.pass();
        load.flows_within(RECOVERY).await;
    }

    assert_few(load.end().await, most(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_costs_time_and_nothing_else() {
    let load = Load::start("net-slow").await;

    for way in [Way::ToBroker, Way::ToClient] {
        load.proxy.set("", way, Mode::Delay(Duration::from_millis(150)));
    }
    load.flows_within(3 * RECOVERY).await;
    for way in [Way::ToBroker, Way::ToClient] {
        load.proxy.set("", way, Mode::Slow(20_000));
    }
    load.flows_within(3 * RECOVERY).await;
    load.proxy.pass();
    load.flows_within(RECOVERY).await;

    assert!(load.was_well() && load.working.stats().reconnections == 0, "{:#?}", load.working.stats());
    assert_eq!(load.end().await, [0, 0], "no connection was lost, so nothing came twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_refuses_or_hangs_up_is_tried_until_it_serves() {
    let load = Load::start("net-refuse").await;

    load.proxy.door(Door::Shut);
    load.proxy.cut("");
    load.unwell_within(RECOVERY).await;
    load.proxy.door(Door::Slammed);
    soon("all four have tried it", || (load.proxy.slammed() >= 4).then_some(()));
    load.proxy.door(Door::Open);
    load.flows_within(RECOVERY).await;

    assert!(load.errors().is_empty(), "publishes wait for the connection: {:?}", load.errors());
    assert_few(load.end().await, most(2));
}

/// The broker has the event, and its publisher does not know it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_whose_confirm_is_lost_is_sent_again_under_the_same_id() {
    let load = Load::start("net-confirm").await;

    for _ in 0..3 {
        let lost =
            load.proxy.at("(publishing)", Way::ToClient, Mode::Cut, |frame: &Frame| frame.is(Method::Ack));
        tokio::task::block_in_place(|| lost.until_sprung(RECOVERY));
        load.flows_within(RECOVERY).await;
    }

    assert!(load.errors().is_empty(), "publishes wait for the connection: {:?}", load.errors());
    assert_few(load.end().await, most(3));
}
