//! Layers around handlers: tower's own and ones of a service's own, what they count and what they
//! make of an attempt.

use std::{
    fmt,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use es_bus::{
    Attempt, BoxError, BusBuilder, Failure, FailureKind, FromDelivery, HandlerError, HandlerService,
    Invocation, Outcome, Registry, State, group, handler,
    testing::{Fate, TestBus},
    transport::memory::Memory,
};
use tokio::time::{Instant, sleep};
use tower::{
    Layer, Service, ServiceBuilder,
    layer::layer_fn,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
};

use crate::support::{
    Gate, Journal, OrderPlaced, OrderShipped, at_rest, bus_on, eventually, placed, shipped, take_all,
};

const SECOND: Duration = Duration::from_secs(1);

#[handler(group = "limited", timeout = "1s", backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn take_placed(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) {
    journal.note(format!("placed {} {}", order.order_id, attempt.number));
    gate.pass().await;
}

#[handler(group = "limited", timeout = "1s", backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn take_shipped(order: OrderShipped, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("shipped {} {}", order.order_id, attempt.number));
}

#[handler(group = "others", backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn take_elsewhere(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) {
    journal.note(format!("elsewhere {} {}", order.order_id, attempt.number));
    gate.pass().await;
}

/// A bus with three handlers in two groups, and layers around them.
async fn layered(configure: impl FnOnce(BusBuilder) -> BusBuilder) -> (TestBus, Journal, Gate) {
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry =
        Registry::new().handler::<take_placed>().handler::<take_shipped>().handler::<take_elsewhere>();
    let bus = TestBus::start(|builder| {
        configure(builder.registry(registry).state(journal.clone()).state(gate.clone()))
    })
    .await
    .unwrap();
    (bus, journal, gate)
}

/// The registry of a single group, so that nothing else is handled.
fn only_limited() -> Registry {
    Registry::new().handler::<take_placed>().handler::<take_shipped>()
}

async fn only(configure: impl FnOnce(BusBuilder) -> BusBuilder) -> (TestBus, Journal, Gate) {
    layered(|builder| configure(builder.registry(only_limited()))).await
}

