//! The topology of a whole program, looked at for what is allowed and probably not meant. Pure.
//!
//! In comes a program; out come [`GraphFinding`]s: what a setting loses ([`loss`]), settings that contradict each
//! other ([`settings`]), exchanges and events that lead nowhere ([`exchanges`]), handlers that call each other for
//! ever ([`loops`]). What certainly loses events or can never work is no finding: it is an error of
//! [`build`](super::build), a [`Conflict`](super::Conflict), or of `registry::check`, and the program does not start.

mod exchanges;
mod loops;
mod loss;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use super::Program;
use crate::registry::Place;

/// Something about a program's topology that is allowed, and worth knowing before it runs.
///
/// [`Display`](fmt::Display) is one line.
///
/// # Examples
///
/// ```
/// use es_bus::{Bus, RawEvent, Registry, Severity, group, handler};
///
/// #[group(name = "audit", on_exhausted = "drop")]
/// struct Audit;
///
/// #[handler(group = Audit, bind = "#", foreign)]
/// async fn keep(event: RawEvent) {
///     drop(event);
/// }
///
/// # fn main() -> es_bus::Result<()> {
/// let registry = Registry::new().handler::<keep>();
/// let bus = Bus::builder().url("memory://").registry(registry).build()?;
///
/// let findings = bus.cautions();
/// assert_eq!(findings[0].severity, Severity::Caution);
/// assert!(findings[0].message.contains("events that its handlers give up are lost"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphFinding {
    /// How much it matters.
    pub severity: Severity,
    /// The group that it is about, when it is about one.
    pub group: Option<String>,
    /// What was found.
    pub message: String,
    /// Where it stands, sorted.
    pub places: Vec<Place>,
    /// What would put it right, where it is not meant.
    pub help: String,
}

/// How much a [`GraphFinding`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Events may be lost, or something is without effect. A warning at each start.
    Caution,
    /// It is well where it is meant, or where other services do their part. Told at each start.
    Note,
}

/// Everything that is worth knowing, the gravest first.
pub(crate) fn findings(program: &Program<'_>) -> Vec<GraphFinding> {
    let mut findings = Vec::new();
    for group in program.groups {
        let name = group.name.as_str();
        for (message, help) in loss::of(group) {
            let place = program.group_place(name);
            findings.push(GraphFinding::new(Severity::Caution, Some(name), message, place, help));
        }
        settings::check(program, group, &mut findings);
    }
    exchanges::check(program, &mut findings);
    loops::check(program, &mut findings);
    let order = |finding: &GraphFinding| (finding.severity, finding.group.clone());
    // Of one group as they were found.
    findings.sort_by_cached_key(order);
    findings
}

impl GraphFinding {
    fn new(
        severity: Severity,
        group: Option<&str>,
        message: impl Into<String>,
        places: impl IntoIterator<Item = Place>,
        help: impl Into<String>,
    ) -> Self {
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort();
        places.dedup();
        Self { severity, group: group.map(str::to_owned), message: message.into(), places, help: help.into() }
    }

    /// The line of a log, where the places would be too many.
    pub(crate) fn line(&self) -> String {
        format!("{}; {}", self.message, self.help)
    }
}

/// How many places a line names.
const PLACES: usize = 3;

impl fmt::Display for GraphFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (index, place) in self.places.iter().take(PLACES).enumerate() {
            write!(f, "{}{}", if index == 0 { " (" } else { ", " }, place.location)?;
        }
        match self.places.len() {
            0 => {}
            count if count > PLACES => write!(f, " and {} more)", count - PLACES)?,
            _ => f.write_str(")")?,
        }
        write!(f, "; {}", self.help)
    }
}
