//! One delivery from taking to settling: dispatch, run, publish the copies, acknowledge.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use rand::Rng;
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLockReadGuard},
    task::yield_now,
    time::{Instant, error::Elapsed, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Fate, Observation, WorkerContext,
    call::{innermost, run},
    copies::{Copy, Failed, NOT_DUE, Ran, copies, dead_letter_unknown, is_through, unix_ms, wait},
    dispatch::{Concerned, Plan, plan},
    in_place::{Hold, within_reach},
    layered::{self, Called, GivenBack, Limits},
};
use crate::{
    handler::{Attempt, DeliveryInfo, HandlerService, Invocation, Route},
    message::Received,
    model::policy::OnUnknown,
    otel,
    outcome::{Decision, Outcome, Wait},
    scope,
    telemetry::{Copies, Counters, GroupWatch, Holding},
    topology::{GroupSpec, HandlerSpec, ProvisionError},
    transport::{Delivery, Publication, PublishError, Settlement},
    wire::{self, HandlerAttempt, Origin, names},
};

/// The longest pause between two tries to publish a copy.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long the broker has to confirm a copy before it is sent again, as long as it takes publishes.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// What became of the copies of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The broker has them.
    Confirmed,
    /// The program ends first, or the broker cannot be used any more.
    GivenUp,
    /// The broker will never take one of them.
    Impossible,
    /// There are none: no handler made an attempt.
    Unattempted,
    /// They were left: the channel of the delivery is gone, and the event comes again without them.
    Stale,
}

/// What follows from a delivery, once its handlers are through with it.
enum Next {
    /// These have to be published; then it is acknowledged.
    Copies(Vec<Copy>),
    /// It goes back: no handler made an attempt.
    GiveBack,
}

/// How a delivery ended for the loop that took it in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This process is through with it.
    Settled,
    /// As settled; a copy of it comes back after so long at the earliest.
    Away(Duration),
    /// It went back to the queue, and comes again.
    GivenBack,
    /// It is held unsettled, and its lane with it, until the channel closes (strict order).
    Held,
}

/// How long an event that cannot go back to its queue waits for room behind a layer.
pub(super) const NO_ROOM: Duration = Duration::from_millis(100);

/// What one delivery is handled with.
pub(super) struct Handling {
    /// The group as it was when the delivery was started.
    pub(super) group: Arc<GroupSpec>,
    pub(super) context: Arc<WorkerContext>,
    watch: Arc<GroupWatch>,
    /// When the delivery came.
    taken: Instant,
    /// In strict order, where events are tried again in place.
    hold: Option<Hold>,
    /// How long a copy of it stays away.
    stay: OnceLock<Duration>,
    /// Keeps all other handlers from running, until those of this delivery are through with it.
    alone: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
    is_alone: bool,
    /// Whether it is begun by whoever starts all deliveries, and is to leave him before it takes long.
    at_once: bool,
}

impl Handling {
    pub(super) fn new(
        group: Arc<GroupSpec>,
        context: Arc<WorkerContext>,
        watch: Arc<GroupWatch>,
        taken: Instant,
        hold: Option<Hold>,
    ) -> Self {
        let alone = Mutex::default();
        let (is_alone, at_once) = (false, false);
        Self { group, context, watch, taken, hold, stay: OnceLock::new(), alone, is_alone, at_once }
    }

    /// It is begun by the loop itself, which gives it a task of its own when it does not end at once.
    pub(super) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// While its handlers run, no others do.
    pub(super) fn alone(self, alone: OwnedRwLockWriteGuard<()>) -> Self {
        Self { alone: Mutex::new(Some(alone)), is_alone: true, ..self }
    }

    /// What handlers are told of a delivery.
    pub(super) fn info(&self, received: Received, lost: Arc<CancellationToken>) -> Arc<DeliveryInfo> {
        let origin = wire::origin(&received, self.group.queue.as_str());
        let (queue, name) = (self.group.queue.clone().into(), self.group.name.clone().into());
        // What an exclusive group takes is acknowledged at once, and comes no second time.
        let lost = if self.group.is_exclusive() { Arc::default() } else { lost };
        Arc::new(DeliveryInfo::leased(received, queue, name, origin, lost))
    }

