//! What a plan tells a program that runs: how the broker is no longer as it was declared. Pure.

use std::collections::BTreeSet;

use super::{
    step::{Action, Left, Plan},
    text,
};
use crate::{model::Difference, topology::policies};

/// A way in which a broker can differ from what is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DriftKind {
    /// It is declared, and not there.
    Missing,
    /// It is there with other settings.
    Conflict,
    /// It is there with other settings, which can be changed in place.
    Changed,
    /// It is there, and was retired or unbound.
    Retired,
    /// It is there, and nobody declares it.
    Foreign,
}

impl DriftKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Missing, Self::Conflict, Self::Changed, Self::Retired, Self::Foreign];

    /// The word for it, in logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Changed => "changed",
            Self::Retired => "retired",
            Self::Foreign => "foreign",
        }
    }

    /// What would do about it.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Missing => {
                "`Bus::apply` makes what is missing again, and so does a restart with `declare = \"create\"`"
            }
            Self::Conflict => {
                "what has other settings cannot be changed in place: say here what the broker has, or move its messages and \
                 declare it anew"
            }
            Self::Changed => "`Bus::apply` sets it as it is declared",
            Self::Retired => "`Bus::apply` removes what is retired",
            Self::Foreign => {
                "what nobody declares stays until it is unbound by hand or named in `retired` of its group; while another \
                 version of the program runs beside this one it may be that one's"
            }
        }
    }
}

/// One thing that is not as it was declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deviation {
    pub(crate) kind: DriftKind,
    /// What it is, in words.
    pub(crate) text: String,
}

/// Everything that is not as it was declared, as far as it was seen.
///
/// What could not be seen is no deviation, nor is what the program is known to have declared once: it left that.
pub(crate) fn deviations(plan: &Plan) -> BTreeSet<Deviation> {
    plan.steps.iter().filter_map(|step| deviation(&step.action)).collect()
}

fn deviation(action: &Action) -> Option<Deviation> {
    let of = |kind, text| Some(Deviation { kind, text });
    let missing = |what: String| of(DriftKind::Missing, format!("{what} is missing"));
    match action {
        Action::CreateExchange(it) => missing(format!("exchange {:?}", it.name)),
        Action::CreateQueue(it) => missing(format!("queue {:?}", it.name)),
        Action::SetPolicy { policy, was: None } => missing(format!("policy {:?}", policy.name())),
        Action::SetPolicy { policy, was: Some(was) } => of(
            DriftKind::Changed,
            format!(
                "policy {:?} says something else (there -> here): {}",
                policy.name(),
                policies::difference(was, &policy.definition)
            ),
        ),
        Action::DeletePolicy { policy, .. } => of(
            DriftKind::Retired,
            format!("policy {policy:?} is there, and its queue has no limits to carry"),
        ),
        Action::PolicyBlocked { policy, others } => {
            of(DriftKind::Conflict, policies::in_the_way(policy, others))
        }
        Action::Bind(it) => missing(text::binding(it)),
        Action::BindExchange(it) => missing(text::exchange_binding(it)),
        Action::Conflict { what, name, differences } => {
            let or_not = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
            let differences: Vec<String> = differences
                .iter()
                .map(|Difference { field, wanted, found }| {
                    format!("{field} is {} (this program: {})", or_not(found), or_not(wanted))
                })
                .collect();
            of(
                DriftKind::Conflict,
                format!("{what} {name:?} is there with other settings: {}", differences.join(", ")),
            )
        }
        Action::NeedsPlugin { exchange, plugin } => of(
            DriftKind::Missing,
            format!("exchange {exchange:?} is missing, and so is the plugin that it takes: {plugin}"),
        ),
        Action::HalfMigrated { queue } => of(
            DriftKind::Conflict,
            format!(
                "queue {queue:?} is being migrated, or its migration was left half-way: `migrate` goes on with it"
            ),
        ),
        Action::Renamed { from, to } => of(
            DriftKind::Conflict,
            format!(
                "queue {from:?} is there, whose name {to:?} had before, and gets events: `migrate` brings what is in it"
            ),
        ),
        Action::Unbind(it) => {
            of(DriftKind::Retired, format!("{} is there, and was retired or unbound", text::binding(it)))
        }
        Action::Leave(Left::Binding { source, queue, key, arguments, once_declared: false }) => {
            let binding = text::bound(source, &format!("{queue:?}"), key, &text::table(arguments));
            of(DriftKind::Foreign, format!("{binding} is there, and nobody declares it"))
        }
        Action::Leave(Left::ExchangeBinding {
            source,
            destination,
            key,
            arguments,
            once_declared: false,
        }) => {
            let to = format!("exchange {destination:?}");
            let binding = text::bound(source, &to, key, &text::table(arguments));
            of(DriftKind::Foreign, format!("{binding} is there, and nobody declares it"))
        }
        Action::UnbindExchange(_)
        | Action::DeleteQueue { .. }
        | Action::DeleteExchange(_)
        | Action::Unverified(_)
        | Action::Leave(_) => None,
    }
}
