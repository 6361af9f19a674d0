//! Runs one handler once: within its time, its panics caught, its completions run. `layered` does it
//! through the layers around it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, poll};
use tokio::time::{Instant, timeout};
use tower::Service;

use crate::{
    handler::{BoxFuture, Call, Completion, HandlerService, Invocation},
    outcome::{BoxError, FailureKind, HandlerError, Outcome},
};

/// A handler as a tower service: the innermost of the layers around it.
#[derive(Clone, Debug)]
struct Innermost {
    call: Call,
    timeout: Duration,
}

impl Service<Invocation> for Innermost {
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let Self { call, timeout } = self.clone();
        Box::pin(async move {
            invocation.extend(Began(Instant::now()));
            Ok(run(call, invocation, timeout).await)
        })
    }
}

/// When the handler began, after all that its layers had to wait for.
#[derive(Clone, Copy)]
pub(super) struct Began(pub(super) Instant);

/// A handler that layers can be put around.
pub(crate) fn innermost(call: Call, timeout: Duration) -> HandlerService {
    HandlerService::new(Innermost { call, timeout })
}

/// Runs a handler and what it registered to be completed.
///
/// Killed while it runs, or between the handler and its completions: the delivery is not settled,
/// and comes again.
pub(super) async fn run(call: Call, invocation: Invocation, limit: Duration) -> Outcome {
    let once = invocation.clone();
    let handler = async move {
        match call {
            Call::One(call) => call(once).await,
            Call::Shared(call) => call(once).await,
            Call::Batch(call) => call(vec![once]).await.pop().unwrap_or_else(|| {
                Outcome::Failed(HandlerError::retry("the handler gave no outcome for its event"))
            }),
        }
    };
    let outcome = guarded(handler, limit).await.unwrap_or_else(Outcome::Failed);
    complete(&invocation, outcome, limit).await
}

/// Runs the completions, last registered first; the first that fails makes a failure of a success.
pub(super) async fn complete(invocation: &Invocation, mut outcome: Outcome, limit: Duration) -> Outcome {
    while let Some(completion) = invocation.pop_completion() {
        let Completion { within, run } = completion;
        let done = guarded(async { run(&outcome).await }, within.unwrap_or(limit))
            .await
            .and_then(|done| done.map_err(|error| HandlerError::of_kind(FailureKind::Completion, error)));
        if let Err(error) = done {
            if outcome.is_done() {
                outcome = Outcome::Failed(HandlerError::of_kind(FailureKind::Completion, error.text()));
            } else {
                tracing::warn!(
                    handler = invocation.handler(),
                    error = error.text(),
                    "a completion failed after the handler had"
                );
            }
        }
    }
    outcome
}

/// Waits for a future of the program's own, for so long, whatever it does: also when it is dropped.
async fn guarded<T>(future: impl Future<Output = T>, limit: Duration) -> Result<T, HandlerError> {
    let mut slot = pin!(Some(AssertUnwindSafe(future).catch_unwind()));
    let mut future = slot.as_mut().as_pin_mut().expect("it was put in a line above");
    let began = Instant::now();
    // What ends as it begins needs no timer.
    let done = match poll!(&mut future) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(limit.saturating_sub(began.elapsed()), future).await,
    };
    contain(|| slot.set(None));
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => {
            let text = panic_text(&*panic);
            contain(|| drop(panic));
            Err(HandlerError::of_kind(FailureKind::Panic, text))
        }
        Err(_elapsed) => {
            Err(HandlerError::of_kind(FailureKind::Timeout, format!("did not finish within {limit:?}")))
        }
    }
}

/// Runs destructors of the program's own, which may panic.
pub(super) fn contain(destructors: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(destructors)) {
        tracing::error!("a destructor panicked: {}", panic_text(&*panic));
        // Its own destructor may be the next to panic.
        std::mem::forget(panic);
    }
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| "panicked without a text".to_owned(), |text| format!("panicked: {text}"))
}