    /// Handles a delivery and settles it.
    pub(super) async fn handle(&self, delivery: Delivery) -> End {
        let lost = Arc::clone(delivery.lost());
        let (received, settle) = delivery.split();
        self.handle_received(received, lost, settle).await
    }

    /// Handles what was received and settles it, by calling `settle` once at most.
    pub(super) async fn handle_received(
        &self,
        received: Received,
        lost: Arc<CancellationToken>,
        settle: impl FnOnce(Settlement) -> bool + Send,
    ) -> End {
        self.context.counters.delivery_taken(self.context.clock.now());
        let _in_flight = self.watch.handling();
        let info = self.info(received, lost);
        if self.group.is_exclusive() {
            // The queue goes with the connection, and what is in it: unacknowledged it would not come
            // again, and a long wait between attempts would cost the channel (consumer timeout).
            settle(Settlement::Ack);
            let _ = AssertUnwindSafe(self.run_and_copy(&info)).catch_unwind().await;
            return End::Settled;
        }
        // A panic of our own must cost neither the lane nor the event.
        let sent = AssertUnwindSafe(self.run_and_copy(&info)).catch_unwind().await;
        let settlement = match sent {
            Ok(Sent::Confirmed) => Settlement::Ack,
            Ok(Sent::Unattempted | Sent::GivenUp) if self.hold.is_some() => return End::Held,
            Ok(Sent::Unattempted) => Settlement::Requeue,
            Ok(Sent::Stale) => return self.stale(&info),
            // Not settled: the broker hands it out again when the channel closes.
            Ok(Sent::GivenUp) => return End::Settled,
            // Unsettled it would hold its place for ever, given back it would do the same again. The
            // broker moves a rejected event to the dead-letter queue itself, as it came.
            Ok(Sent::Impossible) => {
                tracing::error!(
                    event_id = wire::event_id(info.received()).as_deref(),
                    kept_in = self.kept_in(),
                    "no copy of the event can be published; the broker moves it as it came"
                );
                self.rejected("unpublishable");
                Settlement::Reject
            }
            Err(_panic) => {
                tracing::error!(
                    event_id = wire::event_id(info.received()).as_deref(),
                    kept_in = self.kept_in(),
                    "the worker itself panicked over an event; the broker moves it as it came"
                );
                self.rejected("worker_panic");
                Settlement::Reject
            }
        };
        if settlement == Settlement::Requeue {
            Box::pin(self.context.note_handover(&self.group)).await;
        }
        if !settle(settlement) {
            return self.stale(&info);
        }
        match self.stay.get() {
            _ if settlement == Settlement::Requeue => End::GivenBack,
            Some(stay) => End::Away(*stay),
            None => End::Settled,
        }
    }

    /// Drops an outcome that came after the channel of its delivery was gone.
    fn stale(&self, info: &DeliveryInfo) -> End {
        Counters::add(&self.context.counters.stale);
        tracing::info!(
            event_id = wire::event_id(info.received()).as_deref(),
            group = %self.group.name,
            queue = %self.group.queue,
            "the outcome came after the connection was lost, and is dropped; the event comes again"
        );
        // In strict order it comes before what is behind it.
        if self.hold.is_some() { End::Held } else { End::Settled }
    }

