//! `topology verify`: whether the broker has exactly what is declared, in one line.

use serde_json::json;

use super::plan::{planned, subject};
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::{Pruned, VerifyArgs},
        output::line,
    },
    model::ObservedPolicy,
    topology::plan::{Action, Outcome, Plan, Step},
};

/// How many names a line has of each sort.
const NAMES: usize = 3;

pub(super) async fn verify(_args: &VerifyArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.operated()?;
    let plan = planned(&bus, &Pruned::default(), cx).await?;
    let drift = drift(&plan);
    if cx.is_json() {
        cx.json(&json!({ "exact": plan.is_exact(), "drift": drift, "plan": plan }))?;
        return Ok(exit(&plan));
    }
    let style = cx.io.style;
    match drift {
        None => {
            cx.say(&format!("{}: {} has exactly what is declared\n", style.green("ok"), line(&plan.broker)))?
        }
        Some(drift) => {
            let word = match plan.outcome() {
                Outcome::Conflict => style.red("conflict"),
                Outcome::Changes => style.yellow("drift"),
                Outcome::Nothing if plan.unverified().next().is_some() => style.yellow("not verified"),
                Outcome::Nothing => style.yellow("drift"),
            };
            // What would have to be set to see it.
            let why = plan.unseen.last().filter(|_| plan.unverified().next().is_some());
            let why = why.map(|why| format!(": {}", line(why))).unwrap_or_default();
            let program = &cx.program;
            let all = format!(
                "{word}: {}: {drift}{why}; all of it: `{program} topology plan`\n",
                line(&plan.broker)
            );
            cx.say(&all)?;
        }
    }
    Ok(exit(&plan))
}

/// What is left over, made by hand or unseen is nothing to do for a plan, and drift all the same.
fn exit(plan: &Plan) -> Exit {
    match plan.outcome() {
        Outcome::Nothing if !plan.is_exact() => Exit::Pending,
        outcome => outcome.into(),
    }
}

/// What differs; `None` when nothing does. Pure.
fn drift(plan: &Plan) -> Option<String> {
    let of = |is: fn(&Action) -> bool| -> Vec<&Step> {
        plan.steps.iter().filter(|step| is(&step.action)).collect()
    };
    let sorts = [
        (of(|it| matches!(it, Action::Conflict { .. })), "declared otherwise"),
        (of(|it| matches!(it, Action::HalfMigrated { .. } | Action::Renamed { .. })), "to be migrated"),
        (of(|it| matches!(it, Action::NeedsPlugin { .. })), "not to be had without a plugin"),
        (of(|it| matches!(it, Action::PolicyBlocked { .. })), "in the way of a policy"),
        (
            of(|it| {
                matches!(
                    it,
                    Action::CreateExchange(_)
                        | Action::CreateQueue(_)
                        | Action::Bind(_)
                        | Action::SetPolicy { was: None, .. }
                        | Action::BindExchange(_)
                )
            }),
            "missing",
        ),
        (of(|it| matches!(it, Action::SetPolicy { was: Some(_), .. })), "to be changed"),
        (
            of(|it| {
                matches!(
                    it,
                    Action::Unbind(_)
                        | Action::UnbindExchange(_)
                        | Action::DeleteQueue { .. }
                        | Action::DeleteExchange(_)
                        | Action::DeletePolicy { .. }
                )
            }),
            "to be removed",
        ),
        (of(|it| matches!(it, Action::Leave(_))), "there and not declared"),
        (of(|it| matches!(it, Action::Unverified(_))), "not to be seen over AMQP alone"),
    ];
    let told: Vec<String> = sorts
        .iter()
        .filter(|(steps, _)| !steps.is_empty())
        .map(|(steps, what)| format!("{} {what} ({})", steps.len(), named(steps)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn named(steps: &[&Step]) -> String {
    let mut names: Vec<String> = steps.iter().take(NAMES).map(|step| told(&step.action)).collect();
    if steps.len() > NAMES {
        names.push(format!("and {} more", steps.len() - NAMES));
    }
    names.join(", ")
}

/// An object; of one that was declared otherwise what differs, too.
fn told(action: &Action) -> String {
    if let Action::PolicyBlocked { others, .. } = action {
        let others: Vec<String> = others.iter().map(ObservedPolicy::told).collect();
        return line(&format!("{}: {}", subject(action), others.join(", ")));
    }
    let Action::Conflict { differences, .. } = action else { return line(&subject(action)) };
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    let differ: Vec<String> = differences
        .iter()
        .map(|it| format!("{} is {} here and {} there", it.field, or(&it.wanted), or(&it.found)))
        .collect();
    line(&format!("{}: {}", subject(action), differ.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Exchange, ExchangeBinding, ExchangeKind, Observed, Topology},
        name::ExchangeName,
        topology::plan::{PlanOptions, decide},
    };

    #[test]
    fn bindings_between_exchanges_are_told_like_those_of_queues() {
        let name = |name: &str| ExchangeName::new(name).unwrap();
        let mut topology = Topology::new();
        for exchange in ["audit", "shop"] {
            topology.add_exchange(Exchange::durable(name(exchange), ExchangeKind::Topic)).unwrap();
        }
        topology.add_exchange_binding(ExchangeBinding::by_key(name("shop"), name("audit"), "Order.#"));

        let plan = decide(&topology, &Observed::default(), None, &PlanOptions::new());

        let told = drift(&plan).expect("nothing is there");
        assert!(
            told.starts_with("3 missing (") && told.contains("\"shop\" -> \"audit\" by \"Order.#\""),
            "{told}"
        );
    }
}
