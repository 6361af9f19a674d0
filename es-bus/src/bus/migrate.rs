//! Migrating queues, without running. What is decided is decided in `topology::migrate`.

use super::Bus;
use crate::{
    error::Result,
    model::{Former, Queue, Topology},
    topology::{
        migrate::{MigrateError, MigrateOptions, MigrationReport, Migrator},
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
            Action::Conflict { name, .. } => queues.extend(topology.queue(name)),
            Action::HalfMigrated { queue } => half_way.extend(topology.queue(queue)),
            Action::Renamed { from, .. } | Action::Leave(Left::Former { from, .. }) => {
                formers.extend(topology.formers().iter().filter(|it| it.old.as_str() == from));
            }
            _ => {}
        }
    }
    let is_former = |queue: &&Queue| formers.iter().any(|it: &&Former| it.queue == queue.name);
    queues.extend(half_way.into_iter().filter(|queue| !is_former(queue)));
    Ok((queues, formers))
}
