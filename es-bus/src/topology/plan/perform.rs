//! Does what a plan says, through what every broker can do.
//!
//! Each step may be done already, by another process that applies the same plan or by this one before it was
//! killed: then it does nothing. So a plan that was interrupted is made anew and applied again, and goes on.

use std::collections::BTreeSet;

use tokio::time::sleep;

use super::{
    look::{Eyes, LookError},
    record::both,
    step::{Action, Plan, Step},
};
use crate::{
    model::{Binding, ExchangeKind, ObservedQueue, Topology},
    name::QueueName,
    topology::{
        apply::{ApplyError, bind_but, declare},
        policies,
    },
    transport::{Admin, DeclareError, no_policies},
};

/// What became of a plan that was applied.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// The changes that were made; one that another process had made meanwhile counts as well.
    pub done: Vec<Step>,
    /// The deletions that were not made, each with the reason: what was to go was in use by then.
    pub refused: Vec<(Step, String)>,
}

impl Applied {
    /// Whether everything was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
    }
}

impl Applied {
    /// Whether something was removed that the program once declared.
    pub(crate) fn has_removed(&self, plan: &Plan) -> bool {
        self.removed(plan).next().is_some()
    }

    /// What is gone now; a binding that could not be seen is, once it was unbound.
    fn removed<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Action> {
        let unseen = plan.unverified().filter_map(|step| match &step.action {
            Action::Unverified(action) => Some(&**action),
            _ => None,
        });
        self.done.iter().map(|step| &step.action).chain(unseen).filter(|action| {
            matches!(
                action,
                Action::Unbind(_)
                    | Action::UnbindExchange(_)
                    | Action::DeleteQueue { .. }
                    | Action::DeleteExchange(_)
                    | Action::DeletePolicy { .. }
            )
        })
    }

    /// What is to be remembered: what was, without what was removed. Pure.
    pub(crate) fn forget(&self, plan: &Plan, known: &Topology, wanted: &Topology) -> Topology {
        let gone = |matches: &dyn Fn(&Action) -> bool| self.removed(plan).any(matches);
        let no_queue = |name: &QueueName| {
            gone(&|action| match action {
                Action::DeleteQueue { queue, .. } => queue == name,
                // The last that was left of it.
                Action::DeletePolicy { queue, .. } => queue == name && wanted.queue(queue.as_str()).is_none(),
                _ => false,
            })
        };
        let mut left = Topology::new();
        for exchange in known.exchanges() {
            if !gone(&|action| matches!(action, Action::DeleteExchange(name) if *name == exchange.name)) {
                let _ = left.add_exchange(exchange.clone());
            }
        }
        for queue in known.queues().filter(|queue| !no_queue(&queue.name)) {
            let _ = left.add_queue(queue.clone());
        }
        for binding in known.bindings().filter(|binding| !no_queue(&binding.queue)) {
            if !gone(&|action| matches!(action, Action::Unbind(it) if it == binding)) {
                left.add_binding(binding.clone());
            }
        }
        for binding in known.exchange_bindings() {
            let ends = |action: &Action| matches!(action, Action::DeleteExchange(name) if *name == binding.source || *name == binding.destination);
            if !gone(&|action| matches!(action, Action::UnbindExchange(it) if it == binding) || ends(action))
            {
                left.add_exchange_binding(binding.clone());
            }
        }
        both(wanted, &left)
    }
}

/// Why a plan could not be performed to its end. What was done stays.
#[derive(Debug)]
pub(crate) enum PerformError {
    Refused(ApplyError),
    Look(LookError),
}

