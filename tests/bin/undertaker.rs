//! A tool that works on dead letters, to be killed while it does: `replay`, `discard` (those of type
//! `OrderShipped`) or `purge` (into new files whose names begin as `UNDERTAKER_FILE` says), again and again.
//!
//! Says `ready` before it begins, and `busy` when another tool is at work.

use std::{env, process, time::Duration};

use es_bus::{
    Bus, Registry,
    dead_letters::{DeadLetterError, Filter},
};
use tokio::fs::File;

#[expect(clippy::print_stderr, reason = "who kills it reads along")]
#[tokio::main]
async fn main() -> es_bus::Result<()> {
    let word = env::args().nth(1).expect("replay, discard or purge");
    let running = Bus::builder().registry(Registry::new()).publish_only().build()?.start().await?;
    let dead = running.dead_letter_queue("events.ledger.dlq")?;
    let mut exports = 0;
    eprintln!("ready");
    loop {
        let done = match word.as_str() {
            "replay" => dead.replay(Filter::all()).await.map(|report| report.replayed),
            "discard" => dead.discard(Filter::all().event_type("OrderShipped")).await,
            "list" => dead.list(usize::MAX).await.map(|letters| letters.len() as u64),
            "purge" => {
                exports += 1;
                let path = env::var("UNDERTAKER_FILE").expect("UNDERTAKER_FILE names a file");
                let file = File::create_new(format!("{path}-{}-{exports}", process::id())).await;
                dead.export_and_purge(Filter::all(), &mut file.expect("a new file")).await
            }
            other => panic!("{other} is no command"),
        };
        match done {
            Ok(count) => eprintln!("done with {count}"),
            Err(DeadLetterError::Busy { .. }) => eprintln!("busy"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