    async fn run_and_copy(&self, info: &Arc<DeliveryInfo>) -> Sent {
        let outcome = self.outcome_of(info).await;
        // The broker may take its time over the copies.
        drop(self.alone.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Next::Copies(copies) = outcome else { return Sent::Unattempted };
        if copies.is_empty() {
            return Sent::Confirmed;
        }
        // What few events need is on the heap, here and below: it would make the future of each large, and it is
        // moved more than once.
        Box::pin(self.send(&copies, info)).await
    }

    /// Publishes copies, or tells what is lost where a group keeps no dead letters.
    pub(super) async fn send(&self, copies: &[Copy], info: &DeliveryInfo) -> Sent {
        for copy in copies {
            if info.lost().is_cancelled() {
                return Sent::Stale;
            }
            if let Copy::DeadLetter(failed) = copy
                && !self.group.keeps_dead_letters()
            {
                self.give_up(failed, info);
                continue;
            }
            let sent = self.publish(copy, info).await;
            if sent != Sent::Confirmed {
                return sent;
            }
        }
        Sent::Confirmed
    }

    /// Runs whom it concerns, and says what has to be published before the acknowledgement.
    async fn outcome_of(&self, info: &Arc<DeliveryInfo>) -> Next {
        let (group, received) = (&*self.group, info.received());
        let pending = wire::attempts(received, group.queue.as_str());
        let waits = || wire::waits(received, group.queue.as_str());
        // Only what was tried before has a time that it is due.
        let now_ms = if pending.is_empty() { 0 } else { unix_ms(self.context.clock.now()) };
        let aggregate_type = received.message.headers.get_str(names::AGGREGATE_TYPE);
        let headers = &received.message.headers;
        let copies = match plan(group, info.origin(), headers, aggregate_type, pending, now_ms) {
            Plan::Skip => {
                Counters::add(&self.context.counters.skipped);
                self.observe(info.origin(), None, 0, Fate::Skipped);
                Vec::new()
            }
            Plan::Unknown(OnUnknown::DeadLetter) => vec![dead_letter_unknown(group)],
            Plan::Unknown(OnUnknown::Wait | OnUnknown::Skip) => match &self.hold {
                None => wait(group, &[], waits()),
                Some(hold) => match Box::pin(self.wait_in_place(hold)).await {
                    Some(copies) => copies,
                    None => return Next::GiveBack,
                },
            },
            Plan::Handlers(mut concerned) => {
                if group.is_shared_with_eventsource() {
                    concerned.count_from(wire::retry_count(received));
                }
                if self.at_once && concerned.run.iter().any(|(handler, _)| self.takes_long(*handler)) {
                    yield_now().await;
                }
                let started = Instant::now();
                let ran = if group.is_exclusive() {
                    Box::pin(self.run_until_through(info, &concerned)).await
                } else if let Some(hold) = &self.hold {
                    match Box::pin(self.run_in_place(hold, info, &concerned.run)).await {
                        Some(ran) => ran,
                        None => return Next::GiveBack,
                    }
                } else {
                    self.run(info, &mut concerned).await
                };
                if !ran.is_empty() {
                    let is_success = ran.iter().all(|run| run.outcome.is_done());
                    let event_type = info.origin().event_type.as_deref();
                    self.context.counters.delivery_processed(event_type, is_success, started.elapsed());
                }
                let untouched = ran.is_empty() && concerned.gone.is_empty();
                if !concerned.unattempted.is_empty() {
                    // What others did with it is done; without a place to wait it is done again.
                    if (untouched && concerned.later.is_empty()) || group.delays().is_empty() {
                        return Next::GiveBack;
                    }
                    concerned.later.append(&mut concerned.unattempted);
                }
                if is_through(&ran, &concerned) {
                    return Next::Copies(Vec::new());
                }
                copies(group, &ran, &concerned, waits(), self.context.clock.now(), rand::rng().random())
            }
        };
        Next::Copies(copies)
    }

    /// Whether a handler is to have a task before it begins. One with layers is: what a layer gives back takes
    /// along what is behind it in its lane, and that has to be here by then.
    fn takes_long(&self, handler: usize) -> bool {
        let spec = &self.group.handlers[handler];
        spec.pace.is_slow() || self.has_layers(spec)
    }

    /// Runs the handlers; those that made no attempt are put aside.
    async fn run(&self, info: &Arc<DeliveryInfo>, concerned: &mut Concerned) -> Vec<Ran> {
        let tried = match concerned.run.as_slice() {
            [(handler, attempt)] => vec![self.run_one(info, *handler, *attempt).await],
            several => {
                join_all(several.iter().map(|(handler, attempt)| self.run_one(info, *handler, *attempt)))
                    .await
            }
        };
        let mut ran = Vec::with_capacity(tried.len());
        for tried in tried {
            match tried {
                Ok(run) => ran.push(run),
                Err(entry) => concerned.unattempted.push(entry),
            }
        }
        ran
    }

    /// Runs a handler; gives its entry back when there was no attempt.
    pub(super) async fn run_one(
        &self,
        info: &Arc<DeliveryInfo>,
        handler: usize,
        attempt: u32,
    ) -> Result<Ran, HandlerAttempt> {
        let spec = &self.group.handlers[handler];
        let span = tracing::info_span!(
            "handle",
            event_id = wire::event_id(info.received()).as_deref(),
            event_type = info.origin().event_type.as_deref(),
            queue = info.queue(),
            group = info.group(),
            handler = &*spec.name,
            attempt,
            duration_ms = tracing::field::Empty,
        );
        let (service, route) = self.layers_of(spec);
        let invocation = Invocation::routed(
            Arc::clone(info),
            Arc::clone(&spec.name),
            Attempt { number: attempt, retries: spec.policy.retries },
            Arc::clone(&self.context.state),
            route,
        );
        let told = otel::Run { group: info.group(), queue: info.queue(), handler: &spec.name, attempt };
        let Ok(_pass) = self.pass(spec.timeout).await else {
            tracing::debug!("a suspect is handled alone for too long; the event goes back");
            return Err(HandlerAttempt { handler: spec.name.as_ref().to_owned(), attempt, due_ms: None });
        };
        let processing = otel::Processing::start(self.context.tracing, info.received(), &told);
        async {
            let mut started = Instant::now();
            let called = processing
                // Whatever is published meanwhile, by whichever publisher, is caused by the event.
                .around(scope::handling(invocation.clone(), async {
                    match &service {
                        None => Called::Ran(run(spec.call.clone(), invocation, spec.timeout).await),
                        Some(service) => {
                            let stop = &self.context.stop;
                            let limits = Limits { handler: spec.timeout, whole: self.left() };
                            Box::pin(layered::call(service, invocation, limits, stop, &mut started)).await
                        }
                    }
                }))
                .await;
            let took = started.elapsed();
            spec.pace.took(took);
            let elapsed = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::Span::current().record("duration_ms", elapsed);
            match called {
                Called::Ran(outcome) => {
                    if spec.slow.is_some_and(|slow| took >= slow) {
                        self.context.counters.slow_handler(info.group(), &spec.name);
                        // With fields of its own: where only warnings are logged, the span has none.
                        tracing::warn!(
                            handler = &*spec.name,
                            group = info.group(),
                            event_type = info.origin().event_type.as_deref(),
                            event_id = wire::event_id(info.received()).as_deref(),
                            duration_ms = elapsed,
                            "slow: the handler took {took:?}"
                        );
                    }
                    let mut ran = Ran::new(&self.group, handler, attempt, outcome);
                    if let Some(hold) = &self.hold {
                        ran = within_reach(hold, spec, ran);
                    }
                    if !ran.outcome.is_done() {
                        ran.span = tracing::Span::current();
                    }
                    processing.end(ran.decision, &ran.outcome);
                    self.tell(info, &ran);
                    Ok(ran)
                }
                Called::GivenBack(why) => {
                    self.tell_given_back(info.origin(), spec, attempt, why);
                    Err(HandlerAttempt { handler: spec.name.as_ref().to_owned(), attempt, due_ms: None })
                }
            }
        }
        .instrument(span)
        .await
    }

    /// Keeps suspects from being handled until it is dropped. Waits for one that is, as long as a run of
    /// `limit` can be finished after that within the broker's consumer timeout.
    async fn pass(&self, limit: Duration) -> Result<Option<RwLockReadGuard<'_, ()>>, Elapsed> {
        if self.is_alone {
            return Ok(None);
        }
        if let Ok(pass) = self.context.alone.try_read() {
            return Ok(Some(pass));
        }
        timeout(self.left().saturating_sub(limit), self.context.alone.read()).await.map(Some)
    }

