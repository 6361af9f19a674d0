//! A service with an event that ends its process, whatever else that has in hand.
//!
//! Two groups handle each parcel. An explosive one aborts the process in the group `carriers`; the group
//! `clerks` writes it down like any other. Handlers add lines to files in `FRAGILE_DIR`, and take
//! `FRAGILE_PAUSE_MS` in between.

use std::{
    env,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use es_bus::{event, handler};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// A parcel came.
#[event(aggregate = "Parcel", aggregate_id = parcel_id)]
#[derive(Serialize, Deserialize)]
struct ParcelArrived {
    parcel_id: String,
    explosive: bool,
}

#[handler(group = "carriers")]
async fn carry(parcel: ParcelArrived) {
    note("carried", &format!("begin {}", parcel.parcel_id));
    sleep(pause()).await;
    if parcel.explosive {
        note("carried", &format!("boom {}", parcel.parcel_id));
        process::abort();
    }
    note("carried", &format!("end {}", parcel.parcel_id));
}

#[handler(group = "clerks")]
async fn write_down(parcel: ParcelArrived) {
    sleep(pause()).await;
    note("written", &format!("end {}", parcel.parcel_id));
}

fn pause() -> Duration {
    let ms = env::var("FRAGILE_PAUSE_MS").ok().and_then(|ms| ms.parse().ok());
    Duration::from_millis(ms.unwrap_or(5))
}

fn dir() -> PathBuf {
    env::var_os("FRAGILE_DIR").map_or_else(|| Path::new(".").to_owned(), PathBuf::from)
}

/// Adds a line to a file.
fn note(file: &str, line: &str) {
    es_bus_tests::note(&dir().join(file), line);
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    es_bus::run().await
}
