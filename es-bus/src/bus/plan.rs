//! Looking at a broker and bringing it to the topology, without running: what `plan` and `apply` are made of.
//!
//! Each call makes a connection of its own and ends it. What is decided is decided in `topology::plan`.

use std::{sync::Arc, time::Duration};

use super::{
    Bus,
    connect::eyes,
    run::{TransportChoice, close, connected},
};
use crate::{
    config::GroupSelection,
    error::Result,
    model::{Observed, Topology, View},
    topology::plan::{
        Applied, Eyes, Plan, PlanError, PlanOptions, Record, both, decide, perform, shared_names,
    },
    transport::Transport,
};
#[cfg(all(feature = "cli", feature = "management"))]
use crate::{error::Error, transport::amqp::management::Diagnosis};

/// How long a broker that is not there is waited for, unless `start_timeout` says.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection for one call.
pub(super) struct Visit {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) eyes: Eyes,
    /// Whether the connection is this call's own.
    is_own: bool,
}

impl Bus {
    /// Looks at the broker: what it has of exchanges, queues and bindings, and what it is.
    ///
    /// Through the management API (feature `management`, setting `management_url`) everything on the virtual
    /// host is seen; over AMQP alone, which exchanges and queues of this program exist, and how full they are.
    /// Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the broker refuses the login or is not there within `start_timeout`, half a
    /// minute unless that is set; when a management API that is named does not answer.
    pub async fn observe(&self) -> Result<Observed> {
        let mut visit = self.visit().await?;
        let observed = visit.observe(&[&self.topology]).await;
        visit.end().await;
        observed
    }

