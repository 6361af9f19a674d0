//! Does one step after another, until nothing is left to be done.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    MigrateError, MigrateOptions, MigratedQueue, MigrationProgress, MigrationStep,
    decide::{Facts, Role, Step, Target, There, decide},
    mover::{self, Pace, Route, refused},
    step::Names,
};
use crate::{
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Difference, Exchange, ExchangeKind, Former, Observed,
        Policy, Queue, QueueKind, Topology,
    },
    name::{ExchangeName, QueueName},
    topology::{
        build::delivery_limit,
        plan::{Eyes, LookError},
    },
    transport::{DeclareError, Removal, Transport},
};

/// How often something is looked at that is waited for.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// How long a message may be on its way to a queue that was unbound.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// How long the broker has to tell consumers that their queue is gone. Less than a worker waits before it declares
/// its queue again.
const TOLD_WITHIN: Duration = Duration::from_millis(40);
/// How long the lock of a process that was killed may still be there.
const LOCKED_FOR: Duration = Duration::from_secs(2);
/// More steps than a queue takes, however often old replicas bind it again.
pub(super) const MOST_STEPS: usize = 500;

/// Why a migration ended before it was through.
#[derive(Debug)]
pub(crate) enum Failure {
    Migrate(MigrateError),
    Look(LookError),
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

/// Migrates queues of one program on one broker.
pub(crate) struct Migrator<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) eyes: &'a mut Eyes,
    pub(crate) topology: &'a Topology,
    pub(crate) options: &'a MigrateOptions,
    /// How much of a frame headers may take.
    pub(crate) header_limit: usize,
}

