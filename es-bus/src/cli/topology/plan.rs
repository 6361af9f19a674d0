//! `topology plan`: what would be done, and what is in the way.

use std::collections::BTreeSet;

use crate::{
    bus::Bus,
    cli::{
        CommandError, Context, Exit,
        args::{PlanArgs, Pruned},
        output::{Style, lines},
    },
    model::Topology,
    topology::{
        migrate::unmovable,
        plan::{Action, Left, Outcome, Plan, PlanOptions, Step},
    },
};

pub(super) async fn plan(args: &PlanArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.operated()?;
    let plan = planned(&bus, &args.pruned, cx).await?;
    if cx.is_json() {
        cx.json(&plan)?;
    } else {
        cx.say(&text(&plan, cx.io.style))?;
        if let Some(next) = next(&plan, bus.topology(), &args.pruned, &cx.program) {
            cx.say(&format!("\n{next}\n"))?;
        }
    }
    Ok(plan.outcome().into())
}

/// The plan for the broker of this command.
pub(super) async fn planned(bus: &Bus, pruned: &Pruned, cx: &mut Context<'_>) -> Result<Plan, CommandError> {
    cx.remark_private(bus)?;
    cx.remark_part(bus)?;
    let mut options = PlanOptions::new();
    if pruned.prune {
        options = options.prune();
    }
    for queue in &pruned.discard {
        options = options.discard(queue);
    }
    let plan = bus.plan_with(&options).await?;
    // A slip of the hand is not to look as if it had been done.
    let goes: BTreeSet<&str> = plan.changes().filter_map(|step| deleted(&step.action)).collect();
    for queue in pruned.discard.iter().filter(|queue| !goes.contains(queue.as_str())) {
        cx.remark(&format!(
            "note: --discard {queue}: no queue of that name is removed; `plan --prune` lists what is left over"
        ))?;
    }
    Ok(plan)
}

/// The queue that is deleted.
fn deleted(action: &Action) -> Option<&str> {
    match action {
        Action::DeleteQueue { queue, .. } => Some(queue.as_str()),
        _ => None,
    }
}

/// What to type next.
fn next(plan: &Plan, wanted: &Topology, pruned: &Pruned, program: &str) -> Option<String> {
    let discard: String = pruned.discard.iter().map(|queue| format!(" --discard {queue}")).collect();
    let options = if pruned.prune { format!(" --prune{discard}") } else { String::new() };
    let once_declared = |left: &Left| match left {
        Left::Binding { once_declared, .. } | Left::ExchangeBinding { once_declared, .. } => *once_declared,
        Left::Queue(_) | Left::Exchange(_) | Left::Policy(_) => true,
        Left::Former { .. } => false,
    };
    let has_former = plan.left().any(|step| matches!(&step.action, Action::Leave(Left::Former { .. })));
    // Of what else is in the way its step says what to do.
    let is_migrated = |step: &Step| match &step.action {
        Action::HalfMigrated { .. } | Action::Renamed { .. } => true,
        Action::Conflict { what: "queue", name, differences } => {
            wanted.queue(name).is_some_and(|queue| unmovable(queue, differences).is_none())
        }
        _ => false,
    };
    let is_left_over =
        plan.left().any(|step| matches!(&step.action, Action::Leave(left) if once_declared(left)));
    match plan.outcome() {
        Outcome::Changes => Some(format!("to do it: `{program} topology apply{options}`")),
        Outcome::Nothing if is_left_over && pruned.prune => Some(format!(
            "what is left says why; a queue goes with what is in it by its name: `{program} topology plan --prune \
             --discard QUEUE`"
        )),
        Outcome::Nothing if is_left_over => {
            Some(format!("to see what can be removed: `{program} topology plan --prune`"))
        }
        Outcome::Nothing if has_former => {
            Some(format!("when the last replica of the old version is gone: `{program} topology migrate`"))
        }
        Outcome::Conflict if plan.conflicts().all(is_migrated) => Some(format!(
            "to do it: `{program} topology migrate`; its steps beforehand: `{program} topology migrate --dry-run`"
        )),
        Outcome::Nothing | Outcome::Conflict => None,
    }
}

/// A plan with the signs of its steps in colours.
pub(super) fn text(plan: &Plan, style: Style) -> String {
    let text = lines(&plan.to_string());
    let painted = text.lines().map(|line| {
        let step =
            line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(". ");
        // What a step says of itself stands further to the right, behind words.
        match step.split_once(' ') {
            Some(("!", _)) => style.red(line),
            Some(("+", _)) => style.green(line),
            Some(("-" | "~", _)) => style.yellow(line),
            Some(("=" | "?", _)) => style.dim(line),
            _ if !line.is_empty() && line.starts_with("Plan for ") => style.bold(line),
            _ => line.to_owned(),
        }
    });
    painted.map(|line| line + "\n").collect()
}

/// What an action is about, in a few words.
pub(super) fn subject(action: &Action) -> String {
    let bound = |source: &str, queue: &str, key: &str| match key {
        "" => format!("binding {source:?} -> {queue:?}"),
        key => format!("binding {source:?} -> {queue:?} by {key:?}"),
    };
    match action {
        Action::CreateExchange(it) => format!("exchange {:?}", it.name.as_str()),
        Action::CreateQueue(it) => format!("queue {:?}", it.name.as_str()),
        Action::Bind(it) | Action::Unbind(it) => bound(it.source.as_str(), it.queue.as_str(), &it.key),
        Action::BindExchange(it) | Action::UnbindExchange(it) => {
            bound(it.source.as_str(), it.destination.as_str(), &it.key)
        }
        Action::DeleteQueue { queue, .. } => format!("queue {:?}", queue.as_str()),
        Action::DeleteExchange(exchange) => format!("exchange {:?}", exchange.as_str()),
        Action::SetPolicy { policy, .. } | Action::PolicyBlocked { policy, .. } => {
            format!("policy {:?}", policy.name())
        }
        Action::DeletePolicy { policy, .. } => format!("policy {policy:?}"),
        Action::Conflict { what, name, .. } => format!("{what} {name:?}"),
        Action::NeedsPlugin { exchange, .. } => format!("exchange {exchange:?}"),
        Action::HalfMigrated { queue } => format!("queue {queue:?}"),
        Action::Renamed { from, .. } | Action::Leave(Left::Former { from, .. }) => format!("queue {from:?}"),
        Action::Unverified(action) => subject(action),
        Action::Leave(
            Left::Binding { source, queue: to, key, .. }
            | Left::ExchangeBinding { source, destination: to, key, .. },
        ) => bound(source, to, key),
        Action::Leave(Left::Queue(name)) => format!("queue {name:?}"),
        Action::Leave(Left::Exchange(name)) => format!("exchange {name:?}"),
        Action::Leave(Left::Policy(name)) => format!("policy {name:?}"),
    }
}
