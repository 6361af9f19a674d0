//! A signal ends a service in order, a second one at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use es_bus::{Handle, Registry};
use es_bus_tests::{Node, Vhost};

use crate::support::{Launch, Look, OrderPlaced, PATIENCE, TempDir, placed, publisher, stop, touch};

fn shop(vhost: &Vhost, dir: &Arc<TempDir>, group: &str) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_shop"), dir)
        .env("ES_BUS_URL", vhost.url())
        .env("ES_BUS_GROUPS", group)
        .env("SHOP_DIR", dir.path(""))
}

/// Publishes an event of each of these orders.
async fn publish(vhost: &Vhost, orders: &[&str]) {
    let bus: Handle = publisher(vhost.url(), Registry::new().event::<OrderPlaced>()).await;
    for order in orders {
        bus.publisher().publish(&placed(*order, 1)).await.expect("the exchange is there");
    }
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finishes_what_is_in_hand_and_gives_back_what_has_not_started() {
    let vhost = Node::shared().vhost("sigterm");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let service =
        shop(&vhost, &dir, "gated").env("ES_BUS_CONCURRENCY", "1").env("ES_BUS_PREFETCH", "10").start();
    look.until("events.gated", 0, 1).await;
    publish(&vhost, &["o-0", "o-1", "o-2", "o-1", "o-2"]).await;
    dir.until("handled", "the first event", |lines| lines == ["start o-0"]);
    look.until("events.gated", 0, 1).await;

    service.signal("TERM");
    // While the handler still runs.
    // A quorum queue counts the consumer until its last message is settled.
    look.until("events.gated", 4, 1).await;
    assert_eq!(dir.lines("handled"), ["start o-0"]);
    touch(&dir.path("gate"));
    service.wait(PATIENCE).assert_code(0);

    assert_eq!(dir.lines("handled"), ["start o-0", "end o-0"]);
    assert_eq!(look.queue("events.gated").await, (4, 0));
    // They come in their old order to whoever is next.
    let service = shop(&vhost, &dir, "gated").env("ES_BUS_CONCURRENCY", "1").start();
    let lines = dir.until("handled", "the rest", |lines| lines.len() == 10);
    assert_eq!(
        lines[2..],
        ["start o-1", "end o-1", "start o-2", "end o-2", "start o-1", "end o-1", "start o-2", "end o-2"]
    );
    service.signal("INT");
    service.wait(PATIENCE).assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_back_what_takes_longer_than_the_shutdown_timeout() {
    let vhost = Node::shared().vhost("timeout");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let service = shop(&vhost, &dir, "gated").env("ES_BUS_SHUTDOWN_TIMEOUT", "500ms").start();
    look.until("events.gated", 0, 1).await;
    publish(&vhost, &["o-0"]).await;
    dir.until("handled", "the event", |lines| lines == ["start o-0"]);

    let told = Instant::now();
    service.signal("TERM");
    let ended = service.wait(PATIENCE);
    let took = told.elapsed();

    ended.assert_code(0);
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
    assert!(ended.stderr.contains("go back to the queue"), "{}", ended.stderr);
    look.until("events.gated", 1, 0).await;
    touch(&dir.path("gate"));
    let service = shop(&vhost, &dir, "gated").start();
    dir.until("handled", "the event again", |lines| lines == ["start o-0", "start o-0", "end o-0"]);
    service.signal("TERM");
    service.wait(PATIENCE).assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_starts_the_bus_itself_stops_in_order_as_well() {
    let vhost = Node::shared().vhost("started");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let service = shop(&vhost, &dir, "gated").arg("start").start();
    look.until("events.gated", 0, 1).await;
    publish(&vhost, &["o-0"]).await;
    dir.until("handled", "the event", |lines| lines == ["start o-0"]);

    service.signal("TERM");
    touch(&dir.path("gate"));
    service.wait(PATIENCE).assert_code(0);

    assert_eq!(dir.lines("handled"), ["start o-0", "end o-0"]);
    assert_eq!(look.queue("events.gated").await, (0, 0));
}

/// Both threads of the service's runtime are held by handlers, so that none is left to notice a
/// signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_although_handlers_block_every_thread() {
    let vhost = Node::shared().vhost("twice");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let mut service = shop(&vhost, &dir, "stuck").start();
    look.until("events.stuck", 0, 1).await;
    publish(&vhost, &["o-0", "o-1"]).await;
    dir.until("handled", "both threads to be blocked", |lines| lines.len() == 2);

    service.signal("TERM");
    service.until_says("a second signal ends at once");
    let told = Instant::now();
    let ended = service.signal_until_it_ends("TERM");

    ended.assert_code(130);
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    look.until("events.stuck", 2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_also_after_the_shutdown_timeout() {
    let vhost = Node::shared().vhost("late");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let mut service = shop(&vhost, &dir, "stuck").env("ES_BUS_SHUTDOWN_TIMEOUT", "0s").start();
    look.until("events.stuck", 0, 1).await;
    publish(&vhost, &["o-0"]).await;
    dir.until("handled", "a thread to be blocked", |lines| lines.len() == 1);

    service.signal("TERM");
    // The connection is closed, and `main` waits for the thread.
    look.until("events.stuck", 1, 0).await;
    service.until_says("a second signal ends at once");
    let told = Instant::now();

    service.signal_until_it_ends("TERM").assert_code(130);
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}
