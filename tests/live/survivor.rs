//! Killed at any moment, a service loses nothing: what it had in hand is on the broker.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use es_bus_tests::Node;
use tokio::time::sleep;

use crate::support::{Launch, Look, PATIENCE, TempDir};

/// One line of the survivor's log.
#[derive(Debug, PartialEq)]
struct Run {
    handler: String,
    attempt: u32,
    routing_key: String,
    event_id: String,
    at_ms: u64,
}

fn runs(dir: &TempDir) -> Vec<Run> {
    dir.lines("log")
        .iter()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let [handler, attempt, key, id, at] = words[..] else { panic!("{line}") };
            Run {
                handler: handler.to_owned(),
                attempt: attempt.parse().expect("a number"),
                routing_key: key.to_owned(),
                event_id: id.to_owned(),
                at_ms: at.parse().expect("a number"),
            }
        })
        .collect()
}

/// Waits until the event is in the retry queue, and its worker through with it.
async fn until_it_waits(look: &Look) {
    look.until("events.stubborn.retry.4s", 1, 0).await;
    // The acknowledgement of what was retried leaves within 5 ms; nothing outside the worker shows
    // it any sooner than a second later.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(look.queue("events.stubborn.retry.4s").await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_happens_although_the_service_is_killed_while_it_waits() {
    let vhost = Node::shared().vhost("survivor");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let survivor = || {
        Launch::new(env!("CARGO_BIN_EXE_survivor"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("SURVIVOR_LOG", dir.path("log"))
    };

    // Killed before the second attempt, and again before the third.
    let first = survivor().arg("publish").start();
    until_it_waits(&look).await;
    first.kill9();
    let second = survivor().start();
    dir.until("log", "the second attempt", |lines| lines.iter().any(|line| line.starts_with("fail_twice 1")));
    until_it_waits(&look).await;
    second.kill9();
    let third = survivor().start();
    dir.until("log", "the third attempt", |lines| lines.iter().any(|line| line.starts_with("fail_twice 2")));
    assert_eq!(look.left_over(&vhost).await, []);
    third.signal("TERM");
    third.wait(PATIENCE).assert_code(0);

    let runs = runs(&dir);
    let of = |handler: &str| runs.iter().filter(|run| run.handler == handler).collect::<Vec<_>>();
    assert_eq!(of("fail_twice").iter().map(|run| run.attempt).collect::<Vec<_>>(), [0, 1, 2], "{runs:#?}");
    assert_eq!(of("succeed").len(), 1, "{runs:#?}");
    assert_eq!(of("look_on").len(), 1, "{runs:#?}");
    assert!(runs.iter().all(|run| run.routing_key == "Order.OrderPlaced"), "{runs:#?}");
    assert_eq!(runs.iter().map(|run| &run.event_id).collect::<BTreeSet<_>>().len(), 1, "{runs:#?}");
    for pair in of("fail_twice").windows(2) {
        // Four seconds, a tenth less by jitter.
        assert!(pair[1].at_ms - pair[0].at_ms >= 3600, "{runs:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_by_a_service_that_is_killed_again_and_again() {
    const KILLS: u32 = 12;
    let vhost = Node::shared().vhost("killed");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let shop = || {
        Launch::new(env!("CARGO_BIN_EXE_shop"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("ES_BUS_GROUPS", "ledger")
            // Killed so fast that the same event is handled alone more than once when that happens.
            .env("ES_BUS_CRASH_LIMIT", "100")
            .env("SHOP_DIR", dir.path(""))
    };
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").subsec_nanos();
    let mut chance = seed;

    for kill in 0..KILLS {
        let running = shop().arg("publish").start();
        let before = dir.lines("confirmed").len();
        dir.until("confirmed", "events to be published", |lines| lines.len() > before + 3);
        // Any moment will do: that is what this is about.
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sleep(Duration::from_millis(u64::from(chance >> 24))).await;
        running.kill9();
        assert!(dir.lines("confirmed").len() > before, "kill {kill}");
    }
    let last = shop().start();
    let confirmed: BTreeSet<String> = dir.lines("confirmed").into_iter().collect();
    assert_eq!(look.left_over(&vhost).await, [], "seed {seed}");
    let handled: BTreeSet<String> = dir
        .lines("handled")
        .iter()
        .filter_map(|line| line.split_once(' ').filter(|(attempt, _)| *attempt != "0"))
        .map(|(_, id)| id.to_owned())
        .collect();

    let lost: Vec<_> = confirmed.difference(&handled).collect();
    assert_eq!(lost, Vec::<&String>::new(), "{} of {} lost, seed {seed}", lost.len(), confirmed.len());
    assert!(confirmed.len() > 50, "{}", confirmed.len());
    last.signal("TERM");
    last.wait(PATIENCE).assert_code(0);
}
