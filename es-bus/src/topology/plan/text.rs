//! A plan as text, for whoever is called at three in the morning: what is in the way first, then what will be
//! done and in which order, then what will not. No colours, no line longer than it must be.

use std::fmt;

use super::step::{Action, Left, Outcome, Plan, Risk, Step};
use crate::{
    message::Headers,
    model::{Binding, Difference, ExchangeBinding, ObservedPolicy, View, equivalence::shown},
    topology::policies,
};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Plan for {}: {}", self.broker, headline(self))?;
        writeln!(f, "{}", seen(self))?;
        section(
            f,
            "In the way: it cannot be changed in place, and nothing is done while it stands",
            self.conflicts(),
        )?;
        let changes: Vec<&Step> = self.changes().collect();
        if !changes.is_empty() {
            write!(f, "\nTo do, in this order")?;
            let makes = changes.iter().any(|step| is_plain(step));
            f.write_str(if makes {
                "; what is made (+) was not there, and nothing that runs notices\n"
            } else {
                "\n"
            })?;
        }
        let mut was_plain = false;
        for (index, it) in changes.into_iter().enumerate() {
            let plain = is_plain(it);
            if !(plain && was_plain) {
                writeln!(f)?;
            }
            write!(f, "{:>4}. ", index + 1)?;
            step(f, it, plain)?;
            was_plain = plain;
        }
        let unverified: Vec<&Step> = self.unverified().collect();
        if !unverified.is_empty() {
            write!(
                f,
                "\nCannot be seen, and is done again to be sure; where it is done already, nothing changes\n\n"
            )?;
        }
        for it in unverified {
            writeln!(f, "      ? {}: {}", line(&it.action), it.reason)?;
        }
        section(f, "On the broker and not declared: left as it is", self.left())?;
        if !self.warnings.is_empty() {
            write!(f, "\nTo know\n\n")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  * {}: {}", warning.about, warning.text)?;
        }
        if !self.unseen.is_empty() {
            write!(f, "\nNot seen\n\n")?;
        }
        for unseen in &self.unseen {
            writeln!(f, "  * {unseen}")?;
        }
        Ok(())
    }
}

fn section<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    steps: impl Iterator<Item = &'a Step>,
) -> fmt::Result {
    for (index, it) in steps.enumerate() {
        if index == 0 {
            write!(f, "\n{title}\n")?;
        }
        write!(f, "\n      ")?;
        step(f, it, false)?;
    }
    Ok(())
}

