//! The publishers of a load: each publishes one event after another, until all are told to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

pub(super) struct Publishers {
    tasks: JoinSet<()>,
    is_over: Arc<AtomicBool>,
}

impl Publishers {
    /// So many at once. `publish` is told which of them it is for and the number of its event, each from 0,
    /// and is called again after a pause.
    pub(super) fn start<F>(
        count: usize,
        pause: Duration,
        publish: impl Fn(usize, u32) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let is_over = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        for task in 0..count {
            let (publish, is_over) = (publish.clone(), is_over.clone());
            tasks.spawn(async move {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    publish(task, number).await;
                    sleep(pause).await;
                }
            });
        }
        Self { tasks, is_over }
    }

    /// Waits until each has got the answer to what it published last.
    pub(super) async fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no publisher panicked");
        }
    }
}