    /// How long the delivery may still be in hand; one that was acknowledged already is not.
    fn left(&self) -> Duration {
        if self.group.is_exclusive() {
            return Duration::MAX;
        }
        self.group.settings.patience.left(self.taken.elapsed(), Duration::ZERO)
    }

    fn has_layers(&self, spec: &HandlerSpec) -> bool {
        self.context.service.is_some() || self.group.service.is_some() || spec.service.is_some()
    }

    /// The outermost layer of a handler, and the way inwards; nothing where nothing was layered.
    fn layers_of(&self, spec: &HandlerSpec) -> (Option<HandlerService>, Option<Route>) {
        if !self.has_layers(spec) {
            return (None, None);
        }
        let (bus, group) = (&self.context.service, &self.group.service);
        let handler = spec.service.clone().unwrap_or_else(|| innermost(spec.call.clone(), spec.timeout));
        let outermost = bus.as_ref().or(group.as_ref()).unwrap_or(&handler).clone();
        (Some(outermost), Some(Route { group: group.clone(), handler }))
    }

    fn tell_given_back(&self, origin: &Origin, spec: &HandlerSpec, attempt: u32, why: GivenBack) {
        match why {
            GivenBack::Stopped => {
                tracing::debug!("the program stops while a layer is not ready; the event goes back");
                return;
            }
            GivenBack::Shed => tracing::debug!("a layer sheds load; the event goes back"),
            GivenBack::NotReady => tracing::warn!("no layer was ready in time; the event goes back"),
        }
        Counters::add(&self.context.counters.shed);
        self.observe(origin, Some(&spec.name), attempt, Fate::GivenBack);
    }