/// Performs a plan: declares, sets policies, binds, unbinds, then deletes.
///
/// # Errors
///
/// Everything that is in the way, before anything is changed; what the broker refused of the declarations.
///
/// # Cancel safety
///
/// Dropped half-way it leaves a part of the steps done.
pub(crate) async fn perform(
    admin: &dyn Admin,
    plan: &Plan,
    wanted: &Topology,
    eyes: &Eyes,
) -> Result<Applied, PerformError> {
    let conflicts: Vec<DeclareError> = plan.conflicts().flat_map(mismatches).collect();
    if !conflicts.is_empty() {
        return Err(PerformError::Refused(ApplyError { errors: conflicts }));
    }
    let policy = plan.steps.iter().find_map(|step| match action(step) {
        Action::SetPolicy { policy, .. } => Some(policy.name()),
        Action::DeletePolicy { policy, .. } => Some(&**policy),
        _ => None,
    });
    if let Some(policy) = policy.filter(|_| !eyes.takes_policies(admin)) {
        return Err(interrupted(no_policies(policy)));
    }
    let mut applied = Applied::default();
    renew_shares(admin, plan, wanted).await?;
    // As one topology: what goes side by side does, and nothing is bound while a declaration is refused.
    let part = part(plan);
    declare(admin, &part).await.map_err(PerformError::Refused)?;
    for step in &plan.steps {
        match action(step) {
            Action::SetPolicy { policy, .. } => {
                eyes.put_policy(admin, policy).await.map_err(interrupted)?;
            }
            Action::DeletePolicy { policy, queue } if wanted.queue(queue.as_str()).is_some() => {
                eyes.delete_policy(admin, policy).await.map_err(interrupted)?;
            }
            _ => {}
        }
    }
    bind_but(admin, &part, wanted, &BTreeSet::new()).await.map_err(PerformError::Refused)?;
    let removed = plan.steps.iter().filter_map(|step| match action(step) {
        Action::UnbindExchange(binding) => Some(binding),
        _ => None,
    });
    for binding in removed {
        admin.unbind_exchange(binding).await.map_err(interrupted)?;
    }
    // What was once declared goes last, each by itself.
    let is_last = |action: &Action| match action {
        Action::DeleteQueue { .. } | Action::DeleteExchange(_) => true,
        Action::DeletePolicy { queue, .. } => wanted.queue(queue.as_str()).is_none(),
        _ => false,
    };
    let (last, done): (Vec<Step>, Vec<Step>) =
        plan.changes().cloned().partition(|step| is_last(&step.action));
    applied.done.extend(done);
    let mut has_waited = false;
    for step in last {
        let refusal = match &step.action {
            // Those that send dead letters to others go before them: what stays may need what follows.
            _ if !applied.is_complete() => Some("something that was to go before it stays".to_owned()),
            Action::DeleteQueue { queue, classic, discard } => {
                if !classic && !discard && eyes.lag() && !std::mem::replace(&mut has_waited, true) {
                    sleep(Eyes::LAG).await;
                }
                delete_queue(admin, eyes, queue, *classic, *discard).await?
            }
            Action::DeleteExchange(exchange) => refusal(admin.delete_unused_exchange(exchange).await)?,
            Action::DeletePolicy { policy, .. } => refusal(eyes.delete_policy(admin, policy).await)?,
            _ => None,
        };
        match refusal {
            None => applied.done.push(step),
            Some(reason) => applied.refused.push((step, reason)),
        }
    }
    Ok(applied)
}

/// Makes bindings to consistent-hash exchanges anew whose weight was another one.
///
/// Of two bindings of one queue RabbitMQ goes by the older, and when that is removed the queue has no share at all,
/// although the other is there. So both go, and the new one is made again; a plan that is made in between sees that
/// it is missing.
async fn renew_shares(admin: &dyn Admin, plan: &Plan, wanted: &Topology) -> Result<(), PerformError> {
    let removed = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Unbind(binding) => Some(binding),
        Action::Unverified(action) => match &**action {
            Action::Unbind(binding) => Some(binding),
            _ => None,
        },
        _ => None,
    });
    for old in removed {
        let Some(new) = other_weight(old, wanted) else { continue };
        admin.unbind(new).await.map_err(interrupted)?;
        admin.unbind(old).await.map_err(interrupted)?;
        admin.bind(new).await.map_err(interrupted)?;
    }
    Ok(())
}

/// The binding that is declared of the same queue to the same consistent-hash exchange, with another weight. Pure.
pub(super) fn other_weight<'a>(old: &Binding, wanted: &'a Topology) -> Option<&'a Binding> {
    let exchange = wanted.exchange(old.source.as_str())?;
    let is_share = exchange.kind == ExchangeKind::ConsistentHash;
    wanted
        .bindings()
        .find(|it| is_share && it.source == old.source && it.queue == old.queue && it.key != old.key)
}

/// Deletes a queue that is still as it was planned to be; gives the reason where it is not.
async fn delete_queue(
    admin: &dyn Admin,
    eyes: &Eyes,
    name: &QueueName,
    classic: bool,
    discard: bool,
) -> Result<Option<String>, PerformError> {
    let Some(found) = eyes.queue(admin, name).await.map_err(PerformError::Look)? else { return Ok(None) };
    if let Some(reason) = in_use(&found, discard) {
        return Ok(Some(reason));
    }
    if discard {
        // What the management API tells of consumers may be seconds old.
        return match admin.queue_status(name).await.map_err(interrupted)? {
            Some(status) if status.consumers > 0 => Ok(Some("it has consumers by now".to_owned())),
            Some(_) => refusal(admin.delete_queue(name).await),
            None => Ok(None),
        };
    }
    refusal(admin.delete_idle_queue(name, classic).await)
}

