//! A process whose memory is measured while it does what would fill it, if nothing bounded it.
//!
//! Its first argument says what: `consume`, `fail`, `call`, `background`. It prints `baseline N` when it is
//! connected, what the test waits for, `now N` now and then, and at the end `peak N`: the most memory of its
//! own that it had since it was started, in bytes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process, str,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use es_bus::{Attempt, Bus, Handle, HandlerError, PublishError, State, event, handler};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Something of a size.
#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
struct ParcelSent {
    content: String,
}

/// What the process has handled.
#[derive(Clone, Default)]
struct Handled(Arc<AtomicU64>);

/// Waits until the file `gate` is there.
#[handler(group = "weighing")]
async fn weigh(parcel: ParcelSent, State(handled): State<Handled>) {
    while !Path::new("gate").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    drop(parcel.content);
    handled.0.fetch_add(1, Ordering::Relaxed);
}

/// Fails twice.
#[handler(group = "failing", retries = 5, backoff(base = "500ms", max = "500ms"))]
async fn drop_it(
    _parcel: ParcelSent,
    attempt: Attempt,
    State(handled): State<Handled>,
) -> Result<(), HandlerError> {
    if attempt.number < 2 {
        return Err(HandlerError::retry("it fell"));
    }
    handled.0.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    let peak = watch_memory();
    let task = env::args().nth(1).unwrap_or_default();
    let (count, size) = (number(2), number(3));
    let handled = Handled::default();
    let bus = Bus::builder().state(handled.clone());
    let bus = if task == "consume" || task == "fail" { bus } else { bus.publish_only() };
    let running = bus.build()?.start().await?;
    say("baseline", memory());
    match task.as_str() {
        "consume" | "fail" => until(&handled, count as u64).await,
        "call" => call(&running, count, size).await,
        "background" => in_background(&running, count, size).await,
        other => panic!("{other:?} is no task"),
    }
    say("peak", peak.load(Ordering::Relaxed).max(memory()));
    running.stop().await
}

/// Waits until so many are handled, and says meanwhile how it is.
async fn until(handled: &Handled, count: u64) {
    while handled.0.load(Ordering::Relaxed) < count {
        say("now", memory());
        sleep(Duration::from_millis(50)).await;
    }
}

/// As many callers as there are events, all at once, each with an event of its own.
async fn call(running: &Handle, count: usize, size: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let publisher = running.publisher().clone();
        calls.spawn(async move { publisher.publish(&parcel(size)).await });
    }
    say("calling", count as u64);
    while let Some(called) = calls.join_next().await {
        called.expect("no caller panicked").expect("the broker comes back in time");
    }
}

/// One caller that hands over one event after another, and goes on when there is no room.
async fn in_background(running: &Handle, count: usize, size: usize) {
    let (confirmed, mut refused) = (Arc::new(Semaphore::new(0)), 0_u32);
    let mut given = 0;
    while given < count {
        match running.publisher().publish_background(&parcel(size)).await {
            Ok(handle) => {
                given += 1;
                let confirmed = Arc::clone(&confirmed);
                tokio::spawn(async move {
                    handle.await.expect("the background has endless patience");
                    confirmed.add_permits(1);
                });
            }
            Err(PublishError::Backlog { .. }) => {
                refused += 1;
                say("refused", refused.into());
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    let all = u32::try_from(count).expect("a few thousand at most");
    drop(confirmed.acquire_many(all).await.expect("it is not closed"));
}

fn parcel(size: usize) -> ParcelSent {
    ParcelSent { content: "x".repeat(size) }
}

fn number(place: usize) -> usize {
    env::args().nth(place).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Looks at the memory every few milliseconds, from now to the end.
fn watch_memory() -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&peak);
    thread::spawn(move || {
        loop {
            watched.fetch_max(memory(), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(3));
        }
    });
    peak
}

/// The memory that this process has of its own: without what is mapped from files, as its code is.
fn memory() -> u64 {
    let path = PathBuf::from(format!("/proc/{}/status", process::id()));
    let status = fs::read(path).expect("the system tells of its processes");
    let status = str::from_utf8(&status).expect("it tells it in ASCII");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib =
        anonymous.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("the system counts what is its own") * 1024
}

#[expect(clippy::print_stdout, reason = "the test reads it")]
fn say(what: &str, number: u64) {
    println!("{what} {number}");
}