    /// Counts, logs and observes a run.
    fn tell(&self, info: &DeliveryInfo, ran: &Ran) {
        let counters = &self.context.counters;
        let spec = &self.group.handlers[ran.handler];
        let fate = match (&ran.outcome, ran.decision) {
            (Outcome::Done, _) => {
                Counters::add(&counters.handled);
                tracing::debug!("handled");
                Fate::Handled
            }
            (Outcome::Failed(error), decision) => {
                Counters::add(&counters.failed);
                let (kind, text) = (error.kind(), error.text());
                counters.went_wrong(
                    self.context.clock.now(),
                    format!(
                        "handler {:?} of group {:?} failed: {}",
                        &*spec.name,
                        self.group.name.as_str(),
                        kind.as_str()
                    ),
                );
                match decision {
                    Decision::Retry(_) | Decision::DeadLetter if info.lost().is_cancelled() => {
                        tracing::warn!(
                            error = text,
                            kind = kind.as_str(),
                            "failed after its connection was lost; the event comes again without that"
                        );
                        return;
                    }
                    Decision::Retry(Wait::Policy(after) | Wait::AtLeast(after)) => {
                        tracing::warn!(error = text, kind = kind.as_str(), retry_in = ?after, "failed; comes again");
                        Fate::Retried { kind, error: text, after }
                    }
                    // It is told when it is a dead letter, or given up.
                    Decision::DeadLetter => return,
                    Decision::Done { .. } => {
                        Counters::add(&counters.dropped);
                        tracing::warn!(
                            error = text,
                            kind = kind.as_str(),
                            "failed; dropped, as the error asks"
                        );
                        Fate::Dropped { error: text }
                    }
                }
            }
        };
        self.observe(info.origin(), Some(&spec.name), ran.attempt, fate);
    }

