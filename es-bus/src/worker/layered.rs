//! Calls a handler through the layers around it, and tells what a layer's answer means.
//!
//! A handler's time runs while the handler does; a layer's readiness is waited for as long as the
//! delivery may stay in hand. What ends without an attempt goes back to the queue.

use std::{
    any::Any,
    error::Error,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};

use super::call::{Began, complete, contain, panic_text};
use crate::{
    handler::{HandlerService, Invocation},
    outcome::{BoxError, FailureKind, HandlerError, Outcome},
};

/// What a call through layers came to.
#[derive(Debug)]
pub(super) enum Called {
    /// An attempt.
    Ran(Outcome),
    /// None: the delivery goes back.
    GivenBack(GivenBack),
}

/// Why a delivery goes back without an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenBack {
    /// A layer sheds load.
    Shed,
    /// No layer was ready in time: other processes may have better luck.
    NotReady,
    /// The process stops.
    Stopped,
}

/// How long a call through layers may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The handler, once it runs.
    pub(super) handler: Duration,
    /// Handler and layers together: what is left of the time that the delivery may be in hand.
    pub(super) whole: Duration,
}

/// Calls a handler through the layers around it; `started` becomes the moment when the handler did.
///
/// Killed while it waits or runs: the delivery is not settled, and comes again.
pub(super) async fn call(
    service: &HandlerService,
    invocation: Invocation,
    limits: Limits,
    stop: &CancellationToken,
    started: &mut Instant,
) -> Called {
    let ended = through(service, &invocation, limits, stop).await;
    let (outcome, given_back) = match ended {
        Ended::Done(Ok(Ok(outcome))) => (outcome, None),
        Ended::Done(Ok(Err(error))) => match meaning(error, invocation.is_waiting()) {
            Ok(error) => (Outcome::Failed(error), None),
            Err(error) => (Outcome::Failed(error), Some(GivenBack::Shed)),
        },
        Ended::Done(Err(panic)) => {
            let text = panic_text(&*panic);
            contain(|| drop(panic));
            (Outcome::Failed(HandlerError::of_kind(FailureKind::Panic, text)), None)
        }
        Ended::TooLong => {
            let text = format!("layers and handler did not finish within {:?}", limits.whole);
            (Outcome::Failed(HandlerError::of_kind(FailureKind::Timeout, text)), None)
        }
        Ended::GivenBack(why) => {
            (Outcome::Failed(HandlerError::retry("the delivery was given back")), Some(why))
        }
    };
    if let Some(Began(at)) = invocation.extension() {
        *started = at;
    }
    // A layer that gave up dropped the handler, and what that had registered has not run.
    let outcome = complete(&invocation, outcome, limits.handler).await;
    match given_back {
        Some(why) => Called::GivenBack(why),
        None => Called::Ran(outcome),
    }
}

/// How the future of a call ended.
enum Ended {
    Done(Result<Result<Outcome, BoxError>, Box<dyn Any + Send>>),
    GivenBack(GivenBack),
    TooLong,
}

async fn through(
    service: &HandlerService,
    invocation: &Invocation,
    limits: Limits,
    stop: &CancellationToken,
) -> Ended {
    let called = async { service.dispatch(invocation.clone()).await };
    let mut slot = pin!(Some(AssertUnwindSafe(called).catch_unwind()));
    // So that what begins late can still take its time.
    let mut patience = pin!(sleep(limits.whole.saturating_sub(limits.handler)));
    let mut too_long = pin!(sleep(limits.whole));
    let mut stopped = pin!(stop.cancelled());
    let ended = poll_fn(|cx| {
        let called = slot.as_mut().as_pin_mut().expect("it is taken out below");
        if let Poll::Ready(done) = called.poll(cx) {
            return Poll::Ready(Ended::Done(done));
        }
        // It begins or ceases to wait only when it is polled.
        if invocation.is_waiting() {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ended::GivenBack(GivenBack::Stopped));
            }
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ended::GivenBack(GivenBack::NotReady));
            }
        }
        too_long.as_mut().poll(cx).map(|()| Ended::TooLong)
    })
    .await;
    contain(|| slot.set(None));
    ended
}

/// What a layer's error means: a failed attempt, or else none at all.
fn meaning(error: BoxError, is_waiting: bool) -> Result<HandlerError, HandlerError> {
    if has::<Overloaded>(&*error) {
        return Err(HandlerError::retry(error));
    }
    if has::<Elapsed>(&*error) {
        // A timeout around a limit further inwards ran while nothing else did.
        let make = |error| HandlerError::of_kind(FailureKind::Timeout, error);
        return if is_waiting { Err(make(error)) } else { Ok(make(error)) };
    }
    Ok(HandlerError::of_layer(error))
}

fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (**error).source()).take(64).any(<dyn Error>::is::<E>)
}