impl Migrator<'_> {
    /// Brings these queues to what is declared, one after another: those first in which messages end.
    ///
    /// What is there under a name that a group had comes to it. Its queue is not opened before that, unless it has
    /// other settings too.
    pub(crate) async fn run(
        &mut self,
        queues: &[&Queue],
        formers: &[&Former],
    ) -> Result<Vec<MigratedQueue>, Failure> {
        let mut targets = Vec::new();
        for queue in queues {
            targets.push(Target::of(queue, Names::of(&queue.name)?, self.topology));
        }
        targets.sort_by(|a, b| (a.role, &a.queue.name).cmp(&(b.role, &b.queue.name)));
        let mut done = Vec::new();
        for target in &targets {
            done.push(if self.options.dry_run {
                self.foresee(target).await?
            } else {
                self.migrate(target).await?
            });
        }
        for former in formers {
            done.push(self.move_over(former).await?);
        }
        Ok(done)
    }

    async fn foresee(&mut self, target: &Target) -> Result<MigratedQueue, Failure> {
        let observed = self.observe(target).await?;
        check(target, &observed)?;
        let mut facts = self.facts(target, &observed, false).await?;
        let mut report = MigratedQueue { queue: target.queue.name.to_string(), ..MigratedQueue::default() };
        while let Some(step) = decide(&facts) {
            report.steps.push(step.what);
            facts = facts.after(&step);
        }
        Ok(report)
    }

    async fn migrate(&mut self, target: &Target) -> Result<MigratedQueue, Failure> {
        let lock = Lock::acquire(self.transport, &target.names).await?;
        let result = self.limited(target).await;
        lock.release(self.transport).await;
        result
    }

    /// Migrates a queue whose policy is there before it is: of what arguments and a policy say, the lower counts, so
    /// that the old one loses no limit and the new one is never without.
    async fn limited(&mut self, target: &Target) -> Result<MigratedQueue, Failure> {
        let refused = |error| refused(&target.names.queue, error);
        if let Some(policy) = target.queue.policy() {
            self.eyes.put_policy(self.transport, &policy).await.map_err(refused)?;
        }
        let report = self.steps(target).await?;
        let name = Policy::name_for(&target.queue.name);
        if target.queue.policy().is_none() && self.eyes.takes_policies(self.transport) {
            let there = self.eyes.policies(self.transport, &name).await.map_err(refused)?;
            let pattern = Policy::pattern_for(&target.queue.name);
            if there.iter().any(|it| it.name == name && it.pattern == pattern) {
                self.eyes.delete_policy(self.transport, &name).await.map_err(refused)?;
            }
        }
        Ok(report)
    }

    async fn steps(&mut self, target: &Target) -> Result<MigratedQueue, Failure> {
        let mut report = MigratedQueue { queue: target.queue.name.to_string(), ..MigratedQueue::default() };
        let mut steps = Steps::new(&mut report, self.options.patience);
        let mut caught_up = false;
        while steps.report.steps.len() < MOST_STEPS {
            let observed = self.observe(target).await?;
            check(target, &observed)?;
            let facts = self.facts(target, &observed, caught_up).await?;
            let Some(step) = decide(&facts) else { return Ok(report) };
            tracing::info!(queue = %target.queue.name, step = ?step.what, "migrating: {}", step.what);
            self.tell(target, step.what, 0, left(&facts, step.what));
            steps.begin(target, step.what).await?;
            let moved = self.perform(target, &step).await?;
            steps.moved(moved);
            caught_up |= step.what == MigrationStep::Return;
        }
        Err(steps.endless(target).into())
    }

    /// Does a step, or finds that it cannot be done now; says how many messages were moved.
    pub(super) async fn perform(&mut self, target: &Target, step: &Step) -> Result<u64, Failure> {
        use MigrationStep as Do;
        let (names, admin) = (&target.names, self.transport);
        let refused = |error| refused(&names.queue, error);
        match step.what {
            Do::Prepare => {
                if target.role != Role::Waiting {
                    for exchange in [&names.to_old, &names.back] {
                        let exchange = Exchange::durable(exchange.clone(), ExchangeKind::Fanout);
                        admin.declare_exchange(&exchange).await.map_err(refused)?;
                    }
                }
                admin.declare_queue(&aside(target, &names.aside)).await.map_err(refused)?;
            }
            Do::Divert => self.bind(target, &names.aside, &step.bindings).await?,
            Do::Open => self.bind(target, &names.queue, &step.bindings).await?,
            Do::Unbind => self.unbind(target, &names.queue, &step.bindings).await?,
            Do::Close => self.unbind(target, &names.aside, &step.bindings).await?,
            Do::Empty if target.role == Role::Waiting => {
                self.wait_until_empty(target, step.what, &names.queue).await?;
            }
            Do::Empty => {
                admin.declare_queue(&aside(target, &names.old)).await.map_err(refused)?;
                self.lead(target, &names.to_old, &names.old).await?;
                return self.carry(target, step.what, &names.queue, &names.to_old, false).await;
            }
            Do::Replace => {
                if self.is_surely_empty(target, step.what, &names.queue).await?
                    && self.is_unbound(target).await?
                {
                    self.remove(names, Removal::Queue(names.queue.clone())).await?;
                    sleep(TOLD_WITHIN).await;
                    self.create(target).await?;
                }
            }
            Do::Create => self.create(target).await?,
            Do::ReturnOld => {
                self.lead(target, &names.back, &names.queue).await?;
                return self.carry(target, step.what, &names.old, &names.back, false).await;
            }
            Do::Return if target.role == Role::Waiting => {
                self.wait_until_empty(target, step.what, &names.aside).await?;
            }
            Do::Return => {
                self.lead(target, &names.back, &names.queue).await?;
                return self.carry(target, step.what, &names.aside, &names.back, true).await;
            }
            Do::DropOld => self.drop_unused(target, &names.old).await?,
            Do::DropAside if target.role == Role::Waiting => {
                if self.is_surely_empty(target, step.what, &names.aside).await? {
                    self.remove(names, Removal::Queue(names.aside.clone())).await?;
                }
            }
            Do::DropAside => {
                // Twice: a message may be on its way when its binding goes.
                sleep(ON_ITS_WAY).await;
                self.drop_unused(target, &names.aside).await?;
            }
            // Of a group that was renamed, which `former` does.
            Do::DeclareNew
            | Do::TakeRetries
            | Do::MoveOver
            | Do::MoveLetters
            | Do::Mark
            | Do::DropFormer
            | Do::MoveWaiting
            | Do::DropWaiting
            | Do::DropParts => {}
            Do::Tidy => {
                for exchange in [&names.to_old, &names.back] {
                    self.remove(names, Removal::Exchange(exchange.clone())).await?;
                }
            }
        }
        Ok(0)
    }

    pub(super) async fn bind(
        &self,
        target: &Target,
        queue: &QueueName,
        all: &[Binding],
    ) -> Result<(), MigrateError> {
        for binding in all {
            let binding = Binding { queue: queue.clone(), ..binding.clone() };
            self.transport.bind(&binding).await.map_err(|error| refused(&target.names.queue, error))?;
        }
        Ok(())
    }

    pub(super) async fn unbind(
        &self,
        target: &Target,
        queue: &QueueName,
        all: &[Binding],
    ) -> Result<(), MigrateError> {
        for binding in all {
            let binding = Binding { queue: queue.clone(), ..binding.clone() };
            self.remove(&target.names, Removal::Binding(binding)).await?;
        }
        Ok(())
    }

    /// Removes something, while this process has the lock: after a lost connection another one may, whose work this
    /// would undo.
    pub(super) async fn remove(&self, names: &Names, removal: Removal) -> Result<(), MigrateError> {
        match self.transport.remove_while_locked(&removal, &names.lock).await {
            Err(DeclareError::Refused { name, reason, .. })
                if name == names.lock.as_str() && reason.contains("RESOURCE_LOCKED") =>
            {
                let (queue, lock) = (names.queue.to_string(), names.lock.to_string());
                Err(MigrateError::Busy { queue, lock })
            }
            removed => removed.map_err(|error| refused(&names.queue, error)),
        }
    }

    /// Has an exchange of the migration lead to a queue.
    pub(super) async fn lead(
        &self,
        target: &Target,
        exchange: &ExchangeName,
        queue: &QueueName,
    ) -> Result<(), MigrateError> {
        let refused = |error| refused(&target.names.queue, error);
        let fanout = Exchange::durable(exchange.clone(), ExchangeKind::Fanout);
        self.transport.declare_exchange(&fanout).await.map_err(refused)?;
        let binding = Binding::by_key(exchange.clone(), queue.clone(), "");
        self.transport.bind(&binding).await.map_err(refused)
    }

    async fn carry(
        &self,
        target: &Target,
        step: MigrationStep,
        from: &QueueName,
        by: &ExchangeName,
        fed: bool,
    ) -> Result<u64, Failure> {
        // Beside it are the workers of the queue itself, and nobody at one that was made for the migration.
        let exclusive = *from != target.names.queue;
        let role = target.role;
        let route =
            Route { from, by, of: &target.names.queue, role, exclusive, fed, formers: &target.formers };
        let MigrateOptions { rate, patience, .. } = *self.options;
        let pace = Pace { rate, patience, header_limit: self.header_limit };
        let tell = |moved, left| self.tell(target, step, moved, Some(left));
        Ok(mover::run(self.transport, &route, &pace, tell).await?)
    }

    /// Declares the queue as the program wants it. One that an old replica declared first is found by the next look.
    async fn create(&self, target: &Target) -> Result<(), MigrateError> {
        match self.transport.declare_queue(&target.queue).await {
            Ok(()) | Err(DeclareError::Mismatch { .. }) => Ok(()),
            Err(error) => Err(refused(&target.names.queue, error)),
        }
    }

    /// Deletes a queue of the migration, which nobody reads, when it has no message.
    pub(super) async fn drop_unused(&self, target: &Target, queue: &QueueName) -> Result<(), MigrateError> {
        let status = self.transport.queue_status(queue).await;
        match status.map_err(|error| refused(&target.names.queue, error))? {
            // It has a message by now, or the consumer that moved them is still there.
            Some(status) if status.messages + status.consumers > 0 => Ok(()),
            _ => self.remove(&target.names, Removal::Queue(queue.clone())).await,
        }
    }

    pub(super) async fn ready(
        &self,
        target: &Target,
        queue: &QueueName,
    ) -> Result<Option<u64>, MigrateError> {
        let status = self.transport.queue_status(queue).await;
        let status = status.map_err(|error| refused(&target.names.queue, error))?;
        Ok(status.map(|status| status.messages))
    }

    /// Waits until a queue has emptied by itself.
    pub(super) async fn wait_until_empty(
        &self,
        target: &Target,
        step: MigrationStep,
        queue: &QueueName,
    ) -> Result<(), MigrateError> {
        let mut least = (u64::MAX, Instant::now());
        loop {
            let ready = self.ready(target, queue).await?.unwrap_or(0);
            if ready == 0 {
                return Ok(());
            }
            if ready < least.0 {
                least = (ready, Instant::now());
                self.tell(target, step, 0, Some(ready));
            } else if least.1.elapsed() > self.options.patience {
                let reason = format!("{ready} messages wait in {:?}", queue.as_str());
                return Err(stuck(target, reason, self.options.patience));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until nothing is in a queue to which nothing comes, and nobody holds anything of it; `false` when
    /// something is ready again, or it is gone.
    pub(super) async fn is_surely_empty(
        &self,
        target: &Target,
        step: MigrationStep,
        queue: &QueueName,
    ) -> Result<bool, Failure> {
        self.is_surely_empty_since(target, step, queue, Instant::now()).await
    }

    /// As [`is_surely_empty`](Self::is_surely_empty), of a queue to which nothing comes since then.
    pub(super) async fn is_surely_empty_since(
        &self,
        target: &Target,
        step: MigrationStep,
        queue: &QueueName,
        quiet: Instant,
    ) -> Result<bool, Failure> {
        let since = Instant::now();
        if self.ready(target, queue).await? != Some(0) {
            return Ok(false);
        }
        if self.eyes.lag() {
            sleep_until(quiet + Eyes::LAG).await;
        }
        loop {
            let found = self.eyes.queue(self.transport, queue).await.map_err(Failure::Look)?;
            let Some(found) = found else { return Ok(false) };
            if self.ready(target, queue).await? != Some(0) {
                return Ok(false);
            }
            let held = match (found.unacknowledged, found.dead_letters) {
                (Some(held), Some(letters)) => Some(held + letters),
                _ => None,
            };
            if held == Some(0) && found.ready == Some(0) {
                return Ok(true);
            }
            if since.elapsed() > self.options.patience + Eyes::LAG {
                let reason = match held {
                    Some(held) => format!("consumers of {:?} hold {held} messages", queue.as_str()),
                    None => format!("nothing tells what consumers of {:?} hold", queue.as_str()),
                };
                return Err(stuck(target, reason, self.options.patience).into());
            }
            self.tell(target, step, 0, held);
            sleep(POLL).await;
        }
    }

    /// Whether the queue is still to be replaced, and all that is aside still leads there.
    async fn is_unbound(&mut self, target: &Target) -> Result<bool, Failure> {
        let observed = self.observe(target).await?;
        let facts = target.facts(&observed, false);
        Ok(facts.queue == There::Other && facts.bound.is_empty() && facts.aside.is_some())
    }

    pub(super) async fn observe(&mut self, target: &Target) -> Result<Observed, Failure> {
        let Names { queue, aside, old, to_old, back, .. } = &target.names;
        let (exchanges, queues) =
            ([to_old.clone(), back.clone()], [queue.clone(), aside.clone(), old.clone()]);
        self.eyes.observe(self.transport, &exchanges, &queues).await.map_err(Failure::Look)
    }

    /// What is there, with counts of this moment.
    pub(super) async fn facts(
        &self,
        target: &Target,
        observed: &Observed,
        caught_up: bool,
    ) -> Result<Facts, MigrateError> {
        let mut facts = target.facts(observed, caught_up);
        facts.ready = self.ready(target, &target.names.queue).await?.unwrap_or(0);
        if let Some(aside) = &mut facts.aside {
            aside.ready = self.ready(target, &target.names.aside).await?.unwrap_or(0);
        }
        if let Some(old) = &mut facts.old {
            *old = self.ready(target, &target.names.old).await?.unwrap_or(0);
        }
        Ok(facts)
    }

    pub(super) fn tell(&self, target: &Target, step: MigrationStep, moved: u64, left: Option<u64>) {
        if let Some(tell) = &self.options.progress {
            tell(&MigrationProgress { queue: target.queue.name.to_string(), step, moved, left });
        }
    }
}

/// Whether a queue can be migrated as it is.
pub(super) fn check(target: &Target, observed: &Observed) -> Result<(), MigrateError> {
    let name = target.names.queue.as_str();
    if observed.bindings.is_none() {
        let reason = observed.unseen.last().cloned().unwrap_or_else(|| "they cannot".to_owned());
        return Err(MigrateError::Blind { reason });
    }
    let Some(found) = observed.queues.get(name) else { return Ok(()) };
    let unmovable =
        |reason: &str| Err(MigrateError::Unmovable { queue: name.to_owned(), reason: reason.to_owned() });
    if let Some(trouble) = &found.trouble {
        return unmovable(trouble);
    }
    let is_stream = match &found.settings {
        Some(settings) => settings.kind == QueueKind::Stream.as_str(),
        None => target.queue.kind == QueueKind::Stream,
    };
    if let Some(reason) = of_stream(&target.queue, is_stream) {
        return unmovable(reason);
    }
    match &found.settings {
        Some(settings) if settings.exclusive => {
            unmovable("it is exclusive to a connection, and goes with that: end the process that has it")
        }
        _ => Ok(()),
    }
}

/// Why a queue that is there with other settings cannot be migrated, and what to do instead; `None` where it can. Pure.
pub(crate) fn unmovable(wanted: &Queue, differences: &[Difference]) -> Option<&'static str> {
    let kind = differences.iter().find(|it| it.field == "x-queue-type");
    let is_stream = match kind {
        Some(kind) => kind.found.as_deref() == Some(QueueKind::Stream.as_str()),
        None => wanted.kind == QueueKind::Stream,
    };
    of_stream(wanted, is_stream)
}

/// As [`unmovable`], of a queue that is a stream on the broker, or is none.
fn of_stream(wanted: &Queue, is_stream: bool) -> Option<&'static str> {
    match (wanted.kind == QueueKind::Stream, is_stream) {
        (_, true) => Some(
            "it is a stream, whose messages stay when they are read: say here what it was declared with, and let a policy \
             say what it keeps (`rabbitmqctl set_policy`, `max-age`, `max-length-bytes`); or delete it once its group has \
             read all of it, and start this program: what is published meanwhile is not delivered to it",
        ),
        (true, false) => Some(
            "the broker has a queue of this name where a stream is declared: delete it once it is empty, and start this \
             program: what is published meanwhile is not delivered to it",
        ),
        (false, false) => None,
    }
}