    /// Logs and observes a dead letter that is on the broker.
    fn tell_dead_letter(&self, failed: &Failed, info: &DeliveryInfo) {
        let origin = info.origin();
        if let Some((kind, span)) = &failed.run {
            let _in_its_run = span.enter();
            tracing::error!(error = failed.text, kind = kind.as_str(), dlq = %self.group.dlq, "failed; dead-lettered");
        } else {
            tracing::error!(
                event_id = wire::event_id(info.received()).as_deref(),
                routing_key = origin.routing_key,
                event_type = origin.event_type,
                dlq = %self.group.dlq,
                "dead-lettered: {}",
                failed.text
            );
        }
        let fate = Fate::DeadLettered {
            kind: failed.run.as_ref().map(|(kind, _)| *kind),
            error: failed.text.clone(),
        };
        self.observe(origin, failed.handler.as_deref(), failed.attempt, fate);
    }

    pub(super) fn observe(&self, origin: &Origin, handler: Option<&str>, attempt: u32, fate: Fate) {
        if let Some(observer) = &self.context.observer {
            let _ = observer.send(Observation {
                group: self.group.name.as_str().to_owned(),
                handler: handler.map(str::to_owned),
                event_type: origin.event_type.clone(),
                routing_key: origin.routing_key.clone(),
                attempt,
                fate,
            });
        }
    }

    /// Publishes a copy until the broker has confirmed it, also while what is in hand goes back.
    pub(super) async fn send_although_killed(&self, copy: &Copy, info: &DeliveryInfo) -> Sent {
        self.until_confirmed(copy, info).await
    }

    /// Publishes a copy until the broker has confirmed it, or there is no sense in that any more.
    pub(super) async fn publish(&self, copy: &Copy, info: &DeliveryInfo) -> Sent {
        let sent = tokio::select! {
            () = self.context.kill.cancelled() => Sent::GivenUp,
            // A copy beside the event that comes again would double it; the broker still has the event.
            () = info.lost().cancelled() => Sent::Stale,
            sent = self.until_confirmed(copy, info) => sent,
        };
        if sent != Sent::Confirmed {
            return sent;
        }
        let counters = &self.context.counters;
        match copy {
            Copy::Retry { stay, .. } => {
                Counters::add(&counters.retried);
                let _ = self.stay.set(stay.time);
            }
            // It is told by whoever suspects it.
            Copy::Suspect { .. } => {}
            Copy::Wait { reason, .. } if *reason == NOT_DUE => {}
            Copy::Wait { reason, stay, waits, .. } => {
                Counters::add(&counters.waited);
                tracing::info!(
                    event_id = wire::event_id(info.received()).as_deref(),
                    routing_key = info.origin().routing_key,
                    event_type = info.origin().event_type,
                    group = info.group(),
                    reason,
                    waits,
                    "this build does not know it; it waits {} for a replica that does",
                    stay.delay
                );
                self.observe(info.origin(), None, 0, Fate::Waited);
            }
            Copy::DeadLetter(failed) => {
                counters.dead_letter(failed.reason);
                self.tell_dead_letter(failed, info);
            }
        }
        Sent::Confirmed
    }

