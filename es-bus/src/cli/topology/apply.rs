//! `topology apply` and `topology prune`: do what a plan says, once somebody agreed to it.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::plan::{planned, subject, text};
use crate::{
    bus::Bus,
    cli::{
        CommandError, Context, Exit,
        args::{ApplyArgs, PruneArgs, Pruned},
        output::{Style, count, line},
    },
    error::Error,
    topology::plan::{Action, Applied, Outcome, Plan, Step},
    transport::DeclareError,
};

pub(super) async fn apply(args: &ApplyArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    see_allowed(args.yes, cx)?;
    let bus = cx.operated_to_change()?;
    let plan = planned(&bus, &args.pruned, cx).await?;
    perform(&bus, &plan, args.yes, cx).await
}

pub(super) async fn prune(args: &PruneArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    see_allowed(args.yes, cx)?;
    let bus = cx.operated_to_change()?;
    let pruned = Pruned { prune: true, discard: args.discard.clone() };
    let mut plan = planned(&bus, &pruned, cx).await?;
    let missing = plan.changes().filter(|step| !is_removal(&step.action)).count();
    if missing > 0 && plan.outcome() != Outcome::Conflict {
        cx.remark(&format!(
            "note: {} not done by this, which only removes: what takes the place of a binding has to be there first, \
             `{} topology apply`",
            match missing {
                1 => "1 step of the plan is".to_owned(),
                many => format!("{many} steps of the plan are"),
            },
            cx.program
        ))?;
    }
    plan.steps.retain(|step| {
        is_removal(&step.action) || step.action.is_in_the_way() || matches!(step.action, Action::Leave(_))
    });
    perform(&bus, &plan, args.yes, cx).await
}

fn is_removal(action: &Action) -> bool {
    match action {
        Action::Unbind(_)
        | Action::UnbindExchange(_)
        | Action::DeleteQueue { .. }
        | Action::DeleteExchange(_)
        | Action::DeletePolicy { .. } => true,
        Action::Unverified(action) => is_removal(action),
        _ => false,
    }
}

/// Sees, before anything is connected to, that somebody can be asked.
fn see_allowed(yes: bool, cx: &Context<'_>) -> Result<(), CommandError> {
    if yes || cx.io.asks {
        return Ok(());
    }
    Err(CommandError::NeedsYes { does: "changes the broker", look: "`topology plan`" })
}

/// Shows a plan, asks, does it, and says what became of it.
async fn perform(bus: &Bus, plan: &Plan, yes: bool, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    // Before a question it has to be seen, whoever reads the output.
    match (cx.is_json(), yes) {
        (false, _) => cx.say(&text(plan, cx.io.style))?,
        (true, false) => cx.remark(&text(plan, cx.io.err_style))?,
        (true, true) => {}
    }
    if plan.outcome() == Outcome::Conflict {
        if cx.is_json() {
            cx.json(&report(plan, &Applied::default()))?;
        }
        cx.remark("nothing was done: see what is in the way")?;
        return Ok(Exit::Conflict);
    }
    let changes = plan.changes().count();
    if !yes && (changes > 0 || plan.unverified().next().is_some()) && !agreed(plan, cx).await? {
        return Ok(Exit::Failed);
    }
    // Also where there is nothing to do: what is declared is remembered.
    let applied = match bus.apply(plan).await {
        Ok(applied) => applied,
        Err(Error::Topology(errors)) if errors.iter().any(is_mismatch) => {
            cx.remark(&format!("{}: {:?}", cx.io.err_style.red("Error"), Error::Topology(errors)))?;
            return Ok(Exit::Conflict);
        }
        Err(error) => return Err(error.into()),
    };
    if cx.is_json() {
        cx.json(&report(plan, &applied))?;
    } else {
        cx.say(&told(plan, &applied, &cx.program, cx.io.style))?;
    }
    Ok(if applied.is_complete() { Exit::Done } else { Exit::Failed })
}

/// Settings that differ, which AMQP alone tells only when it is tried.
const fn is_mismatch(error: &DeclareError) -> bool {
    matches!(error, DeclareError::Mismatch { .. })
}

async fn agreed(plan: &Plan, cx: &mut Context<'_>) -> Result<bool, CommandError> {
    // Both streams may be one terminal: the question comes last.
    cx.io.out.flush()?;
    let lost = plan
        .changes()
        .filter(|step| matches!(step.action, Action::DeleteQueue { discard: true, .. }))
        .map(|step| line(&subject(&step.action)));
    let lost: Vec<String> = lost.collect();
    let lost = match &lost[..] {
        [] => String::new(),
        lost => format!(", and lose what is in {}", lost.join(", ")),
    };
    let what = match plan.changes().count() {
        0 => format!("Declare {} again that cannot be seen", many(plan.unverified().count(), "thing")),
        steps => format!("Do {}{lost}", many(steps, "step")),
    };
    if cx.ask(&format!("{what}?")).await? == Some(true) {
        return Ok(true);
    }
    cx.remark("nothing was done")?;
    Ok(false)
}

/// What became of a plan.
fn told(plan: &Plan, applied: &Applied, program: &str, style: Style) -> String {
    let done = applied.done.len();
    if applied.is_complete() {
        // The plan stands above, step by step.
        let word = style.green("done");
        return match (done, plan.unverified().count()) {
            (0, 0) => String::new(),
            (0, unseen) => format!("\n{word}: {} declared again\n", many(unseen, "thing")),
            (1, _) => format!("\n{word}: the step\n"),
            (steps, _) => format!("\n{word}: all {steps} steps\n"),
        };
    }
    let mut text = "\n".to_owned();
    for step in &applied.done {
        let _ = writeln!(text, "{}  {}", style.green(verb(step)), line(&subject(&step.action)));
    }
    for (step, reason) in &applied.refused {
        let subject = line(&subject(&step.action));
        let _ = writeln!(text, "{}  {subject}: {}", style.red("refused"), line(reason));
    }
    let _ = writeln!(
        text,
        "\n{done} done, {} refused; what to do now: `{program} topology plan --prune`",
        applied.refused.len()
    );
    text
}

fn verb(step: &Step) -> &'static str {
    match step.action {
        Action::CreateExchange(_) | Action::CreateQueue(_) => "created",
        Action::Bind(_) | Action::BindExchange(_) => "bound  ",
        Action::Unbind(_) | Action::UnbindExchange(_) => "unbound",
        Action::DeleteQueue { .. } | Action::DeleteExchange(_) | Action::DeletePolicy { .. } => "deleted",
        Action::SetPolicy { .. } => "set    ",
        Action::Conflict { .. }
        | Action::PolicyBlocked { .. }
        | Action::HalfMigrated { .. }
        | Action::Renamed { .. }
        | Action::NeedsPlugin { .. }
        | Action::Unverified(_)
        | Action::Leave(_) => "left   ",
    }
}

fn report(plan: &Plan, applied: &Applied) -> Json {
    let object = |step: &Step| line(&subject(&step.action));
    let refused = applied.refused.iter();
    json!({
        "plan": plan,
        "done": applied.done.iter().map(|it| json!({ "action": verb(it).trim(), "object": object(it) })).collect::<Vec<_>>(),
        "refused": refused.map(|(it, reason)| json!({ "object": object(it), "reason": reason })).collect::<Vec<_>>(),
    })
}

fn many(number: usize, one: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), one)
}
