//! The delivery loop: holds the consumer, fills the lanes, keeps the concurrency.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{FutureExt, poll};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Assignment, Post, WorkerContext,
    alone::Suspects,
    call::contain,
    in_place::Hold,
    lanes::{Lanes, lane_of_aggregate},
    left::Left,
    overtaken::Away,
    settle::{End, Handling},
    stream::Stream,
    suspects::{Caution, Step, Turn},
    watchdog::{self, Found},
};
use crate::{
    handler::BoxFuture,
    model::policy::Ordering,
    telemetry::{Counters, GroupWatch},
    topology::{GroupSpec, ProvisionError},
    transport::{ConsumeError, ConsumeRequest, Consumer, Delivery, LinkState, Settle, Settlement},
    wire,
};

/// How long the broker may take to hand over what was on its way when the consumer was cancelled.
const LAST_DELIVERIES: Duration = Duration::from_secs(1);

/// How long a suspect that is being handled may take to go back when the program ends at once.
const LAST_SUSPECT: Duration = Duration::from_secs(4);

/// How long a delivery that was given back keeps its place among those that are handled at once: it
/// comes again immediately, to this process when it is the only one.
const PAUSE_AFTER_GIVING_BACK: Duration = Duration::from_secs(1);

/// How long the broker may take to answer that a queue is consumed, until it is told of.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// The shortest pause between two tries to consume.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// How long a group that lost the connection as it began to consume stays away from the next one, at first:
/// of the groups that began together, only one brought it down.
const AFTER_COST: Duration = Duration::from_secs(1);
/// And at most.
const LONGEST_AFTER_COST: Duration = Duration::from_secs(60);
/// The longest one. A consumer that lasted longer starts with the shortest again, and so does one whose
/// connection was lost: that has pauses of its own.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How many deliveries that are there already are taken, at most, until everything else is looked at again.
const AT_A_TIME: usize = 32;

/// How long the first delivery that nobody had in hand before waits for the suspects.
const SUSPECTS_FIRST: Duration = Duration::from_secs(10);

/// A delivery, and when it came.
struct InHand {
    delivery: Delivery,
    since: Instant,
    /// Whether it may have ended the process before this one.
    is_suspect: bool,
}

/// A group's loop. Lanes and running handlers outlive a lost connection: an event that is delivered
/// again waits behind the run of it that still goes on. In strict order they do not: another process
/// may be the active one before this one knows.
pub(super) struct Loop {
    /// What of the group never changes. It has no handlers: whoever ends a subscription waits until
    /// nobody holds it any more.
    group: GroupSpec,
    post: Post,
    /// One for all deliveries, so that a delivery costs no copies of it.
    context: Arc<WorkerContext>,
    lanes: Lanes<InHand>,
    away: Away,
    running: JoinSet<Finished>,
    /// When to look whether something has waited too long; set while something waits.
    look_at: Option<Instant>,
    /// In strict order: ends the pauses between attempts, when the consumer is about to end.
    leaving: CancellationToken,
    /// The connection that the consumer was started on.
    generation: u64,
    /// Changes when the topology was applied after the consumer was started.
    applications: watch::Receiver<u64>,
    /// Whether the queue was last found not to deliver as it should.
    is_troubled: bool,
    /// What others see of it.
    watch: Arc<GroupWatch>,
    /// While a process may have ended over what comes again. Over with the first loss of the consumer: what
    /// comes again after that, this process itself had in hand.
    caution: Option<Caution>,
    /// Until when the suspects have their turn, and nothing is started.
    suspects_first: Option<Instant>,
    /// Whether there are suspects, as far as this process knows.
    turn: Arc<watch::Sender<Turn>>,
    /// The consumers before this one that hold something.
    left: Left,
    /// Whether the reader of the group's stream has asked for its turn; set where there is a stream.
    reader: Option<watch::Receiver<bool>>,
}