    async fn until_confirmed(&self, copy: &Copy, info: &DeliveryInfo) -> Sent {
        let mut publication = self.publication(copy, info);
        let copies = match copy {
            Copy::DeadLetter(_) => Copies::DeadLetter,
            Copy::Retry { .. } | Copy::Wait { .. } | Copy::Suspect { .. } => Copies::Retry,
        };
        let mut holding: Option<Holding<'_>> = None;
        let mut pause = Duration::from_millis(100);
        let mut was_cut = false;
        let provision = &self.context.provision;
        loop {
            let mut is_refused = false;
            let error = match provision.ready().await {
                Ok(_) => match self.confirm(&publication).await {
                    Ok(()) => return Sent::Confirmed,
                    Err(error) => {
                        if matches!(error, PublishError::Unroutable { .. } | PublishError::NoExchange { .. })
                        {
                            // A queue of the group is missing: it is declared anew before the next try.
                            provision.invalidate();
                        }
                        if let PublishError::TooLarge { limit, .. } = error {
                            if was_cut {
                                return Sent::Impossible;
                            }
                            // The broker's frames are smaller than ours were meant to be.
                            let _ = wire::drop_foreign(&mut publication.message, limit);
                            was_cut = true;
                        }
                        is_refused = matches!(error, PublishError::Refused { .. });
                        error.to_string()
                    }
                },
                // It is over, and the bus ends.
                Err(ProvisionError::Transport(_) | ProvisionError::Closed) => return Sent::GivenUp,
                Err(error) => error.to_string(),
            };
            holding.get_or_insert_with(|| self.watch.holding(copies)).set_reason(&error);
            if is_refused && self.context.stop.is_cancelled() {
                // There may be no room for days, and nothing is lost: it comes again.
                tracing::warn!(
                    error,
                    "the program stops while a queue takes no copy of an event; the event goes back"
                );
                self.context.note_handover(&self.group).await;
                return Sent::GivenUp;
            }
            if is_refused {
                self.context.full.tell(&self.group, copy);
            } else {
                tracing::warn!(
                    event_id = wire::event_id(info.received()).as_deref(),
                    queue = info.queue(),
                    exchange = %publication.exchange,
                    error,
                    "a copy could not be published; the event stays unacknowledged, and it is tried again"
                );
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Publishes once. A broker that takes nothing at the moment has all the time it wants: what was
    /// sent again meanwhile would be there twice when it goes on.
    async fn confirm(&self, publication: &Publication) -> Result<(), PublishError> {
        let transport = self.context.provision.transport();
        let mut confirmed = pin!(transport.publish(publication));
        loop {
            match timeout(CONFIRM_WITHIN, &mut confirmed).await {
                Ok(verdict) => return verdict,
                Err(_elapsed) if transport.link().borrow().blocked.is_some() => {}
                Err(_elapsed) => {
                    let reason = "the broker does not answer".to_owned();
                    return Err(PublishError::TimedOut { after: CONFIRM_WITHIN, reason });
                }
            }
        }
    }

    fn publication(&self, copy: &Copy, info: &DeliveryInfo) -> Publication {
        let group = &*self.group;
        let source = wire::Source {
            received: info.received(),
            origin: info.origin(),
            queue: group.queue.as_str(),
            now: self.context.clock.now(),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut message = match copy {
            Copy::Retry { handlers, stay, failure } => {
                source.retry(handlers, &stay.delay, ms(stay.time), &failure.info(), &id)
            }
            Copy::Wait { handlers, stay, waits, reason } => {
                source.wait(handlers, *waits, &stay.delay, ms(stay.time), reason, &id)
            }
            Copy::Suspect { crashes } => source.suspect(*crashes, &id),
            Copy::DeadLetter(failed) => {
                let entry = wire::new_id();
                source.dead_letter(failed.handler.as_deref(), failed.attempt, &failed.info(), &entry, &id)
            }
        };
        // Headers that do not fit a frame would end the connection for every group.
        if let Err(error) = wire::drop_foreign(&mut message, self.context.header_limit) {
            // Hundreds of handlers with very long names, or a tiny frame: the list of attempts goes,
            // and every handler runs again.
            tracing::error!(%error, "the headers of a copy do not fit a frame; it goes without its attempts");
            message.headers.remove(names::ES_ATTEMPTS);
        }
        let (exchange, routing_key) = match copy {
            Copy::Retry { .. } | Copy::Wait { .. } | Copy::Suspect { .. } => {
                (&group.retry, info.origin().routing_key.clone())
            }
            Copy::DeadLetter(_) => (&group.dlx, group.dlq_key.clone()),
        };
        Publication {
            exchange: exchange.clone(),
            routing_key: routing_key.into(),
            message,
            mandatory: true,
            lane: None,
        }
    }
}