/// What it comes to, in a few words.
fn headline(plan: &Plan) -> String {
    let mut parts = Vec::new();
    let mut part = |count: usize, one: &str, many: &str| {
        if count > 0 {
            parts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    };
    part(plan.conflicts().count(), "is in the way", "are in the way");
    part(plan.changes().count(), "step", "steps");
    part(plan.unverified().count(), "cannot be seen", "cannot be seen");
    part(plan.left().count(), "is left as it is", "are left as they are");
    match plan.outcome() {
        Outcome::Nothing if parts.is_empty() => "nothing to do, it has what is declared".to_owned(),
        Outcome::Nothing => format!("nothing to do; {}", parts.join(", ")),
        Outcome::Changes | Outcome::Conflict => parts.join(", "),
    }
}

/// What the broker is, and how it was looked at.
fn seen(plan: &Plan) -> String {
    let how = match &plan.view {
        View::Amqp => "seen over AMQP alone".to_owned(),
        View::Management { address } => format!("seen through {address}"),
        View::Memory => "seen from within".to_owned(),
    };
    match &plan.info {
        Some(info) => format!("{} {} on Erlang {}, {how}", info.product, info.version, info.erlang),
        None => how,
    }
}

/// Whether there is nothing to say of it but what it is.
fn is_plain(step: &Step) -> bool {
    let makes = matches!(
        step.action,
        Action::CreateExchange(_)
            | Action::CreateQueue(_)
            | Action::Bind(_)
            | Action::BindExchange(_)
            | Action::SetPolicy { was: None, .. }
    );
    makes && step.risk == Risk::None
}

fn step(f: &mut fmt::Formatter<'_>, step: &Step, plain: bool) -> fmt::Result {
    let sign = match &step.action {
        Action::CreateExchange(_) | Action::CreateQueue(_) | Action::Bind(_) | Action::BindExchange(_) => '+',
        Action::SetPolicy { was: None, .. } => '+',
        Action::SetPolicy { was: Some(_), .. } => '~',
        Action::Unbind(_)
        | Action::UnbindExchange(_)
        | Action::DeleteQueue { .. }
        | Action::DeleteExchange(_)
        | Action::DeletePolicy { .. } => '-',
        Action::Conflict { .. }
        | Action::PolicyBlocked { .. }
        | Action::NeedsPlugin { .. }
        | Action::HalfMigrated { .. }
        | Action::Renamed { .. } => '!',
        Action::Unverified(_) => '?',
        Action::Leave(_) => '=',
    };
    writeln!(f, "{sign} {}", line(&step.action))?;
    if plain {
        return Ok(());
    }
    if let Action::Conflict { differences, .. } = &step.action {
        let width = differences.iter().map(|it| it.field.len()).max().unwrap_or(0);
        for Difference { field, wanted, found } in differences {
            let or_not = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
            writeln!(
                f,
                "          {field:width$}  this program: {}, the broker: {}",
                or_not(wanted),
                or_not(found)
            )?;
        }
    }
    writeln!(f, "        why   {}", step.reason)?;
    match &step.action {
        Action::Leave(_) if step.effect.is_empty() => Ok(()),
        Action::Leave(_) => writeln!(f, "        now   {}", step.effect),
        _ => writeln!(f, "        risk  {}: {}", step.risk.as_str(), step.effect),
    }
}

/// An action in one line, with what it is about.
fn line(action: &Action) -> String {
    match action {
        Action::CreateExchange(it) => {
            let flags = [(it.durable, "durable"), (it.auto_delete, "auto-delete"), (it.internal, "internal")];
            let words = flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned());
            let words: Vec<String> = [it.kind.as_str().to_owned()]
                .into_iter()
                .chain(words)
                .chain(it.arguments.iter().map(|(name, value)| format!("{name} = {}", shown(value))))
                .collect();
            format!("exchange {:?} ({})", it.name, words.join(", "))
        }
        Action::CreateQueue(it) => {
            let transient = (!it.durable).then(|| "not durable".to_owned());
            let table = it.argument_table();
            let arguments = table.iter().filter(|(name, _)| *name != "x-queue-type");
            let words: Vec<String> = [it.kind.as_str().to_owned()]
                .into_iter()
                .chain(transient)
                .chain(it.auto_delete.then(|| "auto-delete".to_owned()))
                .chain(arguments.map(|(name, value)| format!("{name} = {}", shown(value))))
                .collect();
            format!("queue {:?} ({})", it.name, words.join(", "))
        }
        Action::Bind(it) => binding(it),
        Action::Unbind(it) => format!("{}, removed", binding(it)),
        Action::BindExchange(it) => exchange_binding(it),
        Action::UnbindExchange(it) => format!("{}, removed", exchange_binding(it)),
        Action::DeleteQueue { queue, discard: false, .. } => format!("queue {queue:?}, deleted"),
        Action::DeleteQueue { queue, discard: true, .. } => {
            format!("queue {queue:?}, deleted with what is in it")
        }
        Action::DeleteExchange(name) => format!("exchange {name:?}, deleted"),
        Action::SetPolicy { policy, was } => {
            let sets = match was {
                None => policies::table(&policy.definition),
                Some(was) => policies::difference(was, &policy.definition),
            };
            format!("policy {:?} ({sets})", policy.name())
        }
        Action::DeletePolicy { policy, .. } => format!("policy {policy:?}, deleted"),
        Action::PolicyBlocked { policy, others } => {
            let others: Vec<String> = others.iter().map(ObservedPolicy::told).collect();
            format!("policy {:?} beside {}", policy.name(), others.join(", "))
        }
        Action::Conflict { what, name, .. } => format!("{what} {name:?} is there with other settings"),
        Action::NeedsPlugin { exchange, .. } => {
            format!("exchange {exchange:?} takes a plugin that is not enabled")
        }
        Action::HalfMigrated { queue } => format!("queue {queue:?} is migrated half-way"),
        Action::Renamed { from, to } => format!("queue {from:?} is to be migrated to {to:?}"),
        Action::Unverified(inner) => line(inner),
        Action::Leave(Left::Binding { source, queue, key, arguments, .. }) => {
            bound(source, &format!("{queue:?}"), key, &table(arguments))
        }
        Action::Leave(Left::ExchangeBinding { source, destination, key, arguments, .. }) => {
            bound(source, &format!("exchange {destination:?}"), key, &table(arguments))
        }
        Action::Leave(Left::Queue(name)) => format!("queue {name:?}"),
        Action::Leave(Left::Exchange(name)) => format!("exchange {name:?}"),
        Action::Leave(Left::Former { from, to }) => {
            format!("queue {from:?} (old name of {to:?}), left to its last consumers")
        }
        Action::Leave(Left::Policy(name)) => format!("policy {name:?}"),
    }
}

pub(super) fn binding(it: &Binding) -> String {
    bound(it.source.as_str(), &format!("{:?}", it.queue.as_str()), &it.key, &table(&it.arguments))
}

pub(super) fn exchange_binding(it: &ExchangeBinding) -> String {
    let destination = format!("exchange {:?}", it.destination.as_str());
    bound(it.source.as_str(), &destination, &it.key, &table(&it.arguments))
}

pub(super) fn bound(source: &str, to: &str, key: &str, arguments: &str) -> String {
    let by = match (key, arguments) {
        ("", "") => String::new(),
        (key, "") => format!(" by {key:?}"),
        ("", arguments) => format!(" where {arguments}"),
        (key, arguments) => format!(" by {key:?} where {arguments}"),
    };
    format!("binding {source:?} -> {to}{by}")
}

/// Arguments as people write them.
pub(super) fn table(table: &Headers) -> String {
    table.iter().map(|(name, value)| format!("{name} = {}", shown(value))).collect::<Vec<_>>().join(", ")
}

pub(super) fn messages(count: u64) -> String {
    self::count(count, "message", "messages")
}

pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