fn of(journal: &Journal, word: &str) -> usize {
    journal.lines().iter().filter(|line| line.starts_with(word)).count()
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_on_a_group_counts_all_of_its_handlers_and_spends_no_attempts() {
    let limit = RateLimitLayer::new(2, 10 * SECOND);
    let (bus, journal, gate) = layered(|builder| builder.layer_for_group("limited", limit)).await;
    gate.open(1000);

    let begun = Instant::now();
    for n in 0..4 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
        bus.publish(&shipped(&format!("s-{n}"))).await.unwrap();
    }
    at_rest().await;
    assert_eq!(of(&journal, "placed") + of(&journal, "shipped"), 2, "{:?}", journal.lines());
    assert_eq!(of(&journal, "elsewhere"), 4, "the other group has no limit");
    bus.run_until_idle().await;

    // Two at once, then two each ten seconds: far longer than the handlers' own timeout.
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(journal.lines().iter().all(|line| line.ends_with(" 0")), "{:?}", journal.lines());
    let counts = bus.counts();
    assert_eq!((counts.handled, counts.failed, counts.retried, counts.shed), (12, 0, 0, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_around_the_bus_counts_all_groups_and_one_around_a_handler_only_that() {
    let (bus, journal, gate) = layered(|builder| builder.layer(ConcurrencyLimitLayer::new(3))).await;
    for n in 0..5 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    gate.entered(3).await;
    at_rest().await;
    assert_eq!(gate.count(), 3);
    gate.open(1000);
    bus.run_until_idle().await;
    assert_eq!(bus.counts().handled, 10);
    bus.stop().await.unwrap();

    let limit = ConcurrencyLimitLayer::new(1);
    let (bus, journal2, gate) =
        layered(|builder| builder.layer_for_handler("limited", "take_placed", limit)).await;
    for n in 0..5 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
        bus.publish(&shipped(&format!("s-{n}"))).await.unwrap();
    }
    gate.entered(6).await;
    at_rest().await;
    assert_eq!((of(&journal2, "placed"), of(&journal2, "elsewhere"), of(&journal2, "shipped")), (1, 5, 5));
    gate.open(1000);
    bus.run_until_idle().await;
    assert_eq!((of(&journal, "placed"), of(&journal2, "placed")), (5, 5));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_global_limit_is_shared_by_what_it_is_put_around() {
    let limit = GlobalConcurrencyLimitLayer::new(2);
    let (bus, _journal, gate) =
        layered(|builder| builder.layer_for_group("limited", limit.clone()).layer_for_group("others", limit))
            .await;

    for n in 0..4 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    gate.entered(2).await;
    at_rest().await;
    assert_eq!(gate.count(), 2);
    gate.open(1);
    gate.entered(3).await;
    at_rest().await;
    assert_eq!(gate.count(), 3);
    gate.open(1000);
    bus.run_until_idle().await;

    assert_eq!(bus.counts().handled, 8);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_sheds_goes_back_without_an_attempt_and_does_not_spin() {
    for together in [true, false] {
        let (bus, journal, gate) = only(|builder| {
            // In one layer or in two, the later around the earlier.
            if together {
                let layers = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
                builder.layer_for_group("limited", layers)
            } else {
                builder
                    .layer_for_group("limited", ConcurrencyLimitLayer::new(1))
                    .layer_for_group("limited", LoadShedLayer::new())
            }
        })
        .await;

        bus.publish(&placed("o-1")).await.unwrap();
        gate.entered(1).await;
        bus.publish(&shipped("o-2")).await.unwrap();
        eventually("the second is shed", || bus.counts().shed > 0).await;
        sleep(Duration::from_millis(900)).await;
        let shed = bus.counts().shed;
        // Sixteen places; each given back once, each then pausing for a second.
        assert!(shed <= 16, "{shed}");
        gate.open(1);
        bus.run_until_idle().await;

        assert_eq!(journal.lines(), ["placed o-1 0", "shipped o-2 0"]);
        assert!(bus.fates("take_shipped").contains(&Fate::GivenBack));
        assert_eq!((bus.counts().failed, bus.counts().retried), (0, 0));
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_keeps_the_order_of_its_aggregate() {
    let (bus, journal, gate) = only(|builder| {
        let layers = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
        builder.layer_for_group("limited", layers)
    })
    .await;

    bus.publish(&placed("busy")).await.unwrap();
    gate.entered(1).await;
    for n in 0..20 {
        bus.publish(&OrderPlaced { order_id: "one".to_owned(), total: n }).await.unwrap();
        bus.publish(&shipped("one")).await.unwrap();
    }
    eventually("some are shed", || bus.counts().shed > 3).await;
    gate.open(1000);
    bus.run_until_idle().await;

    let lines: Vec<_> = journal.lines().into_iter().filter(|line| line.contains(" one ")).collect();
    let expected: Vec<_> =
        (0..40).map(|n| if n % 2 == 0 { "placed one 0" } else { "shipped one 0" }).collect();
    assert_eq!(lines, expected);
    bus.stop().await.unwrap();
}

#[handler(group = "pair")]
async fn first_of_pair(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("first");
}

#[handler(group = "pair")]
async fn second_of_pair(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("second {}", attempt.number));
}

/// Refuses as often as it is told, and then lets everything through.
#[derive(Clone)]
struct Refusing {
    left: Arc<AtomicUsize>,
    with: fn() -> BoxError,
}

impl Refusing {
    fn times(times: usize, with: fn() -> BoxError) -> Self {
        Self { left: Arc::new(AtomicUsize::new(times)), with }
    }
}

impl<S> Layer<S> for Refusing {
    type Service = Refused<S>;

    fn layer(&self, inner: S) -> Refused<S> {
        Refused { inner, refusing: self.clone() }
    }
}

struct Refused<S> {
    inner: S,
    refusing: Refusing,
}

impl<S> Service<Invocation> for Refused<S>
where
    S: Service<Invocation, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = futures_util::future::Either<S::Future, Ready<Result<Outcome, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let refuses =
            self.refusing.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match refuses {
            Ok(_) => futures_util::future::Either::Right(ready(Err((self.refusing.with)()))),
            Err(_) => futures_util::future::Either::Left(self.inner.call(invocation)),
        }
    }
}

fn overloaded() -> BoxError {
    Box::new(tower::load_shed::error::Overloaded::new())
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_shed_does_not_run_its_sibling_again() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<first_of_pair>().handler::<second_of_pair>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).layer_for_handler(
            "pair",
            "second_of_pair",
            Refusing::times(2, overloaded),
        )
    })
    .await
    .unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["first", "second 0"]);
    assert_eq!((bus.counts().shed, bus.counts().retried), (2, 0));
    bus.stop().await.unwrap();
}

