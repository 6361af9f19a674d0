//! Memory stays within what the settings explain, whatever the broker, the network or the handlers do.
//!
//! Each test has a process of its own, which measures itself. What it may need beyond its baseline is what
//! the settings say it holds, twice (as it comes and as it is read), and the slack.

use std::sync::Arc;

use es_bus::{Handle, Registry, event};
use es_bus_tests::{Door, Mode, Node, Proxy, Vhost, Way};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use crate::support::{Launch, Look, PATIENCE, Program, TempDir, Victim, publisher, soon, stop, touch};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What comes and goes: buffers of the connections, stacks, what the allocator keeps.
const SLACK: u64 = 24 * MIB;

/// Something of a size, as the process has it.
#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
struct ParcelSent {
    content: String,
}

fn weigher(url: impl Into<String>, dir: &Arc<TempDir>, task: &str, count: usize, size: u64) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_weigher"), dir)
        .env("ES_BUS_URL", url.into())
        .env("ES_BUS_GROUPS", "none")
        .arg(task)
        .arg(&count.to_string())
        .arg(&size.to_string())
}

/// A bus that publishes parcels of so many bytes, and as many of them as are asked for.
async fn send(vhost: &Vhost, count: usize, size: u64) {
    let bus: Handle = publisher(vhost.url(), Registry::new().event::<ParcelSent>()).await;
    let size = usize::try_from(size).expect("it fits into memory");
    let parcels: Vec<_> = (0..count).map(|_| ParcelSent { content: "x".repeat(size) }).collect();
    let report = bus.publisher().publish_all(&parcels).await;
    assert!(report.is_complete(), "{report}");
    stop(bus).await;
}

fn said(program: &Program, what: &str) -> Option<u64> {
    let lines = program.printed();
    let of = |line: &String| line.strip_prefix(what)?.trim().parse().ok();
    lines.iter().rev().find_map(of)
}

/// Waits for the end of the process, and holds what it needed to what is explained.
#[track_caller]
#[expect(clippy::print_stdout, reason = "figures that are worth to be seen")]
fn assert_needs_at_most(program: Program, explained: u64, what: &str) {
    let (baseline, peak) =
        soon("the process is through", || Some((said(&program, "baseline")?, said(&program, "peak")?)));
    program.wait(PATIENCE).assert_code(0);
    let (needed, bound) = (peak - baseline, explained + SLACK);
    println!(
        "{what}: {} MiB over a baseline of {} MiB, at most {} MiB are explained",
        needed / MIB,
        baseline / MIB,
        bound / MIB
    );
    assert!(needed <= bound, "{what}: {needed} bytes over the baseline, at most {bound} are explained");
}

/// What a consumer needs whose handler stands still before a queue of so many messages.
async fn assert_costs_its_prefetch(vhost: &str, what: &str, (count, size): (usize, u64), prefetch: u64) {
    let vhost = Node::shared().vhost(vhost);
    let dir = Arc::new(TempDir::new());
    let look = Look::at(&vhost).await;
    let weighing = weigher(vhost.url(), &dir, "consume", count, size)
        .env("ES_BUS_GROUPS", "weighing")
        .env("ES_BUS_PREFETCH", prefetch.to_string())
        .start();
    look.until("events.weighing", 0, 1).await;

    send(&vhost, count, size).await;
    look.until("events.weighing", count as u64 - prefetch, 1).await;
    touch(&dir.path("gate"));

    assert_needs_at_most(weighing, 2 * prefetch * size, what);
}

/// 80 MiB in the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_queue_costs_a_slow_handler_no_more_than_its_prefetch() {
    assert_costs_its_prefetch("deep", "a deep queue", (5000, 16 * KIB), 100).await;
}

/// 160 MiB in the queue, in messages of 4 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn huge_messages_cost_no_more_than_their_size_times_the_prefetch() {
    assert_costs_its_prefetch("huge", "huge messages", (40, 4 * MIB), 5).await;
}

/// 32 MiB go to the retry queue, twice, and come back.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_events_that_wait_for_their_retry_cost_the_worker_nothing() {
    const COUNT: usize = 2000;
    const SIZE: u64 = 16 * KIB;
    const PREFETCH: u64 = 100;
    let vhost = Node::shared().vhost("retries");
    let dir = Arc::new(TempDir::new());
    let look = Look::at(&vhost).await;
    let weighing = weigher(vhost.url(), &dir, "fail", COUNT, SIZE).env("ES_BUS_GROUPS", "failing").start();
    look.until("events.failing", 0, 1).await;

    send(&vhost, COUNT, SIZE).await;

    assert_needs_at_most(weighing, 2 * PREFETCH * SIZE, "thousands of retries");
}

