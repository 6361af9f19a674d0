//! The processes of a run: publishers and workers, which write into the ledger what they did.

use std::{env, time::Duration};

use es_bus::{Attempt, Bus, Emit, HandlerError, Metadata, PublishError, Publisher, event, group, handler};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

use crate::{
    fate::{Fate, fate},
    ledger::{Entry, Ledger},
};

/// What publishers publish.
#[event(aggregate = "Soak", aggregate_id = key, mandatory)]
#[derive(Serialize, Deserialize)]
pub(crate) struct Ticked {
    /// A few of them, so that events wait for each other.
    key: String,
}

/// What follows from some of them, once for each group.
#[event(aggregate = "Soak", aggregate_id = answers, mandatory)]
#[derive(Serialize, Deserialize)]
pub(crate) struct Answered {
    /// Group and id of what it follows from.
    answers: String,
}

/// The group whose queue is a quorum queue.
#[group(
    kind = "quorum", prefetch = 50, concurrency = 8, timeout = "1s", retries = 6,
    backoff(base = "100ms", max = "800ms"), retry_ladder = []
)]
struct Quorum;

/// The group whose queue is a classic one.
#[group(
    kind = "classic", prefetch = 50, concurrency = 8, timeout = "1s", retries = 6,
    backoff(base = "100ms", max = "800ms"), retry_ladder = []
)]
struct Classic;

/// The prefetch of both groups, which bounds the duplicates.
pub(crate) const PREFETCH: u64 = 50;
/// How many events a publisher is at, at a time.
pub(crate) const PUBLISHING: u32 = 4;

#[handler(group = Quorum)]
async fn tick_quorum(
    _tick: Ticked,
    attempt: Attempt,
    metadata: Metadata,
) -> Result<Emit<Option<Answered>>, HandlerError> {
    tick("quorum", &metadata.event_id, attempt.number).await
}

#[handler(group = Classic)]
async fn tick_classic(
    _tick: Ticked,
    attempt: Attempt,
    metadata: Metadata,
) -> Result<Emit<Option<Answered>>, HandlerError> {
    tick("classic", &metadata.event_id, attempt.number).await
}

#[handler(group = Quorum)]
async fn answer_quorum(answered: Answered) {
    Ledger::here().note(&Entry::Answered { group: "quorum".to_owned(), answers: answered.answers });
}

#[handler(group = Classic)]
async fn answer_classic(answered: Answered) {
    Ledger::here().note(&Entry::Answered { group: "classic".to_owned(), answers: answered.answers });
}

/// Does what the id says, and writes it down.
async fn tick(group: &str, id: &str, attempt: u32) -> Result<Emit<Option<Answered>>, HandlerError> {
    let fate = fate(id);
    let (group, id) = (group.to_owned(), id.to_owned());
    let failed = || Ledger::here().note(&Entry::Failed { group: group.clone(), id: id.clone() });
    // Long enough that a kill finds some in hand.
    sleep(Duration::from_millis(3)).await;
    match fate {
        Fate::Doomed => {
            failed();
            return Err(HandlerError::retry("it always fails"));
        }
        Fate::Rejected => {
            failed();
            return Err(HandlerError::reject("it is of no use"));
        }
        Fate::Fails(times) if attempt < times => {
            failed();
            return Err(HandlerError::retry("not yet"));
        }
        Fate::Panics if attempt == 0 => {
            failed();
            panic!("as its id says");
        }
        Fate::Hangs if attempt == 0 => {
            failed();
            std::future::pending::<()>().await;
        }
        Fate::Plain | Fate::Answered | Fate::Fails(_) | Fate::Panics | Fate::Hangs => {}
    }
    let answers = (fate == Fate::Answered).then(|| Answered { answers: format!("{group}:{id}") });
    Ledger::here().note(&Entry::Done { group, id });
    Ok(Emit(answers))
}

/// Consumes, until it is told to end.
pub(crate) async fn work() -> es_bus::Result<()> {
    Bus::builder().build()?.run().await
}

/// Publishes, until it is told to end.
pub(crate) async fn publish() -> es_bus::Result<()> {
    let rate: u32 = env::var("SOAK_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(100);
    let name = env::var("SOAK_NAME").unwrap_or_default();
    let running = Bus::builder().publish_only().build()?.start().await?;
    let mut tasks = JoinSet::new();
    for task in 0..PUBLISHING {
        let (publisher, name) = (running.publisher().clone(), name.clone());
        tasks.spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) * PUBLISHING / rate.max(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0_u64.. {
                ticks.tick().await;
                let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name}-{task}-{number}").as_bytes());
                let tick = Ticked { key: format!("{name}-{}", number % 5) };
                // One of the four goes the other way into the broker.
                if !until_confirmed(&publisher, &tick, &id.to_string(), task == 0).await {
                    return;
                }
            }
        });
    }
    running.stop_on_signal().await?;
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Publishes an event under its id until the broker has it; `false` when the program ends first.
async fn until_confirmed(publisher: &Publisher, tick: &Ticked, id: &str, in_background: bool) -> bool {
    let ledger = Ledger::here();
    ledger.note(&Entry::Sent { id: id.to_owned() });
    loop {
        let publish = publisher.publish(tick).id(id);
        let published = match in_background {
            true => match publish.in_background().await {
                Ok(handle) => handle.await,
                Err(error) => Err(error),
            },
            false => publish.await,
        };
        match published {
            Ok(_) => {
                ledger.note(&Entry::Confirmed { id: id.to_owned() });
                return true;
            }
            Err(PublishError::Closed) => return false,
            Err(error) => {
                ledger.note(&Entry::Refused { id: id.to_owned(), error: error.to_string() });
                // An error that comes at once must not fill the disk.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
