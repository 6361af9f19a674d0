//! Migrating queues, without running. What is decided is decided in `topology::migrate`.

use super::Bus;
use crate::{
    error::Result,
    model::{Former, Queue, Topology},
    topology::{
        migrate::{MigrateError, MigrateOptions, MigrationReport, Migrator, unmovable},
        plan::{Action, Left, Plan, PlanOptions},
        policies,
    },
    wire,
};

impl Bus {
    /// Gives queues that the broker has with another kind or other arguments the ones that this program declares,
    /// while events keep coming and workers keep running. Nothing is lost; an event may come twice, under one id.
    ///
    /// What is touched are the queues that [`plan`](Self::plan) shows to be in the way, those that are there under a
    /// name that their group had (`formerly` of its `#[group]`), and those whose migration was left half-way: killed at any moment, it goes on where it was when it is called again. Their bindings and
    /// all of their messages have to be seen, so it takes the management API (feature `management`).
    ///
    /// Workers of the version that declared the old queue may run on: they consume the new one although it is
    /// not what they declare. Start those of this version when it is through. Events stay in the order in which
    /// they came, but for those that come in the moment when the queue is bound again: where that matters, stop
    /// who publishes.
    ///
    /// The queue of a group that was renamed is brought to the new one with its dead letters and what waits for a retry.
    /// While workers of the old version consume it, it is left to them, unbound; [`MigratedQueue::consumers`] tells.
    /// Call this again when they are gone: it takes what they gave back, and nothing of the old name is left.
    ///
    /// [`MigratedQueue::consumers`]: crate::migrate::MigratedQueue::consumers
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; as [`observe`](Self::observe).
    ///
    /// # Cancel safety
    ///
    /// Dropped anywhere it loses nothing, and goes on when it is called again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use es_bus::{Bus, migrate::MigrateOptions};
    ///
    /// # async fn example() -> es_bus::Result<()> {
    /// let bus = Bus::builder().build()?;
    ///
    /// print!("{}", bus.migrate(&MigrateOptions::new().dry_run()).await?);
    /// let report = bus.migrate(&MigrateOptions::new().rate(5000)).await?;
    /// print!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn migrate(&self, options: &MigrateOptions) -> Result<MigrationReport> {
        let mut visit = self.visit().await?;
        let result = async {
            let plan = self.planned(&mut visit, None, &PlanOptions::new()).await?;
            let (queues, formers) = in_the_way(&plan, &self.topology)?;
            if let (true, Some(reason)) = (plan.unverified().next().is_some(), plan.unseen.last()) {
                return Err(MigrateError::Blind { reason: reason.clone() }.into());
            }
            let frame_max = usize::try_from(self.config.bus.frame_max.value.bytes()).unwrap_or(usize::MAX);
            let mut migrator = Migrator {
                transport: &*visit.transport,
                eyes: &mut visit.eyes,
                topology: &self.topology,
                options,
                header_limit: wire::header_limit(frame_max),
            };
            let queues = migrator.run(&queues, &formers).await?;
            Ok(MigrationReport { dry_run: options.dry_run, queues })
        };
        let result = result.await;
        visit.end().await;
        result
    }
}

/// The queues that are to be migrated, and the names that groups had whose queues are still there. A queue that is
/// half-way because of such a name is finished by that.
fn in_the_way<'a>(
    plan: &Plan,
    topology: &'a Topology,
) -> Result<(Vec<&'a Queue>, Vec<&'a Former>), MigrateError> {
    let (mut queues, mut half_way, mut formers) = (Vec::new(), Vec::new(), Vec::new());
    let mut blocked = None;
    let is_changed = |queue: &str| {
        plan.steps.iter().any(|step| match &step.action {
            Action::Conflict { what: "queue", name, .. } | Action::HalfMigrated { queue: name } => {
                name == queue
            }
            _ => false,
        })
    };
    for step in &plan.steps {
        match &step.action {
            Action::Conflict { what: "exchange", name, differences } => {
                let differs: Vec<&str> = differences.iter().map(|it| &*it.field).collect();
                return Err(MigrateError::Exchange { name: name.clone(), differs: differs.join(", ") });
            }
            Action::NeedsPlugin { exchange, plugin } => {
                return Err(MigrateError::NoPlugin { name: exchange.clone(), plugin });
            }
            Action::PolicyBlocked { policy, others } if is_changed(policy.queue().as_str()) => {
                return Err(MigrateError::Policy {
                    queue: policy.queue().to_string(),
                    reason: policies::in_the_way(policy, others),
                });
            }
            Action::PolicyBlocked { policy, others } => blocked = blocked.or(Some((policy, others))),
            Action::Conflict { name, differences, .. } => {
                let Some(queue) = topology.queue(name) else { continue };
                if let Some(reason) = unmovable(queue, differences) {
                    return Err(MigrateError::Unmovable { queue: name.clone(), reason: reason.to_owned() });
                }
                queues.push(queue);
            }
            Action::HalfMigrated { queue } => half_way.extend(topology.queue(queue)),
            Action::Renamed { from, .. } | Action::Leave(Left::Former { from, .. }) => {
                formers.extend(topology.formers().iter().filter(|it| it.old.as_str() == from));
            }
            _ => {}
        }
    }
    let is_former = |queue: &&Queue| formers.iter().any(|it: &&Former| it.queue == queue.name);
    queues.extend(half_way.into_iter().filter(|queue| !is_former(queue)));
    match blocked {
        // Nothing of it is for a migration, and it is not to look as if all were well.
        Some((policy, others)) if queues.is_empty() && formers.is_empty() => Err(MigrateError::Policy {
            queue: policy.queue().to_string(),
            reason: policies::in_the_way(policy, others),
        }),
        _ => Ok((queues, formers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::Headers,
        model::{ObservedPolicy, Overflow, QueueKind, View, policy::LimitsIn},
        name::QueueName,
        topology::plan::{Risk, Step},
    };

    #[test]
    fn the_policy_of_another_one_is_told_although_nothing_is_to_be_migrated() {
        let name = QueueName::new("events.audit").unwrap();
        let queue = Queue {
            max_length: Some(20),
            overflow: Some(Overflow::RejectPublish),
            limits_in: LimitsIn::Policies,
            ..Queue::durable(name, QueueKind::Quorum)
        };
        let ops = ObservedPolicy {
            name: "ops".to_owned(),
            pattern: "^events".to_owned(),
            apply_to: "all".to_owned(),
            definition: Headers::new(),
            priority: 5,
        };
        let action = Action::PolicyBlocked { policy: queue.policy().unwrap(), others: vec![ops] };
        let step = Step { action, reason: String::new(), risk: Risk::High, effect: String::new() };
        let plan = Plan {
            broker: String::new(),
            view: View::Memory,
            info: None,
            program: None,
            steps: vec![step],
            warnings: Vec::new(),
            unseen: Vec::new(),
        };

        let wanted = Topology::new();
        let found = in_the_way(&plan, &wanted);

        let Err(MigrateError::Policy { queue, reason }) = found else { panic!("{found:?}") };
        assert_eq!(queue, "events.audit");
        assert!(reason.contains("policy \"ops\""), "{reason}");
    }
}