/// What speaks against deleting a queue. Pure.
fn in_use(found: &ObservedQueue, discard: bool) -> Option<String> {
    if let Some(trouble) = &found.trouble {
        return Some(trouble.clone());
    }
    if found.consumers.unwrap_or(0) > 0 {
        return Some("it has consumers by now".to_owned());
    }
    if discard {
        return None;
    }
    // Over AMQP alone neither of the last two is told, and the plan has no such step where that matters.
    let counts = [found.ready, found.unacknowledged, found.dead_letters];
    counts.into_iter().flatten().any(|count| count > 0).then(|| "it has messages by now".to_owned())
}

/// What the broker said against a deletion; an error where it is no answer.
fn refusal(result: Result<(), DeclareError>) -> Result<Option<String>, PerformError> {
    match result {
        Ok(()) => Ok(None),
        Err(error @ DeclareError::Interrupted { .. }) => Err(interrupted(error)),
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn interrupted(error: DeclareError) -> PerformError {
    PerformError::Refused(ApplyError { errors: vec![error] })
}

/// What a step does, verified or not.
fn action(step: &Step) -> &Action {
    match &step.action {
        Action::Unverified(action) => action,
        action => action,
    }
}

/// Everything that is to be declared, bound and unbound.
fn part(plan: &Plan) -> Topology {
    let mut part = Topology::new();
    let mut queues = Vec::new();
    for step in &plan.steps {
        match action(step) {
            // Names are there once: a plan is made of a topology.
            Action::CreateExchange(exchange) => drop(part.add_exchange(exchange.clone())),
            Action::CreateQueue(queue) => queues.push(queue),
            Action::Bind(binding) => part.add_binding(binding.clone()),
            Action::Unbind(binding) => part.add_unbound(binding.clone()),
            Action::BindExchange(binding) => part.add_exchange_binding(binding.clone()),
            Action::UnbindExchange(_)
            | Action::DeleteQueue { .. }
            | Action::DeleteExchange(_)
            | Action::SetPolicy { .. }
            | Action::DeletePolicy { .. }
            | Action::PolicyBlocked { .. }
            | Action::Conflict { .. }
            | Action::NeedsPlugin { .. }
            | Action::HalfMigrated { .. }
            | Action::Renamed { .. }
            | Action::Unverified(_)
            | Action::Leave(_) => {}
        }
    }
    for queue in queues {
        drop(part.add_queue((**queue).clone()));
    }
    part
}

/// A queue that is there under a name that its group had, as what stands in the way of the one of today.
pub(crate) fn renamed(from: &str, to: &str) -> DeclareError {
    let reason = format!(
        "its group had the queue {from:?} before (`formerly`), and that is still there: every event would be handled twice, \
         once from each queue"
    );
    DeclareError::Unmigrated { what: "queue", name: to.to_owned(), reason }
}

/// A conflict as what the broker would say of it, so that it is reported in the same way.
pub(crate) fn mismatches(step: &Step) -> Vec<DeclareError> {
    if let Action::HalfMigrated { queue } = &step.action {
        let reason = "its migration was begun and not ended: `migrate` goes on with it".to_owned();
        return vec![DeclareError::Unmigrated { what: "queue", name: queue.clone(), reason }];
    }
    if let Action::Renamed { from, to } = &step.action {
        return vec![renamed(from, to)];
    }
    if let Action::NeedsPlugin { exchange, plugin } = &step.action {
        let reason = "it is not among the plugins that are enabled".to_owned();
        return vec![DeclareError::NoPlugin { what: "exchange", name: exchange.clone(), plugin, reason }];
    }
    if let Action::PolicyBlocked { policy, others } = &step.action {
        return vec![policies::refusal(policy, others)];
    }
    let Action::Conflict { what, name, differences } = &step.action else { return Vec::new() };
    let of = differences.iter().map(|difference| DeclareError::Mismatch {
        what,
        name: name.clone(),
        field: Some(difference.field.clone()),
        wanted: difference.wanted.clone(),
        found: difference.found.clone(),
        reason: format!(
            "{} is {}, not {}",
            difference.field,
            difference.found.as_deref().unwrap_or("not set"),
            difference.wanted.as_deref().unwrap_or("not set")
        ),
    });
    of.collect()
}