/// How much there is to do in a step.
pub(super) fn left(facts: &Facts, step: MigrationStep) -> Option<u64> {
    match step {
        MigrationStep::Empty => Some(facts.ready),
        MigrationStep::ReturnOld => facts.old,
        MigrationStep::Return => facts.aside.as_ref().map(|aside| aside.ready),
        _ => None,
    }
}

/// The steps of a queue while they are done: a step that does not change anything for long ends them.
pub(super) struct Steps<'a> {
    pub(super) report: &'a mut MigratedQueue,
    changed: Instant,
    patience: Duration,
}

impl<'a> Steps<'a> {
    pub(super) fn new(report: &'a mut MigratedQueue, patience: Duration) -> Self {
        Self { report, changed: Instant::now(), patience }
    }

    /// Notes a step before it is done. One that could not be done just now waits for a moment.
    pub(super) async fn begin(&mut self, target: &Target, step: MigrationStep) -> Result<(), MigrateError> {
        if self.report.steps.last() != Some(&step) {
            self.report.steps.push(step);
            self.changed = Instant::now();
        } else if self.changed.elapsed() > self.patience {
            return Err(stuck(target, format!("it cannot be done to {step}"), self.patience));
        } else {
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Notes how many messages it moved.
    pub(super) fn moved(&mut self, count: u64) {
        if count > 0 {
            self.report.moved += count;
            self.changed = Instant::now();
        }
    }

    /// Too many steps were done.
    pub(super) fn endless(&self, target: &Target) -> MigrateError {
        stuck(target, "others bind or declare it again each time".to_owned(), self.changed.elapsed())
    }
}

pub(super) fn stuck(target: &Target, reason: String, after: Duration) -> MigrateError {
    MigrateError::Stuck { queue: target.queue.name.to_string(), reason, after }
}

/// A queue in which messages wait. Those of a retry queue wait in it as they would in the new one; in another one
/// they only stay, and what expires there goes where it would have gone.
fn aside(target: &Target, name: &QueueName) -> Queue {
    if target.role == Role::Waiting {
        return Queue { name: name.clone(), ..target.queue.clone() };
    }
    let kind = QueueKind::Quorum;
    Queue {
        // At most once: what is kept until its queue has it would be in no count.
        dead_letter: target
            .queue
            .dead_letter
            .as_ref()
            .map(|letter| DeadLetter { strategy: DeadLetterStrategy::AtMostOnce, ..letter.clone() }),
        delivery_limit: delivery_limit(kind),
        ..Queue::durable(name.clone(), kind)
    }
}

/// The right to migrate a queue: an exclusive queue, which goes with its connection.
pub(super) struct Lock(QueueName);

impl Lock {
    pub(super) async fn acquire(transport: &dyn Transport, names: &Names) -> Result<Self, MigrateError> {
        let queue = Queue {
            durable: false,
            exclusive: true,
            ..Queue::durable(names.lock.clone(), QueueKind::Classic)
        };
        let until = Instant::now() + LOCKED_FOR;
        loop {
            match transport.declare_queue(&queue).await {
                Ok(()) => return Ok(Self(names.lock.clone())),
                // 405, in the broker's own word: it belongs to another connection.
                Err(DeclareError::Refused { reason, .. }) if reason.contains("RESOURCE_LOCKED") => {
                    if Instant::now() >= until {
                        let (queue, lock) = (names.queue.to_string(), names.lock.to_string());
                        return Err(MigrateError::Busy { queue, lock });
                    }
                    sleep(POLL).await;
                }
                Err(error) => return Err(refused(&names.queue, error)),
            }
        }
    }

    pub(super) async fn release(self, transport: &dyn Transport) {
        if let Err(error) = transport.delete_queue(&self.0).await {
            tracing::debug!(%error, "the lock was not deleted");
        }
    }
}