    /// What stands between the broker and what this program declares. Nothing is changed.
    ///
    /// Queues that are exclusive to a process are no part of it. Over AMQP alone, settings and bindings of what
    /// is there cannot be compared: the plan tells them apart, as [`Plan::unverified`]. A broker in memory that has no
    /// name (`memory://`) is a new one at each call, on which there is nothing.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use es_bus::{Bus, plan::Outcome};
    ///
    /// # async fn example() -> es_bus::Result<()> {
    /// let bus = Bus::builder().build()?;
    ///
    /// let plan = bus.plan().await?;
    /// println!("{plan}");
    /// if plan.outcome() == Outcome::Changes {
    ///     bus.apply(&plan).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn plan(&self) -> Result<Plan> {
        self.plan_with(&PlanOptions::new()).await
    }

    /// As [`plan`](Self::plan), with more in it.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe); [`PlanError`] when something is to be pruned and nobody knows what this
    /// program once declared, or this process knows a part of the program only.
    pub async fn plan_with(&self, options: &PlanOptions) -> Result<Plan> {
        let record = self.record(options.prune)?;
        let mut visit = self.visit().await?;
        let plan = self.planned(&mut visit, record.as_ref(), options).await;
        visit.end().await;
        plan
    }

    /// Does what a plan says: declares, binds, unbinds, and deletes what is to be pruned. A start does as much of
    /// it as declares something; whatever `declare` says, this does all.
    ///
    /// May be done again, and by several processes at once: what is done already is not done twice. A process
    /// that is killed half-way leaves a part; a plan that is made after that has the rest. With the setting
    /// `program`, what is declared is remembered first.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`](crate::Error::Topology) with everything that is in the way, before anything is changed,
    /// and with what the broker refused; [`PlanError`] when it cannot be remembered what is declared; as
    /// [`observe`](Self::observe).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way it leaves at worst a part of the steps done.
    pub async fn apply(&self, plan: &Plan) -> Result<Applied> {
        let record = self.record(false)?;
        let mut visit = self.visit().await?;
        let applied = self.applied(&mut visit, record.as_ref(), plan).await;
        visit.end().await;
        applied
    }

    /// How the broker is, and what the user of this program may do on it; `None` where the management API is not
    /// asked.
    #[cfg(all(feature = "cli", feature = "management"))]
    pub(crate) async fn diagnose(&self) -> Option<Result<Diagnosis>> {
        let (Ok(Eyes::Management { api, .. }), TransportChoice::Amqp(options)) =
            (eyes(&self.config, &self.transport), &self.transport)
        else {
            return None;
        };
        Some(Box::pin(api.diagnose(&options.user)).await.map_err(Error::Management))
    }

    pub(super) async fn planned(
        &self,
        visit: &mut Visit,
        record: Option<&Record>,
        options: &PlanOptions,
    ) -> Result<Plan> {
        let (mut owned, mut unread) = (None, None);
        if let Some(record) = record {
            match record.read(&*visit.transport).await {
                Ok(known) => owned = known,
                Err(error) if options.prune => return Err(PlanError::Record(error).into()),
                // What is declared can be planned without.
                Err(error) => unread = Some(error.to_string()),
            }
        }
        let mut looked_for = vec![&self.topology];
        looked_for.extend(&owned);
        let observed = visit.observe(&looked_for).await?;
        let mut unread: Vec<String> = unread.into_iter().collect();
        if let (Some(record), Some(known)) = (record, &owned)
            && is_more(known, &self.topology)
        {
            for other in record.others(&observed) {
                match other.read(&*visit.transport).await {
                    // What another program has is not this one's any more.
                    Ok(theirs) => owned = owned.map(|known| known.without(&theirs.unwrap_or_default())),
                    Err(error) if options.prune => return Err(PlanError::Record(error).into()),
                    Err(error) => {
                        unread.push(format!("what program {:?} declares: {error}", other.program()))
                    }
                }
            }
            if options.prune && observed.view == View::Amqp {
                unread.push(
                    "what other programs declare: a group that moved to one of them is pruned here all the same"
                        .to_owned(),
                );
            }
        }
        let mut plan = decide(&self.topology, &observed, owned.as_ref(), options);
        plan.broker = visit.transport.describe();
        plan.program.clone_from(&self.config.bus.program.value);
        plan.unseen.extend(unread);
        if options.prune && owned.is_none() {
            plan.unseen.push(
                "what this program once declared: nothing is remembered yet, so nothing can be pruned; from the next \
                 apply on it is"
                    .to_owned(),
            );
        }
        Ok(plan)
    }

    async fn applied(&self, visit: &mut Visit, record: Option<&Record>, plan: &Plan) -> Result<Applied> {
        let transport = &*visit.transport;
        let has_conflict = plan.conflicts().next().is_some();
        if let Some(record) = record.filter(|_| !has_conflict) {
            let remember = |known: Option<Topology>| both(&self.topology, &known.unwrap_or_default());
            record.write(transport, remember).await.map_err(PlanError::Record)?;
        }
        let applied = perform(transport, plan, &self.topology, &visit.eyes).await?;
        if let Some(record) = record.filter(|_| applied.has_removed(plan)) {
            let forget =
                |known: Option<Topology>| applied.forget(plan, &known.unwrap_or_default(), &self.topology);
            record.write(transport, forget).await.map_err(PlanError::Record)?;
        }
        Ok(applied)
    }

    /// The record of what this program declares; `None` where it has no name.
    fn record(&self, prune: bool) -> Result<Option<Record>> {
        if prune {
            let reason = match &self.config.bus.groups.value {
                _ if !self.consumes => Some("it only publishes (`publish_only`)"),
                GroupSelection::Only(_) => Some("it consumes some groups only (`groups`, ES_BUS_GROUPS)"),
                GroupSelection::All => None,
            };
            if let Some(reason) = reason {
                return Err(PlanError::PartOfProgram { reason }.into());
            }
        }
        match &self.config.bus.program.value {
            Some(program) => Ok(Some(Record::of(program).map_err(PlanError::Record)?)),
            None if prune => Err(PlanError::NoProgram.into()),
            None => Ok(None),
        }
    }

    pub(super) async fn visit(&self) -> Result<Visit> {
        let eyes = eyes(&self.config, &self.transport)?;
        let is_own = !matches!(self.transport, TransportChoice::Given(_));
        let transport = self.transport.clone().connect();
        let visit = Visit { transport, eyes, is_own };
        let patience = self.config.bus.start_timeout.value.unwrap_or(PATIENCE);
        if let Err(error) = connected(&*visit.transport, patience).await {
            visit.end().await;
            return Err(error);
        }
        Ok(visit)
    }
}

/// Whether a topology has something that another one has not.
fn is_more(known: &Topology, declared: &Topology) -> bool {
    let more = known.without(declared);
    !more.is_empty() || more.bindings().next().is_some() || more.exchange_bindings().next().is_some()
}

impl Visit {
    async fn observe(&mut self, looked_for: &[&Topology]) -> Result<Observed> {
        let (exchanges, queues) = shared_names(looked_for);
        Ok(self.eyes.observe(&*self.transport, &exchanges, &queues).await?)
    }

    pub(super) async fn end(&self) {
        if self.is_own {
            close(&*self.transport).await;
        }
    }
}