/// Everybody who publishes waits, with an event in hand.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_callers_in_an_outage_cost_what_they_hold() {
    const CALLERS: usize = 5000;
    const SIZE: u64 = KIB;
    // The future of a call in a debug build, its task, what is encoded, and the event itself.
    const CALL: u64 = 12 * KIB + 2 * SIZE;
    let vhost = Node::shared().vhost("outage");
    let proxy = Proxy::before(Node::shared().port());
    let dir = Arc::new(TempDir::new());
    let calling =
        weigher(proxy.url(&vhost.url()), &dir, "call", CALLERS, SIZE).env("ES_BUS_PUBLISH_TIMEOUT", "60s");
    let calling = block_in_place(|| {
        let calling = calling.start();
        soon("it is connected", || said(&calling, "baseline"));
        proxy.door(Door::Shut);
        proxy.cut("");
        soon("all are calling", || said(&calling, "calling"));
        proxy.door(Door::Open);
        calling
    });

    assert_needs_at_most(calling, CALLERS as u64 * CALL, "callers in an outage");
}

/// A connection that takes a MiB in a second, and 64 callers that have 4 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_broker_slows_its_publishers_instead_of_filling_them() {
    const CALLERS: usize = 64;
    const SIZE: u64 = 64 * KIB;
    let vhost = Node::shared().vhost("slow");
    let proxy = Proxy::before(Node::shared().port());
    proxy.set("(publishing)", Way::ToBroker, Mode::Slow(MIB as usize));
    let dir = Arc::new(TempDir::new());
    let calling = weigher(proxy.url(&vhost.url()), &dir, "call", CALLERS, SIZE)
        .env("ES_BUS_PUBLISH_TIMEOUT", "60s")
        .start();

    assert_needs_at_most(calling, CALLERS as u64 * 3 * SIZE, "a slow broker");
}

/// A caller that would hand over 125 MiB, to a broker that takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_fills_the_background_to_its_bound_and_no_further() {
    const COUNT: usize = 2000;
    const SIZE: u64 = 64 * KIB;
    const ROOM: u64 = 200;
    let node = Victim::get().await;
    let vhost = node.vhost("blocked-background");
    let dir = Arc::new(TempDir::new());
    let giving = weigher(vhost.url(), &dir, "background", COUNT, SIZE)
        .env("ES_BUS_PUBLISH_BACKGROUND", ROOM.to_string())
        .env("ES_BUS_PUBLISH_TIMEOUT", "300ms");
    let giving = block_in_place(|| {
        node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
        let giving = giving.start();
        // There was no room three times, so it is full.
        soon("there is no room", || said(&giving, "refused").filter(|times| *times >= 3));
        node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
        giving
    });

    assert_needs_at_most(giving, 2 * ROOM * SIZE, "a blocked broker");
}

/// A connection takes buffers, a thread and channels, which go with it.
#[expect(clippy::print_stdout, reason = "figures that are worth to be seen")]
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_leaves_no_memory_behind() {
    const LOSSES: usize = 10;
    let vhost = Node::shared().vhost("losses");
    let proxy = Proxy::before(Node::shared().port());
    let dir = Arc::new(TempDir::new());
    let look = Look::at(&vhost).await;
    let weighing = weigher(proxy.url(&vhost.url()), &dir, "consume", 1, KIB)
        .env("ES_BUS_GROUPS", "weighing")
        // Else each new thread may begin a heap of its own, of which glibc has eight for each core.
        .env("MALLOC_ARENA_MAX", "1")
        .start();
    look.until("events.weighing", 0, 1).await;
    let lose = async || {
        let before = weighing.printed().len();
        for _ in 0..LOSSES {
            proxy.cut("");
            look.until("events.weighing", 0, 0).await;
            look.until("events.weighing", 0, 1).await;
        }
        // The least: what the next connection takes comes before the last one's goes.
        let said = weighing.printed().into_iter().skip(before);
        let sizes = said.filter_map(|line| line.strip_prefix("now ")?.parse::<u64>().ok());
        sizes.min().expect("it says so all the time")
    };

    // What the allocator took for the first ones it has for the next. What is left behind adds up.
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.push(lose().await);
    }

    println!(
        "lost connections: at least {:?} KiB in each {LOSSES}",
        sizes.iter().map(|it| it / KIB).collect::<Vec<_>>()
    );
    let least = sizes.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min();
    assert!(least < Some(PER_LOSS * LOSSES as u64), "bytes after {LOSSES} more losses each: {sizes:?}");
}

/// What the measuring itself may be wrong by, for each loss; the buffers of a connection are a hundred times
/// as large.
const PER_LOSS: u64 = 64 * KIB;
