//! A circuit breaker as a layer around a handler, a group or the bus.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use es_bus::{BoxError, BoxFuture, HandlerService, Invocation, Outcome, Verdict};
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service};

/// After so many failures in a row it is not ready for a while; then one call finds out whether the
/// other side is back.
pub(crate) struct CircuitBreaker {
    pub(crate) failures: u32,
    pub(crate) open_for: Duration,
}

impl Layer<HandlerService> for CircuitBreaker {
    type Service = Breaking;

    fn layer(&self, inner: HandlerService) -> Breaking {
        let Self { failures, open_for } = *self;
        let breaker = Breaker { state: Circuit::Closed { failed: 0 }, waiting: None, failures, open_for };
        Breaking { inner, breaker: Arc::new(Mutex::new(breaker)), timer: Box::pin(sleep(Duration::ZERO)) }
    }
}

enum Circuit {
    /// Calls go through; the last so many failed.
    Closed { failed: u32 },
    /// Not ready before then; the next call is the probe.
    Open(Instant),
    /// Half open: not ready before the probe has ended.
    Probing,
}

struct Breaker {
    state: Circuit,
    /// Who asked while the probe ran.
    waiting: Option<Waker>,
    failures: u32,
    open_for: Duration,
}

impl Breaker {
    fn turn(&mut self, name: &str, state: Circuit) {
        println!("  [breaker]  {name}");
        self.state = state;
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Whether the call that begins is the probe.
    fn probes(&mut self) -> bool {
        let is_open = matches!(self.state, Circuit::Open(_));
        if is_open {
            self.turn("half open", Circuit::Probing);
        }
        is_open
    }

    fn ended(&mut self, is_probe: bool, has_failed: bool) {
        match self.state {
            Circuit::Closed { failed } if has_failed && failed + 1 < self.failures => {
                self.state = Circuit::Closed { failed: failed + 1 };
            }
            Circuit::Closed { .. } if !has_failed => self.state = Circuit::Closed { failed: 0 },
            Circuit::Probing if is_probe && !has_failed => self.turn("closed", Circuit::Closed { failed: 0 }),
            // What began before the circuit opened says nothing new.
            Circuit::Open(_) => {}
            Circuit::Probing if !is_probe => {}
            Circuit::Closed { .. } | Circuit::Probing => {
                self.turn("open", Circuit::Open(Instant::now() + self.open_for));
            }
        }
    }
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Breaking {
    inner: HandlerService,
    breaker: Arc<Mutex<Breaker>>,
    timer: Pin<Box<Sleep>>,
}

impl Service<Invocation> for Breaking {
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut breaker = lock(&self.breaker);
        match &mut breaker.state {
            Circuit::Closed { .. } => {}
            Circuit::Open(until) => {
                if self.timer.deadline() != *until {
                    self.timer.as_mut().reset(*until);
                }
                ready!(self.timer.as_mut().poll(cx));
            }
            Circuit::Probing => {
                breaker.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let is_probe = lock(&self.breaker).probes();
        let mut call = Call { breaker: Arc::clone(&self.breaker), is_probe, has_failed: true };
        let called = self.inner.call(invocation);
        Box::pin(async move {
            let outcome = called.await?;
            call.note(&outcome);
            Ok(outcome)
        })
    }
}

/// A call that is under way. Dropped by a timeout around it, it has failed.
struct Call {
    breaker: Arc<Mutex<Breaker>>,
    is_probe: bool,
    has_failed: bool,
}

impl Call {
    fn note(&mut self, outcome: &Outcome) {
        // Whoever rejects an event has got an answer from the other side.
        self.has_failed = matches!(outcome, Outcome::Failed(error) if error.verdict() == Verdict::Retry);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.breaker).ended(self.is_probe, self.has_failed);
    }
}

#[cfg(test)]
mod tests {
    use es_bus::{Registry, State, event, handler, testing::TestBus};
    use serde::{Deserialize, Serialize};

    use super::*;

    #[event(aggregate = "Parcel")]
    #[derive(Serialize, Deserialize)]
    struct ParcelSent {
        number: u32,
    }

    /// How many ran at the start of each call, itself included; the first eighteen are refused.
    #[derive(Clone, Default)]
    struct Courier {
        calls: Arc<Mutex<Vec<usize>>>,
        running: Arc<()>,
    }

    #[handler(group = "parcels", backoff(base = "10s", max = "10s", jitter = 0.0))]
    async fn announce(_parcel: ParcelSent, State(courier): State<Courier>) -> Result<(), &'static str> {
        let call = {
            let mut calls = courier.calls.lock().expect("nobody panics");
            // Two are held elsewhere: by the bus, and by the test.
            calls.push(Arc::strong_count(&courier.running) - 2);
            calls.len()
        };
        sleep(Duration::from_secs(1)).await;
        if call <= 18 { Err("no answer") } else { Ok(()) }
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_asks_whether_the_other_side_is_back() -> es_bus::Result<()> {
        let courier = Courier::default();
        let breaker = CircuitBreaker { failures: 3, open_for: Duration::from_secs(5) };
        let bus = TestBus::start(|builder| {
            builder
                .registry(Registry::new().handler::<announce>())
                .state(courier.clone())
                .layer_for_handler("parcels", "announce", breaker)
        })
        .await?;

        for number in 1..=20 {
            bus.publish(&ParcelSent { number }).await?;
        }
        bus.run_to_the_end().await;

        // Sixteen at once, as the group has places; two probes that fail, and one that closes it.
        let calls = courier.calls.lock().expect("nobody panics").clone();
        assert_eq!(calls[15..19], [16, 1, 1, 1], "{calls:?}");
        assert!(calls[19..].iter().any(|running| *running > 1), "{calls:?}");
        assert_eq!((bus.counts().failed, bus.counts().handled), (18, 20));
        bus.stop().await
    }
}