/// What a transaction would write down about its end.
struct Transaction;

impl FromDelivery for Transaction {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let journal = invocation.state::<Journal>().unwrap();
        journal.note("begin");
        invocation.on_outcome(move |outcome| {
            let end = if outcome.is_done() { "commit" } else { "roll back" };
            Box::pin(async move {
                journal.note(end);
                Ok(())
            })
        });
        Ok(Self)
    }
}

#[handler(group = "slow", retries = 1, backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn slow_at_first(_order: OrderPlaced, _transaction: Transaction, attempt: Attempt) {
    if attempt.number == 0 {
        sleep(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_a_layer_is_an_attempt_that_timed_out_and_rolls_back() {
    let journal = Journal::default();
    let bus = TestBus::start(|builder| {
        builder.registry(Registry::new().handler::<slow_at_first>()).state(journal.clone()).layer_for_handler(
            "slow",
            "slow_at_first",
            TimeoutLayer::new(5 * SECOND),
        )
    })
    .await
    .unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["begin", "roll back", "begin", "commit"]);
    let fates = bus.fates("slow_at_first");
    assert!(
        matches!(&fates[..], [Fate::Retried { kind: FailureKind::Timeout, after, .. }, Fate::Handled] if *after == SECOND),
        "{fates:?}"
    );
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_limit_further_inwards_is_no_timeout() {
    let (bus, journal, gate) = only(|builder| {
        builder.layer(TimeoutLayer::new(2 * SECOND)).layer_for_handler(
            "limited",
            "take_shipped",
            RateLimitLayer::new(1, 60 * SECOND),
        )
    })
    .await;
    gate.open(1000);

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.publish(&shipped("o-2")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["shipped o-1 0", "shipped o-2 0"]);
    assert_eq!(bus.counts().failed, 0);
    assert!(bus.counts().shed > 0);
    bus.stop().await.unwrap();
}

/// Writes down when an invocation comes by.
fn noting(
    journal: &Journal,
    name: &'static str,
) -> impl Layer<HandlerService, Service = Noting> + Clone + use<> {
    let journal = journal.clone();
    layer_fn(move |inner| Noting { inner, journal: journal.clone(), name })
}

struct Noting {
    inner: HandlerService,
    journal: Journal,
    name: &'static str,
}

impl Service<Invocation> for Noting {
    type Response = Outcome;
    type Error = BoxError;
    type Future = es_bus::BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.journal.note(self.name);
        self.inner.call(invocation)
    }
}

#[tokio::test(start_paused = true)]
async fn the_bus_is_around_the_group_and_the_group_around_the_handler() {
    let (bus, journal, gate) = only(|builder| builder).await;
    bus.stop().await.unwrap();
    let bus = TestBus::start(|builder| {
        builder
            .registry(only_limited())
            .state(journal.clone())
            .state(gate.clone())
            .layer_for_handler("limited", "take_shipped", noting(&journal, "handler 1"))
            .layer(noting(&journal, "bus 1"))
            .layer_for_group("limited", noting(&journal, "group 1"))
            .layer(noting(&journal, "bus 2"))
            .layer_for_handler("limited", "take_shipped", noting(&journal, "handler 2"))
            .layer_for_group("limited", noting(&journal, "group 2"))
    })
    .await
    .unwrap();

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(
        journal.lines(),
        ["bus 2", "bus 1", "group 2", "group 1", "handler 2", "handler 1", "shipped o-1 0"]
    );
    bus.stop().await.unwrap();
}

/// Why a layer of a service's own lets nothing through.
#[derive(Debug, Failure)]
enum Gatekeeper {
    #[failure(reject)]
    Forbidden,
}

impl fmt::Display for Gatekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not allowed")
    }
}

impl std::error::Error for Gatekeeper {}

