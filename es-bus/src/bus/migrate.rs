//! Migrating queues, without running. What is decided is decided in `topology::migrate`.

use super::Bus;
use crate::{
    error::Result,
    model::Queue,
    topology::{
        migrate::{MigrateError, MigrateOptions, MigrationReport, Migrator},
        plan::{Action, Plan, PlanOptions},
    },
    wire,
};

impl Bus {
    /// Gives queues that the broker has with another kind or other arguments the ones that this program declares,
    /// while events keep coming and workers keep running. Nothing is lost; an event may come twice, under one id.
    ///
    /// What is touched are the queues that [`plan`](Self::plan) shows to be in the way, and those whose migration
    /// was left half-way: killed at any moment, it goes on where it was when it is called again. Their bindings and
    /// all of their messages have to be seen, so it takes the management API (feature `management`).
    ///
    /// Workers of the version that declared the old queue may run on: they consume the new one although it is
    /// not what they declare. Start those of this version when it is through. Events stay in the order in which
    /// they came, but for those that come in the moment when the queue is bound again: where that matters, stop
    /// who publishes.
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
            let queues = in_the_way(&plan, |name| self.topology.queue(name))?;
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
            let queues = migrator.run(&queues).await?;
            Ok(MigrationReport { dry_run: options.dry_run, queues })
        };
        let result = result.await;
        visit.end().await;
        result
    }
}

/// The queues that are to be migrated.
fn in_the_way<'a>(
    plan: &Plan,
    queue: impl Fn(&str) -> Option<&'a Queue>,
) -> Result<Vec<&'a Queue>, MigrateError> {
    let mut queues = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Conflict { what: "exchange", name, differences } => {
                let differs: Vec<&str> = differences.iter().map(|it| &*it.field).collect();
                return Err(MigrateError::Exchange { name: name.clone(), differs: differs.join(", ") });
            }
            Action::Conflict { name, .. } | Action::HalfMigrated { queue: name } => {
                queues.extend(queue(name))
            }
            _ => {}
        }
    }
    Ok(queues)
}
