//! Handlers that are plain functions: they run on tokio's blocking pool.
//!
//! A function cannot be stopped from outside. When its timeout passes, its event is handled as a
//! failure and its thread works on until it returns; [`abandoned_threads`] says how many do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::{
    outcome::{HandlerError, Outcome},
    scope,
};

static ABANDONED: AtomicU64 = AtomicU64::new(0);

/// How many threads run handlers that nobody waits for any more.
#[must_use]
pub fn abandoned_threads() -> u64 {
    ABANDONED.load(Ordering::Relaxed)
}

/// Runs a function on the blocking pool and waits for what it returns.
///
/// A panic goes on in the caller, as if it had happened there. The caller's [scope](crate::scope()) goes
/// along.
///
/// # Cancel safety
///
/// Dropped before the function has returned, the future leaves it running; it is counted among
/// [`abandoned_threads`] until it returns.
pub async fn call_blocking(function: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let watch = Watch(Arc::new(Run::default()));
    let run = Arc::clone(&watch.0);
    let function = scope::carried(function);
    let task = tokio::task::spawn_blocking(move || {
        // Also when the function panics.
        let _ended = Ended(run);
        function()
    });
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Outcome::Failed(HandlerError::retry(error)),
        },
    }
}

/// How far a run has come; whoever is second to change it keeps the count right.
#[derive(Default)]
struct Run {
    over: AtomicBool,
}

/// Held by the future: dropped early, the thread is on its own.
struct Watch(Arc<Run>);

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.0.over.load(Ordering::Acquire) {
            // Counted first: the thread may end in between, and takes off what is there.
            ABANDONED.fetch_add(1, Ordering::Relaxed);
            if self.0.over.swap(true, Ordering::AcqRel) {
                ABANDONED.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Held by the thread: dropped when the function is over.
struct Ended(Arc<Run>);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.over.swap(true, Ordering::AcqRel) {
            ABANDONED.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn counts_a_thread_that_outlives_its_timeout_until_it_ends() {
        let (release, held) = mpsc::channel::<()>();

        let call = call_blocking(move || {
            let _ = held.recv();
            Outcome::Done
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
        assert_eq!(abandoned_threads(), 1);

        release.send(()).expect("the thread waits");
        while abandoned_threads() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        assert!(call_blocking(|| Outcome::Done).await.is_done());
        assert_eq!(abandoned_threads(), 0);
    }

    #[tokio::test]
    #[should_panic(expected = "the ledger is torn")]
    async fn a_panic_goes_on_in_the_caller() {
        let _ = call_blocking(|| panic!("the ledger is torn")).await;
    }
}