#[tokio::test(start_paused = true)]
async fn any_other_error_of_a_layer_is_a_failed_attempt_and_may_say_what_it_asks_for() {
    let (bus, journal, _gate) = only(|builder| {
        builder
            .layer_for_handler(
                "limited",
                "take_shipped",
                Refusing::times(1, || "the tenant is asleep".into()),
            )
            .layer_for_handler("limited", "take_placed", Refusing::times(1, || Gatekeeper::Forbidden.into()))
    })
    .await;

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["shipped o-1 1"]);
    let fates = bus.fates("take_shipped");
    assert!(
        matches!(&fates[..], [Fate::Retried { kind: FailureKind::Error, error, .. }, Fate::Handled] if error == "the tenant is asleep"),
        "{fates:?}"
    );
    let fates = bus.fates("take_placed");
    assert!(
        matches!(&fates[..], [Fate::DeadLettered { kind: Some(FailureKind::Error), error }] if error == "not allowed"),
        "{fates:?}"
    );
    let dead = take_all(&bus, "events.limited.dlq").await;
    assert_eq!(dead[0].message.headers.get_str("x-dlq-error-type"), Some("LayerError"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn layers_may_change_errors_and_outcomes() {
    let changing = ServiceBuilder::new()
        .map_err(|error: BoxError| -> BoxError { format!("changed: {error}").into() })
        .and_then(|outcome: Outcome| async move {
            match outcome {
                Outcome::Done => Ok::<_, BoxError>(Outcome::Failed(HandlerError::drop_event("seen enough"))),
                failed @ Outcome::Failed(_) => Ok(failed),
            }
        })
        .layer(Refusing::times(1, || "refused".into()))
        .into_inner();
    let (bus, journal, _gate) =
        only(|builder| builder.layer_for_handler("limited", "take_shipped", changing)).await;

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["shipped o-1 1"]);
    let fates = bus.fates("take_shipped");
    assert!(
        matches!(&fates[..], [Fate::Retried { error, .. }, Fate::Dropped { error: dropped }]
            if error == "changed: refused" && dropped == "seen enough"),
        "{fates:?}"
    );
    bus.stop().await.unwrap();
}

/// Panics where it is told, once each.
struct Panicking {
    inner: HandlerService,
    in_ready: Arc<AtomicBool>,
    in_call: Arc<AtomicBool>,
}

impl Service<Invocation> for Panicking {
    type Response = Outcome;
    type Error = BoxError;
    type Future = es_bus::BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        assert!(!self.in_ready.swap(false, Ordering::SeqCst), "in poll_ready");
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        assert!(!self.in_call.swap(false, Ordering::SeqCst), "in call");
        self.inner.call(invocation)
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_panics_fails_an_attempt_and_the_worker_lives() {
    let layer = layer_fn(|inner| Panicking {
        inner,
        in_ready: Arc::new(AtomicBool::new(true)),
        in_call: Arc::new(AtomicBool::new(true)),
    });
    let (bus, journal, _gate) = only(|builder| builder.layer(layer)).await;

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["shipped o-1 2"]);
    let fates = bus.fates("take_shipped");
    let texts: Vec<_> = fates
        .iter()
        .filter_map(|fate| match fate {
            Fate::Retried { kind: FailureKind::Panic, error, .. } => Some(error.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["panicked: in poll_ready", "panicked: in call"], "{fates:?}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_panics_when_it_is_made_fails_attempts() {
    let layer = layer_fn(|inner: HandlerService| {
        assert!(std::env::args().count() == 0, "no service today");
        inner
    });
    let (bus, journal, _gate) = only(|builder| builder.layer(layer)).await;

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert!(journal.lines().is_empty());
    let fates = bus.fates("take_shipped");
    assert!(
        matches!(&fates[..], [Fate::Retried { error: first, .. }, .., Fate::DeadLettered { error: last, .. }]
            if first == "panicked: no service today" && last.contains("put around its service")),
        "{fates:?}"
    );
    bus.stop().await.unwrap();
}

/// Ready when the gate says so.
#[derive(Clone, Default)]
struct Closed(Arc<AtomicBool>);

impl Layer<HandlerService> for Closed {
    type Service = WhenOpen;

    fn layer(&self, inner: HandlerService) -> WhenOpen {
        WhenOpen { inner, is_open: Arc::clone(&self.0) }
    }
}

struct WhenOpen {
    inner: HandlerService,
    is_open: Arc<AtomicBool>,
}

impl Service<Invocation> for WhenOpen {
    type Response = Outcome;
    type Error = BoxError;
    type Future = es_bus::BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.is_open.load(Ordering::SeqCst) { self.inner.poll_ready(cx) } else { Poll::Pending }
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.inner.call(invocation)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_back_what_waits_for_a_layer_in_its_order() {
    let broker = Memory::new();
    let journal = Journal::default();
    let gate = Gate::default();
    gate.open(1000);
    let start = async |closed: Closed| {
        bus_on(&broker, |builder| {
            builder.registry(only_limited()).state(journal.clone()).state(gate.clone()).layer(closed)
        })
        .await
    };
    let bus = start(Closed::default()).await;
    for n in 0..5 {
        bus.publish(&shipped(&format!("o-{n}"))).await.unwrap();
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    at_rest().await;

    let stopping = Instant::now();
    bus.stop().await.unwrap();
    assert!(stopping.elapsed() < SECOND);
    assert_eq!(journal.lines(), Vec::<String>::new());

    let bus = start(Closed(Arc::new(AtomicBool::new(true)))).await;
    bus.run_until_idle().await;
    let lines = journal.lines();
    assert_eq!(lines.len(), 10);
    for n in 0..5 {
        let of: Vec<_> = lines.iter().filter(|line| line.contains(&format!(" o-{n} "))).collect();
        assert_eq!(of, [&format!("shipped o-{n} 0"), &format!("placed o-{n} 0")]);
    }
    assert_eq!(bus.counts().failed, 0);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_the_broker_would_goes_back_and_waits_again() {
    let closed = Closed::default();
    let (bus, journal, _gate) = only(|builder| builder.layer(closed.clone())).await;

    bus.publish(&shipped("o-1")).await.unwrap();
    at_rest().await;
    tokio::time::advance(Duration::from_secs(29 * 60)).await;
    eventually("it goes back", || bus.counts().shed == 1).await;
    closed.0.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(29 * 60)).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["shipped o-1 0"]);
    assert_eq!(bus.counts().failed, 0);
    bus.stop().await.unwrap();
}

fn one_in_ten_seconds() -> RateLimitLayer {
    RateLimitLayer::new(1, 10 * SECOND)
}

#[group(layer = one_in_ten_seconds)]
struct Slowly;

#[handler(group = Slowly)]
async fn slowly(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("slowly {}", order.order_id));
}

#[handler(group = "quickly", layer = TimeoutLayer::new(5 * SECOND), retries = 0)]
async fn quickly(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("quickly {}", order.order_id));
    sleep(30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn attributes_name_layers_too() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<slowly>().handler::<quickly>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let begun = Instant::now();
    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!((of(&journal, "slowly"), of(&journal, "quickly")), (2, 2));
    let fates = bus.fates("quickly");
    assert!(matches!(fates[0], Fate::DeadLettered { kind: Some(FailureKind::Timeout), .. }), "{fates:?}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_layer_around_nothing_is_refused_before_anything_starts() {
    for (group, handler, expected) in [
        (
            "limitd",
            None,
            "a layer is put around group \"limitd\", and there is none; did you mean `limited`?",
        ),
        (
            "limited",
            Some("take_place"),
            "a layer is put around handler \"take_place\" of group \"limited\", and there is none; did you mean `take_placed`?",
        ),
    ] {
        let limit = ConcurrencyLimitLayer::new(1);
        let started = TestBus::start(|builder| {
            let builder = builder.registry(only_limited()).state(Journal::default()).state(Gate::default());
            match handler {
                None => builder.layer_for_group(group, limit),
                Some(handler) => builder.layer_for_handler(group, handler, limit),
            }
        })
        .await;

        let Err(error) = started else { panic!("it started") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Clones the service and calls the clone without asking whether it is ready, as is often seen.
#[derive(Clone)]
struct Careless(HandlerService);

impl Service<Invocation> for Careless {
    type Response = Outcome;
    type Error = BoxError;
    type Future = es_bus::BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let mut clone = self.0.clone();
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            clone.call(invocation).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_calls_a_clone_unready_does_not_break_the_limit_within() {
    let (bus, _journal, gate) = only(|builder| {
        builder
            .layer_for_group("limited", ConcurrencyLimitLayer::new(2))
            .layer_for_group("limited", layer_fn(Careless))
    })
    .await;

    for n in 0..8 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    gate.entered(2).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(gate.count(), 2);
    gate.open(1000);
    bus.run_until_idle().await;

    assert_eq!(bus.counts().handled, 8);
    bus.stop().await.unwrap();
}