/// The lane of a delivery, how it ended, and its channel where others hold something; nothing of a pause, and of
/// what ended in a panic of our own.
type Finished = Option<(Option<u64>, End, Option<Arc<dyn Settle>>)>;

/// Why a consumer takes no more deliveries.
enum Ended {
    /// The program stops.
    Stopped,
    /// What came first had been in the hand of a process that ended: one delivery is to be taken at a time.
    Narrowed,
    /// As many deliveries are to be taken as the group may have.
    Widened,
    /// What is to come is better taken by another consumer.
    Left,
    /// The topology was applied again: the queue may be another one of the same name.
    DeclaredAnew,
    /// The group is paused, or has no handlers any more.
    Idle,
    /// In strict order: an event cannot be kept in hand any longer, and nothing may pass it.
    OutOfTime,
    /// The broker, or the connection, ended it.
    Failed(ConsumeError),
}

impl Loop {
    pub(super) fn new(post: Post, context: WorkerContext) -> Self {
        let group = post.assignment.borrow().group.without_handlers();
        let watch = context.counters.group(group.watch());
        let applications = context.provision.applications();
        let context = Arc::new(context);
        let caution = group.suspects().map(|_| Caution::new());
        Self {
            group,
            post,
            context,
            lanes: Lanes::new(),
            away: Away::default(),
            running: JoinSet::new(),
            look_at: None,
            leaving: CancellationToken::new(),
            generation: 0,
            applications,
            is_troubled: false,
            watch,
            caution,
            suspects_first: None,
            turn: Arc::new(watch::Sender::new(Turn::START)),
            left: Left::default(),
            reader: None,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), ProvisionError> {
        let mut beside = JoinSet::new();
        let over = self.context.stop.child_token();
        if let (Some(Ok(queue)), Some(limit)) = (self.group.suspects(), self.group.settings.crash_limit) {
            let suspects_of_group = Suspects {
                queue,
                limit,
                assignment: self.post.assignment.clone(),
                context: Arc::clone(&self.context),
                watch: Arc::clone(&self.watch),
                turn: Arc::clone(&self.turn),
                over: over.clone(),
            };
            beside.spawn(suspects_of_group.run());
        }
        if let Some(names) = self.group.stream.clone() {
            let (asked, reader) = watch::channel(false);
            self.reader = Some(reader);
            let stream = Stream {
                names,
                asked,
                group: self.group.clone(),
                assignment: self.post.assignment.clone(),
                context: Arc::clone(&self.context),
                watch: Arc::clone(&self.watch),
                over: over.clone(),
            };
            beside.spawn(stream.run());
        }
        let kill = self.context.kill.clone();
        let result = self.work().await;
        over.cancel();
        tokio::select! {
            () = async { while beside.join_next().await.is_some() {} } => {}
            () = async { kill.cancelled().await; sleep(LAST_SUSPECT).await } => beside.shutdown().await,
        }
        result
    }

    async fn work(mut self) -> Result<(), ProvisionError> {
        let stop = self.context.stop.clone();
        let watch = Arc::clone(&self.watch);
        // One consumer to others, also while it is started anew to take more.
        let mut consuming = None;
        let mut pause = MIN_PAUSE;
        // How often in a row the connection was lost while a consumer was to be started.
        let mut cost = 0;
        loop {
            let mut assignment = self.post.assignment.clone();
            if !assignment.borrow_and_update().is_active() {
                self.watch.set_idle(true);
                consuming = None;
                self.give_back_unstarted().await;
                tokio::select! {
                    () = stop.cancelled() => break,
                    is_over = self.idle() => if is_over {
                        self.context.counters.forget_group(&self.watch);
                        return Ok(());
                    },
                }
                continue;
            }
            self.watch.set_idle(false);
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                () = until_idle(&mut assignment) => continue,
                connected = self.connect(cost) => connected,
            };
            cost = match &connected {
                Ok(Err(ConsumeError::Interrupted { .. })) => cost + 1,
                Ok(Err(_)) => cost,
                _ => 0,
            };
            let error = match connected {
                Ok(Ok(mut consumer)) => {
                    if consuming.is_none() {
                        Counters::add(&self.context.counters.consumers);
                    }
                    let since = Instant::now();
                    if let Some(mut reader) = self.reader.take() {
                        // Once: who waits for the start of the group waits for both.
                        let _ = timeout(ANSWERED_WITHIN, reader.wait_for(|asked| *asked)).await;
                    }
                    self.post.consuming.send_replace(true);
                    let _ = consuming.get_or_insert_with(|| watch.consuming());
                    let ended = self.consume(&mut consumer).await;
                    if !matches!(ended, Ended::Narrowed | Ended::Widened | Ended::Left) {
                        consuming = None;
                        self.caution = None;
                        self.suspects_first = None;
                    }
                    if since.elapsed() > MAX_PAUSE {
                        pause = MIN_PAUSE;
                    }
                    match ended {
                        Ended::Failed(error) if self.is_strict() => {
                            self.post.consuming.send_replace(false);
                            self.lose().await;
                            drop(consumer);
                            error
                        }
                        ended if self.is_strict() => {
                            self.hand_over(consumer).await;
                            match ended {
                                Ended::Stopped => return Ok(()),
                                Ended::Idle => drop(self.post.consuming.send_replace(false)),
                                _ => tracing::info!(group = %self.group.name, "consuming anew"),
                            }
                            continue;
                        }
                        Ended::Stopped => {
                            self.stop(consumer).await;
                            return Ok(());
                        }
                        Ended::Narrowed => {
                            tracing::warn!(
                                group = %self.group.name,
                                queue = %self.group.queue,
                                "a process ended while it had events in hand; taking one delivery at a time"
                            );
                            // Nothing was started. All of it comes again, in its order.
                            self.lanes = Lanes::new();
                            consumer.hand_over().await;
                            self.caution.as_mut().map(Caution::narrow);
                            continue;
                        }
                        Ended::Widened => {
                            // What is in hand keeps its channel open until it is settled.
                            consumer.cancel().await;
                            self.suspects_first = None;
                            self.caution.as_mut().map(Caution::widen);
                            continue;
                        }
                        Ended::Left => {
                            if consumer.settler().lost().is_cancelled() {
                                // What comes again, this process itself had in hand.
                                self.caution = None;
                            }
                            // What it holds keeps its channel open until it is settled.
                            self.left.add(consumer.settler());
                            continue;
                        }
                        Ended::Idle => {
                            self.hand_back(&mut consumer).await;
                            self.post.consuming.send_replace(false);
                            // What runs keeps the channel open until it is settled.
                            continue;
                        }
                        Ended::DeclaredAnew | Ended::OutOfTime => {
                            tracing::info!(group = %self.group.name, "the topology was declared anew; consuming anew");
                            self.hand_back(&mut consumer).await;
                            continue;
                        }
                        Ended::Failed(error) => {
                            // On a channel that is gone this says nothing. On one that the broker only
                            // cancelled the consumer of, what runs keeps it open for a while, and what has
                            // not started must not wait for that.
                            give_back(self.lanes.drain()).await;
                            self.post.consuming.send_replace(false);
                            drop(consumer);
                            error
                        }
                    }
                }
                Ok(Err(error)) => {
                    if !self.running.is_empty() || !self.lanes.is_empty() {
                        // What comes again, this process itself had in hand.
                        self.caution = None;
                    }
                    self.give_back_unstarted().await;
                    error
                }
                Err(fatal) => {
                    self.abort().await;
                    return Err(fatal);
                }
            };
            consuming = None;
            tracing::warn!(group = %self.group.name, queue = %self.group.queue, %error, "consuming stopped; starting again");
            if matches!(error, ConsumeError::NoQueue { .. } | ConsumeError::Cancelled { .. }) {
                self.context.provision.invalidate();
            }
            let mut assignment = self.post.assignment.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                () = until_idle(&mut assignment) => {}
                () = sleep(pause) => pause = match self.is_connected_since() {
                    true => (pause * 2).min(MAX_PAUSE),
                    false => MIN_PAUSE,
                },
            }
        }
        self.give_back_unstarted().await;
        self.finish_running().await;
        Ok(())
    }

    /// Waits, with what runs, until the group is wanted; says whether it is over instead.
    async fn idle(&mut self) -> bool {
        let mut assignment = self.post.assignment.clone();
        loop {
            if assignment.borrow_and_update().is_active() {
                return false;
            }
            if self.running.is_empty()
                && assignment.borrow().group.handlers.is_empty()
                && (self.post.is_over)()
            {
                return true;
            }
            tokio::select! {
                changed = assignment.changed() => if changed.is_err() { return true },
                Some(finished) = self.running.join_next(), if !self.running.is_empty() => {
                    self.finished(&finished).await;
                }
            }
        }
    }

    /// Starts a consumer. One that has brought down `cost` connections, or was about to start when
    /// another did, leaves the others time to start, and to do some work.
    async fn connect(&mut self, cost: u32) -> Result<Result<Consumer, ConsumeError>, ProvisionError> {
        self.generation = self.context.provision.ready().await?;
        if let Some(away) = away_after(cost, rand::random()) {
            if cost > 2 {
                tracing::warn!(
                    group = %self.group.name,
                    queue = %self.group.queue,
                    retry_in = ?away,
                    "whenever this queue is consumed the connection ends; the other groups go first"
                );
            }
            sleep(away).await;
            self.generation = self.context.provision.ready().await?;
        }
        self.applications.mark_unchanged();
        // Where one process has all deliveries, those of a consumer that ends are another process's; and a queue that
        // is deleted with its last consumer would be.
        let settings = &self.group.settings;
        let may_leave = !self.is_strict() && !settings.single_active_consumer && !settings.auto_delete;
        let (prefetch, may_hold) = match &self.caution {
            Some(caution) if caution.is_narrow() => (1, 0),
            _ => self.left.prefetch(self.group.settings.prefetch),
        };
        let request = ConsumeRequest {
            queue: self.group.queue.clone(),
            tag: format!("{}@{}", self.group.name, self.context.consumer_name),
            prefetch,
            exclusive: false,
            may_hold: if may_leave { may_hold } else { 0 },
            offset: None,
        };
        let mut answer = self.context.provision.transport().consume(request);
        if let Ok(answer) = timeout(ANSWERED_WITHIN, &mut answer).await {
            return Ok(answer);
        }
        // RabbitMQ asks the leader, and answers with an internal error (541) after 65 s without one (measured).
        let reason = format!(
            "no answer to basic.consume for {ANSWERED_WITHIN:?}: a quorum queue may be without its majority"
        );
        tracing::warn!(group = %self.group.name, queue = %self.group.queue, "{reason}; still waiting");
        let _trouble = self.watch.troubled(reason);
        Ok(answer.await)
    }

    /// Whether the connection is still the one that was consumed on last.
    fn is_connected_since(&self) -> bool {
        let link = self.context.provision.transport().link();
        let now = link.borrow();
        now.generation == self.generation && matches!(now.state, LinkState::Up)
    }

    /// Takes deliveries until told to stop, or until the consumer ends.
    async fn consume(&mut self, consumer: &mut Consumer) -> Ended {
        let stop = self.context.stop.clone();
        let mut link = self.context.provision.transport().link();
        let mut is_watched = true;
        let mut assignment = self.post.assignment.clone();
        // While nothing comes, the queue is looked at: soon, where the last consumer got nothing.
        let watchdog = self.context.watchdog;
        let after = |every| if self.is_troubled { watchdog::MOMENT.min(every) } else { every };
        let mut look_at = watchdog.map(|every| Instant::now() + after(every));
        let mut looking: Option<BoxFuture<'static, Found>> = None;
        let mut turn = self.turn.subscribe();
        loop {
            if !assignment.borrow_and_update().is_active() {
                return Ended::Idle;
            }
            if self.look_at.is_some_and(|at| at <= Instant::now()) && self.is_overdue() {
                if self.is_strict() {
                    return Ended::OutOfTime;
                }
                self.context.note_handover(&self.group).await;
                self.give_back_overdue().await;
            }
            // While the broker takes no publishes, an event that failed could neither be retried nor
            // dead-lettered. What runs goes on, and is acknowledged.
            let is_open = link.borrow_and_update().blocked.is_none();
            if self.left.are_fewer() {
                consumer.settler().leave();
            }
            if is_open && self.suspects_first.is_none() && self.start_ready().await {
                return Ended::OutOfTime;
            }
            tokio::select! {
                // What ended before what came: an event that was given back comes again at once, and
                // what is behind it in its lane has to go back before that.
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                changed = link.changed(), if is_watched => is_watched = changed.is_ok(),
                Ok(()) = self.applications.changed() => return Ended::DeclaredAnew,
                Ok(()) = assignment.changed() => {}
                () = until(self.look_at) => {}
                () = turn_of_suspects(&mut turn, self.suspects_first) => return Ended::Widened,
                () = until(look_at), if looking.is_none() => {
                    look_at = watchdog.map(|every| Instant::now() + every);
                    let is_blocked = link.borrow().blocked.is_some();
                    if self.lanes.is_empty() && self.running.is_empty() && !is_blocked {
                        looking = Some(self.look());
                    }
                }
                found = of(&mut looking), if looking.is_some() => {
                    looking = None;
                    look_at = watchdog.map(|every| Instant::now() + every);
                    if let Some(error) = self.take_note(found) {
                        return Ended::Failed(error);
                    }
                }
                Some(finished) = self.running.join_next(), if !self.running.is_empty() => {
                    if self.finished(&finished).await {
                        return Ended::OutOfTime;
                    }
                }
                delivery = consumer.next() => {
                    if delivery.is_none() && consumer.settler().has_left() {
                        return Ended::Left;
                    }
                    looking = None;
                    let now = Instant::now();
                    look_at = watchdog.map(|every| now + every);
                    if let Err(ended) = self.take(delivery, now).await {
                        return ended;
                    }
                    if let Err(ended) = self.take_more(consumer, is_open).await {
                        return ended;
                    }
                }
            }
        }
    }

    /// Takes what is there already, and starts it. To look at everything else after each delivery costs more
    /// than most handlers.
    async fn take_more(&mut self, consumer: &mut Consumer, is_open: bool) -> Result<(), Ended> {
        for _ in 1..AT_A_TIME {
            while let Some(finished) = self.running.try_join_next() {
                if self.finished(&finished).await {
                    return Err(Ended::OutOfTime);
                }
            }
            if is_open && self.suspects_first.is_none() && self.start_ready().await {
                return Err(Ended::OutOfTime);
            }
            let Poll::Ready(delivery) = poll!(pin!(consumer.next())) else { break };
            if delivery.is_none() && consumer.settler().has_left() {
                return Err(Ended::Left);
            }
            self.take(delivery, Instant::now()).await?;
        }
        Ok(())
    }

    /// Takes a delivery in hand.
    async fn take(
        &mut self,
        delivery: Option<Result<Delivery, ConsumeError>>,
        since: Instant,
    ) -> Result<(), Ended> {
        let queue = || self.group.queue.as_str().to_owned();
        let ended = || Ended::Failed(ConsumeError::Cancelled { queue: queue() });
        let mut delivery = delivery.ok_or_else(ended)?.map_err(Ended::Failed)?;
        // A retry that was written under a name that the group had.
        for old in &self.group.formerly {
            let headers = &mut delivery.received.message.headers;
            wire::adopt(headers, old.queue.as_str(), self.group.queue.as_str());
        }
        if self.is_troubled {
            self.is_troubled = false;
            self.watch.set_trouble(None);
        }
        let step = if self.caution.is_some() { self.step(&delivery).await } else { Step::Handle };
        match step {
            Step::Handle | Step::SetAside => {}
            Step::Narrow => return Err(Ended::Narrowed),
            Step::Widen => self.suspects_first = Some(since + SUSPECTS_FIRST),
        }
        let (lane, is_suspect) = (self.lane_of(&delivery), step == Step::SetAside);
        self.lanes.push(lane, InHand { delivery, since, is_suspect });
        if self.look_at.is_none() {
            self.look_at = since.checked_add(self.may_wait());
        }
        Ok(())
    }

    /// What is to be done about a delivery, as far as a process may have ended over it.
    async fn step(&mut self, delivery: &Delivery) -> Step {
        let Some(caution) = &mut self.caution else { return Step::Handle };
        if caution.is_over() {
            self.caution = None;
            return Step::Handle;
        }
        let WorkerContext { handovers, provision, clock, .. } = &*self.context;
        let after_crash = delivery.received.redelivered
            && !(caution.asks() && handovers.is_left(provision, &self.group, clock.now()).await);
        caution.decide(after_crash)
    }

    /// Looks whether the queue has what its consumer does not get.
    fn look(&self) -> BoxFuture<'static, Found> {
        let is_single = self.group.settings.single_active_consumer;
        Box::pin(watchdog::look(Arc::clone(&self.context.provision), self.group.queue.clone(), is_single))
    }

    /// Tells what was found; gives what ends the consumer, where it is dead.
    fn take_note(&mut self, found: Found) -> Option<ConsumeError> {
        let (trouble, error) = match found {
            Found::Rest => (None, None),
            Found::Silence(reason) => {
                if !self.is_troubled {
                    tracing::warn!(group = %self.group.name, queue = %self.group.queue, "{reason}");
                }
                (Some(reason), None)
            }
            Found::Dead(error) => {
                Counters::add(&self.context.counters.silent);
                (Some(error.to_string()), Some(error))
            }
        };
        self.is_troubled = trouble.is_some();
        self.watch.set_trouble(trouble);
        error
    }

    fn lane_of(&self, delivery: &Delivery) -> Option<u64> {
        match self.group.settings.ordering {
            Ordering::None => None,
            Ordering::Aggregate | Ordering::Strict => lane_of_aggregate(&delivery.received),
        }
    }

    /// How long a delivery may wait until it starts: so that its handlers can still take all the time
    /// that they have, before the broker takes it back.
    fn may_wait(&self) -> Duration {
        let group = &self.post.assignment.borrow().group;
        // An exclusive group acknowledges what it starts.
        let timeouts = group.handlers.iter().map(|handler| handler.timeout).filter(|_| !group.is_exclusive());
        group.settings.patience.left(Duration::ZERO, timeouts.max().unwrap_or_default())
    }

    /// Whether something has waited too long to be started; says when to look again.
    fn is_overdue(&mut self) -> bool {
        let longest = self.may_wait();
        let oldest = self.lanes.unstarted().map(|it| it.since).min();
        self.look_at = oldest.and_then(|since| since.checked_add(longest));
        self.look_at.is_some_and(|at| at <= Instant::now())
    }

    /// Gives back what came on a consumer that was left, and has not started: no other takes its place.
    async fn give_back_unstarted(&mut self) {
        let unstarted = self.lanes.drain();
        if !unstarted.is_empty() {
            self.context.note_handover(&self.group).await;
            give_back(unstarted).await;
        }
    }

    /// Gives back everything that has not started, for one has waited too long: what is behind it in
    /// its lane must not pass it, and all of it comes again with all its time.
    async fn give_back_overdue(&mut self) {
        let unstarted = self.lanes.drain();
        self.look_at = None;
        self.context.counters.overdue.add(unstarted.len() as u64);
        tracing::warn!(
            group = %self.group.name,
            events = unstarted.len(),
            "not started in time to finish within the broker's consumer timeout; they go back to the queue and come \
             again (a lower prefetch makes them wait in the queue instead)"
        );
        give_back(unstarted).await;
    }

    /// Starts what may start, with the handlers that the group has at this moment; says whether one is held.
    async fn start_ready(&mut self) -> bool {
        if self.lanes.is_idle() || self.running.len() >= self.group.settings.concurrency {
            return false;
        }
        let group = {
            let now = self.post.assignment.borrow();
            if !now.is_active() {
                return false;
            }
            Arc::clone(&now.group)
        };
        while self.running.len() < self.group.settings.concurrency {
            let Some((lane, InHand { delivery, since, is_suspect })) = self.lanes.next() else { break };
            if delivery.lost().is_cancelled() {
                // The loss will be told in a moment; the delivery comes again.
                self.lanes.done(lane);
                continue;
            }
            if !self.away.is_empty() {
                let comes_back = !wire::attempts(&delivery.received, group.queue.as_str()).is_empty();
                if self.away.is_overtaken(lane, comes_back) {
                    Counters::add(&self.context.counters.overtaken);
                }
            }
            let hold = self.is_strict().then(|| Hold::new(&self.leaving, since, group.settings.patience));
            let channel = self.left.is_any().then(|| Arc::clone(delivery.settler()));
            let (context, watch) = (Arc::clone(&self.context), Arc::clone(&self.watch));
            let handling = Handling::new(Arc::clone(&group), context, watch, since, hold);
            if is_suspect {
                let turn = Arc::clone(&self.turn);
                self.running
                    .spawn(async move { Some((lane, handling.set_aside(delivery, &turn).await, channel)) });
                continue;
            }
            // Most handlers end as they begin, and a task for each would cost more than they do.
            let handled = async move { Some((lane, handling.at_once().handle(delivery).await, channel)) };
            let mut handled = Box::pin(AssertUnwindSafe(handled).catch_unwind());
            let Poll::Ready(finished) = poll!(&mut handled) else {
                self.running.spawn(handled.map(Result::unwrap_or_default));
                continue;
            };
            contain(|| drop(handled));
            if self.finished(&Ok(finished.unwrap_or_default())).await {
                return true;
            }
        }
        false
    }

    /// Goes on with a lane; says whether the delivery is held instead. What was given back takes what is behind
    /// it along, so that the lane comes again in its order, and pauses the place that it had.
    async fn finished(&mut self, run: &Result<Finished, JoinError>) -> bool {
        // A task that was aborted gives no lane either, and then the loop ends.
        let Ok(Some((lane, end, channel))) = run else { return false };
        let (lane, end) = (*lane, *end);
        if end == End::Held {
            return true;
        }
        if let End::Away(stay) = end {
            self.away.leaves(lane, stay);
        }
        if end == End::GivenBack {
            give_back_after(channel.clone(), self.lanes.drain_lane(lane)).await;
            let stop = self.context.stop.clone();
            self.running.spawn(async move {
                let _ = timeout(PAUSE_AFTER_GIVING_BACK, stop.cancelled()).await;
                None
            });
        }
        self.lanes.done(lane);
        false
    }

    fn is_strict(&self) -> bool {
        self.group.settings.ordering == Ordering::Strict
    }

    /// Lets the runs end, then hands everything unsettled to the next active consumer, in its order:
    /// until the channel is closed, this one is the only active consumer.
    async fn hand_over(&mut self, mut consumer: Consumer) {
        self.leaving.cancel();
        let kill = self.context.kill.clone();
        loop {
            tokio::select! {
                biased;
                () = kill.cancelled() => {
                    self.abort().await;
                    break;
                }
                finished = self.running.join_next() => if finished.is_none() { break },
                delivery = consumer.next() => if !matches!(delivery, Some(Ok(_))) {
                    self.lose().await;
                    break;
                },
            }
        }
        self.lanes = Lanes::new();
        self.leaving = CancellationToken::new();
        consumer.hand_over().await;
    }

    /// Ends what runs for a consumer that is gone: another process may have the events already. What is
    /// here of them comes again.
    async fn lose(&mut self) {
        self.running.shutdown().await;
        self.lanes = Lanes::new();
    }

    /// Gives back what has not started, waits for what has, and closes the channel.
    async fn stop(&mut self, mut consumer: Consumer) {
        self.hand_back(&mut consumer).await;
        self.finish_running().await;
        consumer.close().await;
    }

    /// Ends the consumer, and gives back what has not started.
    async fn hand_back(&mut self, consumer: &mut Consumer) {
        // Before the consumer ends, as the broker may then hand on what it had sent and nobody took.
        let is_noted = self.lanes.unstarted().next().is_some();
        if is_noted {
            self.context.note_handover(&self.group).await;
        }
        consumer.cancel().await;
        let mut unstarted = self.lanes.drain();
        let last = async {
            while let Some(Ok(delivery)) = consumer.next().await {
                unstarted.push(InHand { delivery, since: Instant::now(), is_suspect: false });
            }
        };
        if timeout(LAST_DELIVERIES, last).await.is_err() {
            tracing::debug!(group = %self.group.name, "the broker did not end the consumer in time");
        }
        if !is_noted && !unstarted.is_empty() {
            self.context.note_handover(&self.group).await;
        }
        give_back(unstarted).await;
    }

    async fn finish_running(&mut self) {
        let kill = self.context.kill.clone();
        loop {
            tokio::select! {
                () = kill.cancelled() => {
                    self.abort().await;
                    return;
                }
                finished = self.running.join_next() => {
                    if finished.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn abort(&mut self) {
        if !self.running.is_empty() {
            tracing::warn!(
                group = %self.group.name,
                events = self.running.len(),
                "handlers did not finish in time; their events go back to the queue"
            );
            self.context.note_handover(&self.group).await;
        }
        self.running.shutdown().await;
    }
}

/// How long a group stays away that lost the connection so many times in a row as it began to consume;
/// `chance` is between 0 and 1.
fn away_after(cost: u32, chance: f64) -> Option<Duration> {
    let longest =
        AFTER_COST.saturating_mul(2_u32.saturating_pow(cost.checked_sub(1)?)).min(LONGEST_AFTER_COST);
    let away = longest.mul_f64((1.0 + chance) / 2.0);
    Some(Duration::from_millis(u64::try_from(away.as_millis()).unwrap_or(u64::MAX)))
}

/// Waits until that moment; for ever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for what is looked for; for ever where nothing is.
async fn of(looking: &mut Option<BoxFuture<'static, Found>>) -> Found {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// Waits, where a time is given, until it has come or there are no suspects.
async fn turn_of_suspects(turn: &mut watch::Receiver<Turn>, until: Option<Instant>) {
    let Some(until) = until else { return std::future::pending().await };
    let _ = timeout_at(until, turn.wait_for(Turn::is_over)).await;
}

/// Waits until a group is paused or has no handlers any more.
async fn until_idle(assignment: &mut watch::Receiver<Assignment>) {
    if assignment.wait_for(|now| !now.is_active()).await.is_err() {
        // Nobody can change it any more.
        std::future::pending::<()>().await;
    }
}

/// Gives deliveries back in their order: a quorum queue puts returned messages back in the order of
/// the returns. Of several channels, one whose consumer was left has to be through before the next.
async fn give_back(deliveries: Vec<InHand>) {
    give_back_after(None, deliveries).await;
}

/// As [`give_back`], after what went back on a channel just before.
async fn give_back_after(mut channel: Option<Arc<dyn Settle>>, mut deliveries: Vec<InHand>) {
    deliveries.sort_unstable_by_key(|it| (it.since, it.delivery.tag()));
    for InHand { delivery, .. } in deliveries {
        if let Some(before) = channel.as_ref().filter(|it| !Arc::ptr_eq(it, delivery.settler())) {
            before.flush().await;
            channel = None;
        }
        if channel.is_none() {
            channel = Some(Arc::clone(delivery.settler()));
        }
        delivery.settle(Settlement::Requeue);
    }
}
