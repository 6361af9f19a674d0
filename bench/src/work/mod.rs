//! One measurement, in a process of its own: a task comes in, what it cost goes out.

mod consume;
mod end_to_end;
mod memory;
mod prepare;
mod publish;
mod raw;
pub(crate) mod start;

use es_bus::{Bus, BusBuilder, Registry};
use futures_util::future::{Either, select};
use tokio::time::{Duration, sleep};

use crate::{
    Result,
    task::{Contender, Measured, Task, Work},
};

/// Does what the task says.
pub(crate) fn measure(task: &Task) -> Result<Measured> {
    let mut builder = match task.work {
        // One core for the channel and for the broker.
        Work::Memory => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let end = std::pin::pin!(sleep(PATIENCE));
        match select(std::pin::pin!(run(task)), end).await {
            Either::Left((measured, _)) => measured,
            Either::Right(_) => Err(format!("not done after {} s", PATIENCE.as_secs()).into()),
        }
    })
}

async fn run(task: &Task) -> Result<Measured> {
    match (task.work, task.contender) {
        (Work::Prepare { fill, slow }, _) => prepare::prepare(task, fill, slow).await,
        (Work::Publish { window }, Contender::LapinNaive) => publish::lapin_naive(task, window).await,
        (Work::Publish { window }, Contender::LapinTuned) => publish::lapin_tuned(task, window).await,
        (Work::Publish { window }, Contender::LapinAlike) => publish::lapin_alike(task, window).await,
        (Work::Publish { window }, Contender::EsBus) => publish::es_bus(task, window).await,
        (Work::Publish { window }, Contender::EsBusList) => publish::es_bus_list(task, window).await,
        (Work::Consume { prefetch }, Contender::LapinNaive) => consume::lapin(task, prefetch, 1).await,
        (Work::Consume { prefetch }, Contender::LapinTuned) => {
            consume::lapin(task, prefetch, (prefetch / 2).max(1)).await
        }
        (Work::Consume { prefetch } | Work::Beside { prefetch }, Contender::EsBus) => {
            consume::es_bus(task, prefetch).await
        }
        (Work::EndToEnd { rate }, Contender::LapinTuned) => end_to_end::lapin(task, rate, false).await,
        (Work::EndToEnd { rate }, Contender::LapinAlike) => end_to_end::lapin(task, rate, true).await,
        (Work::EndToEnd { rate }, Contender::EsBus) => end_to_end::es_bus(task, rate).await,
        (Work::Start { groups }, Contender::LapinTuned) => start::lapin(task, groups).await,
        (Work::Start { groups }, Contender::EsBus) => start::es_bus(task, groups).await,
        (Work::Memory, Contender::Floor) => memory::floor(task).await,
        (Work::Memory, Contender::EsBus) => memory::es_bus(task).await,
        (work, contender) => Err(format!("{} does no {work:?}", contender.as_str()).into()),
    }
}

/// A bus at the broker of the task, with the defaults but for what is given to it.
fn bus(task: &Task, registry: Registry) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .registry(registry)
        .url(task.url.clone())
        .exchange(task.exchange())
        .set(
            "kind",
            match task.kind {
                crate::task::Kind::Memory => "quorum",
                kind => kind.as_str(),
            },
        )
}

/// Longer than the slowest measurement on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
