//! Brings to a group what there is under a name that it had, step by step.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::decide::{Entry, Facts, Old, Waiting, decide};
use crate::{
    message::Value,
    model::{Binding, Exchange, ExchangeKind, Former, Observed, Policy, Queue},
    name::{ExchangeName, QueueName},
    topology::migrate::{
        MigrateError, MigrateOptions, MigratedQueue, MigrationProgress, MigrationStep,
        decide::{Role, Step, Target, There},
        mover::{self, Pace, Route, refused},
        perform::{Failure, Lock, MOST_STEPS, Migrator, Steps, check, left},
        step::Names,
    },
    transport::{QueueStatus, Removal},
    wire::names,
};

impl Migrator<'_> {
    /// Brings to a group what there is under a name that it had, or tells the steps.
    pub(in crate::topology::migrate) async fn move_over(
        &mut self,
        former: &Former,
    ) -> Result<MigratedQueue, Failure> {
        let queue = self.topology.queue(former.queue.as_str()).expect("a group has its queue");
        let target = Target::of(queue, Names::of(&queue.name)?, self.topology);
        let mut report = MigratedQueue {
            queue: queue.name.to_string(),
            formerly: Some(former.old.to_string()),
            ..MigratedQueue::default()
        };
        if self.options.dry_run {
            let observed = self.observe(&target).await?;
            check(&target, &observed)?;
            let mut facts = self.former_facts(&target, former, &observed, false).await?;
            report.consumers = facts.old.as_ref().map_or(0, |old| old.consumers);
            while let Some(step) = decide(&facts) {
                report.steps.push(step.what);
                facts = facts.after(&step);
            }
            return Ok(report);
        }
        let lock = Lock::acquire(self.transport, &target.names).await?;
        let result = self.moving_over(&target, former, &mut report).await;
        lock.release(self.transport).await;
        result.map(|()| report)
    }

    async fn moving_over(
        &mut self,
        target: &Target,
        former: &Former,
        report: &mut MigratedQueue,
    ) -> Result<(), Failure> {
        let mut steps = Steps::new(report, self.options.patience);
        let mut caught_up = false;
        // Since when nothing was to be done but to delete: one wait for the broker's counts does for all of it.
        let mut quiet = None;
        for _ in 0..MOST_STEPS {
            let observed = self.observe(target).await?;
            check(target, &observed)?;
            let facts = self.former_facts(target, former, &observed, caught_up).await?;
            let Some(step) = decide(&facts) else {
                steps.report.consumers = facts.old.map_or(0, |old| old.consumers);
                return Ok(());
            };
            let left = match step.what {
                MigrationStep::MoveOver => facts.old.as_ref().map(|old| old.ready),
                MigrationStep::MoveLetters => facts.letters,
                MigrationStep::MoveWaiting => Some(facts.waiting.iter().map(|it| it.ready).sum()),
                other => left(&facts.new, other),
            };
            tracing::info!(queue = %former.old, to = %former.queue, step = ?step.what, "migrating: {}", step.what);
            match is_of_new(step.what, &facts) {
                true => self.tell(target, step.what, 0, left),
                false => self.tell_former(former, step.what, 0, left),
            }
            steps.begin(target, step.what).await?;
            use MigrationStep as Do;
            match step.what {
                Do::DropFormer | Do::DropWaiting | Do::DropParts => quiet = quiet.or(Some(Instant::now())),
                _ => quiet = None,
            }
            let quiet = quiet.unwrap_or_else(Instant::now);
            let moved = self.move_on(target, former, &step, &facts, quiet).await?;
            steps.moved(moved);
            caught_up |= step.what == MigrationStep::Return;
        }
        Err(steps.endless(target).into())
    }

    /// Does a step, or finds that it cannot be done now; says how many messages were moved.
    async fn move_on(
        &mut self,
        target: &Target,
        former: &Former,
        step: &Step,
        facts: &Facts,
        quiet: Instant,
    ) -> Result<u64, Failure> {
        use MigrationStep as Do;
        let names = &target.names;
        match step.what {
            Do::DeclareNew => self.declare_new(target, former).await?,
            Do::Unbind if facts.old.as_ref().is_some_and(|old| !old.bound.is_empty()) => {
                self.unbind(target, &former.old, &step.bindings).await?;
            }
            Do::TakeRetries => {
                let back = self.back(former);
                self.bind(target, &former.queue, std::slice::from_ref(&back)).await?;
                self.unbind(target, &former.old, &[back]).await?;
            }
            Do::MoveOver => {
                self.lead(target, &names.back, &former.queue).await?;
                return self
                    .carry_over(target, former, (&former.old, &names.back), Role::Work, step.what)
                    .await;
            }
            Do::MoveLetters => {
                let Some(dlq) = &former.dlq else { return self.keep_letters(target, former).await };
                let letters = Names::of(dlq)?;
                self.lead(target, &letters.back, dlq).await?;
                let route = (&former.old_dlq, &letters.back);
                let moved = self.carry_over(target, former, route, Role::Kept, step.what).await?;
                self.remove(names, Removal::Exchange(letters.back.clone())).await?;
                return Ok(moved);
            }
            Do::Mark => {
                let marker = Exchange::durable(of_existing(&former.marker()), ExchangeKind::Fanout);
                let declared = self.transport.declare_exchange(&marker).await;
                declared.map_err(|error| refused(&former.queue, error))?;
            }
            Do::DropFormer => self.drop_if_idle(target, former, &former.old, (step.what, quiet)).await?,
            Do::MoveWaiting => return self.move_waiting(target, former, facts).await,
            Do::DropWaiting => {
                for waiting in &facts.waiting {
                    let name = QueueName::of_existing(&waiting.name);
                    self.drop_if_idle(target, former, &name, (step.what, quiet)).await?;
                }
            }
            Do::DropParts => self.drop_parts(target, former, facts, quiet).await?,
            _ => return self.perform(target, step).await,
        }
        Ok(0)
    }

    /// Declares the queue and all that belongs to it, and binds all of it but the queue.
    async fn declare_new(&self, target: &Target, former: &Former) -> Result<(), MigrateError> {
        let admin = self.transport;
        let refused = |error| refused(&former.queue, error);
        let bindings = self.own_bindings(former);
        let entry = format!("{}.in", former.queue);
        let names = bindings.iter().map(|binding| binding.source.as_str()).chain([&*entry]);
        let names: BTreeSet<&str> = names.collect();
        for exchange in names.into_iter().filter_map(|name| self.topology.exchange(name)) {
            admin.declare_exchange(exchange).await.map_err(refused)?;
        }
        for queue in self.own_queues(former) {
            admin.declare_queue(queue).await.map_err(refused)?;
        }
        admin.declare_queue(&target.queue).await.map_err(refused)?;
        for binding in bindings {
            admin.bind(binding).await.map_err(refused)?;
        }
        Ok(())
    }

    /// The queues that belong to that of the group: for retries, suspects and dead letters.
    fn own_queues(&self, former: &Former) -> Vec<&Queue> {
        let retry = format!("{}.retry", former.queue);
        let waits = |queue: &Queue| {
            self.topology.bindings().any(|it| it.queue == queue.name && it.source.as_str() == retry)
        };
        let queues = self.topology.queues();
        queues.filter(|queue| waits(queue) || former.dlq.as_ref() == Some(&queue.name)).collect()
    }

    /// What binds those.
    fn own_bindings(&self, former: &Former) -> Vec<&Binding> {
        let own: Vec<&QueueName> = self.own_queues(former).into_iter().map(|queue| &queue.name).collect();
        self.topology.bindings().filter(|it| own.contains(&&it.queue)).collect()
    }

    /// What leads back to the queue from the retries of the old name.
    fn back(&self, former: &Former) -> Binding {
        Binding::by_key(of_existing(&former.entry()), former.queue.clone(), "")
    }

    async fn carry_over(
        &self,
        target: &Target,
        former: &Former,
        (from, by): (&QueueName, &ExchangeName),
        role: Role,
        step: MigrationStep,
    ) -> Result<u64, Failure> {
        // Workers of the old version may be beside it.
        let formers = &target.formers;
        let route = Route { from, by, of: &target.names.queue, role, exclusive: false, fed: false, formers };
        let MigrateOptions { rate, patience, .. } = *self.options;
        let pace = Pace { rate, patience, header_limit: self.header_limit };
        let tell = |moved, left| self.tell_former(former, step, moved, Some(left));
        Ok(mover::run(self.transport, &route, &pace, tell).await?)
    }

    /// Moves to the retry queue of the same delay, where there is one; else waits until it is back.
    async fn move_waiting(
        &mut self,
        target: &Target,
        former: &Former,
        facts: &Facts,
    ) -> Result<u64, Failure> {
        let step = MigrationStep::MoveWaiting;
        let retry = ExchangeName::new(format!("{}.retry", former.queue)).expect("it is declared");
        let mut moved = 0;
        for waiting in facts.waiting.iter().filter(|it| it.ready > 0) {
            let from = QueueName::of_existing(&waiting.name);
            let delay = match waiting.name.strip_prefix(&format!("{}.retry.", former.old)) {
                Some(delay) => delay,
                None => names::DELAY_SUSPECTS,
            };
            let takes = |it: &Binding| {
                it.source == retry && it.arguments.get(names::ES_DELAY).and_then(Value::as_str) == Some(delay)
            };
            moved += match (self.topology.bindings().any(takes), delay) {
                (true, _) => self.carry_over(target, former, (&from, &retry), Role::Waiting, step).await?,
                // Nobody looks for suspects any more.
                (false, names::DELAY_SUSPECTS) => {
                    let back = &target.names.back;
                    self.lead(target, back, &former.queue).await?;
                    self.carry_over(target, former, (&from, back), Role::Work, step).await?
                }
                (false, _) => {
                    self.wait_until_empty(target, step, &from).await?;
                    0
                }
            };
        }
        Ok(moved)
    }

    /// Deletes a queue of the old name once it is certain that nothing is in it, unless somebody consumes it.
    async fn drop_if_idle(
        &self,
        target: &Target,
        former: &Former,
        queue: &QueueName,
        (step, quiet): (MigrationStep, Instant),
    ) -> Result<(), Failure> {
        if !self.is_surely_empty_since(target, step, queue, quiet).await? {
            return Ok(());
        }
        let status = self.transport.queue_status(queue).await;
        match status.map_err(|error| refused(&former.queue, error))? {
            Some(status) if status.messages + status.consumers > 0 => Ok(()),
            _ => Ok(self.remove(&target.names, Removal::Queue(queue.clone())).await?),
        }
    }

    async fn drop_parts(
        &self,
        target: &Target,
        former: &Former,
        facts: &Facts,
        quiet: Instant,
    ) -> Result<(), Failure> {
        if facts.letters.is_some() {
            self.drop_if_idle(target, former, &former.old_dlq, (MigrationStep::DropParts, quiet)).await?;
            let there = self.transport.queue_status(&former.old_dlq).await;
            if there.map_err(|error| refused(&former.queue, error))?.is_some() {
                return Ok(());
            }
        }
        // What is there of the old name tells that there is something to do: so they go before its last part.
        self.drop_policies(former).await?;
        for exchange in [former.retry(), former.entry(), former.marker()] {
            self.remove(&target.names, Removal::Exchange(of_existing(&exchange))).await?;
        }
        Ok(())
    }

    /// Deletes the policies that carried the limits of queues that are gone.
    async fn drop_policies(&self, former: &Former) -> Result<(), MigrateError> {
        if !self.eyes.takes_policies(self.transport) {
            return Ok(());
        }
        let refused = |error| refused(&former.queue, error);
        let there =
            self.eyes.policies(self.transport, &Policy::name_for(&former.old)).await.map_err(refused)?;
        for queue in [&former.old, &former.old_dlq].into_iter().filter(|it| former.has_queue(it.as_str())) {
            let (name, pattern) = (Policy::name_for(queue), Policy::pattern_for(queue));
            if there.iter().any(|it| it.name == name && it.pattern == pattern) {
                self.eyes.delete_policy(self.transport, &name).await.map_err(refused)?;
            }
        }
        Ok(())
    }

    /// The group keeps no dead letters any more: what it kept is not thrown away.
    async fn keep_letters(&self, target: &Target, former: &Former) -> Result<u64, Failure> {
        let reason = format!(
            "the group keeps no dead letters any more, and {:?} has some: replay, export or discard them, or have the group \
             keep them (`on_exhausted = \"dead-letter\"`)",
            former.old_dlq.as_str()
        );
        Err(MigrateError::Unmovable { queue: target.queue.name.to_string(), reason }.into())
    }

    /// What is there, with counts of this moment.
    async fn former_facts(
        &self,
        target: &Target,
        former: &Former,
        observed: &Observed,
        caught_up: bool,
    ) -> Result<Facts, MigrateError> {
        let entry = former.entry();
        let mut new = self.facts(target, observed, caught_up).await?;
        let brings = |binding: &Binding| binding.source.as_str() != entry;
        new.bound.retain(brings);
        new.aside.iter_mut().for_each(|aside| aside.bound.retain(brings));
        let is_there = |binding: &&Binding| {
            let mut bindings = observed.bindings.iter().flatten();
            bindings.any(|there| crate::topology::plan::is_it(there, binding))
        };
        let is_partial =
            self.own_queues(former).iter().any(|it| !observed.queues.contains_key(it.name.as_str()))
                || !self.own_bindings(former).iter().all(is_there);
        let old = self.status(former, &former.old).await?.map(|status| {
            let mut bound = target.bound(observed, &former.old);
            bound.retain(brings);
            Old { ready: status.messages, consumers: status.consumers, bound }
        });
        let leads = |queue: &QueueName| {
            let mut bindings = observed.bindings.iter().flatten();
            bindings.any(|it| !it.to_exchange && it.source == entry && it.destination == queue.as_str())
        };
        let entry = observed
            .exchanges
            .contains_key(&entry)
            .then(|| Entry { to_old: leads(&former.old), to_new: leads(&former.queue) });
        let letters = match former.has_queue(former.old_dlq.as_str()) {
            true => self.status(former, &former.old_dlq).await?.map(|status| status.messages),
            false => None,
        };
        let mut waiting = Vec::new();
        for name in observed.queues.keys() {
            if former.is_retry_queue(name) || *name == former.suspects() {
                let found = self.status(former, &QueueName::of_existing(name)).await?;
                waiting.extend(found.map(|found| Waiting { name: name.clone(), ready: found.messages }));
            }
        }
        Ok(Facts {
            new,
            is_partial: new_is_there(target, observed) && is_partial,
            old,
            entry,
            letters,
            waiting,
            has_parts: observed.exchanges.contains_key(&former.retry()),
            is_marked: observed.exchanges.contains_key(&former.marker()),
        })
    }

    async fn status(&self, former: &Former, queue: &QueueName) -> Result<Option<QueueStatus>, MigrateError> {
        let status = self.transport.queue_status(queue).await;
        status.map_err(|error| refused(&former.queue, error))
    }

    fn tell_former(&self, former: &Former, step: MigrationStep, moved: u64, left: Option<u64>) {
        if let Some(tell) = &self.options.progress {
            tell(&MigrationProgress { queue: former.old.to_string(), step, moved, left });
        }
    }
}

/// Whether a step is one of the way of the new queue itself.
fn is_of_new(step: MigrationStep, facts: &Facts) -> bool {
    use MigrationStep as Do;
    match step {
        Do::Unbind => facts.old.as_ref().is_none_or(|old| old.bound.is_empty()),
        Do::Open
        | Do::Close
        | Do::Return
        | Do::ReturnOld
        | Do::DropOld
        | Do::DropAside
        | Do::Tidy
        | Do::Create
        | Do::Replace
        | Do::Empty => true,
        Do::Prepare
        | Do::Divert
        | Do::DeclareNew
        | Do::TakeRetries
        | Do::MoveOver
        | Do::MoveLetters
        | Do::Mark
        | Do::DropFormer
        | Do::MoveWaiting
        | Do::DropWaiting
        | Do::DropParts => false,
    }
}

fn new_is_there(target: &Target, observed: &Observed) -> bool {
    target.facts(observed, false).queue != There::Absent
}

fn of_existing(name: &str) -> ExchangeName {
    ExchangeName::of_existing(name)
}
