//! `check`: what is wrong with the program, before it is started.
//!
//! Findings are what was asked for, and go to standard output.

use serde::Serialize;

use super::{CommandError, Context, Exit, args::CheckArgs, output::count};
use crate::{
    bus::{self, Bus},
    error::Error,
    event::EventKind,
};

pub(super) fn check(_args: &CheckArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = match cx.look() {
        Ok(bus) => bus,
        Err(error) => {
            if cx.is_json() {
                cx.json(&Checked { ok: false, findings: findings(&error), warnings: Vec::new() })?;
            } else {
                cx.say(&format!("{error:?}\n"))?;
            }
            return Ok(Exit::Failed);
        }
    };
    let warnings = warnings(&bus);
    if cx.is_json() {
        cx.json(&Checked { ok: true, findings: Vec::new(), warnings })?;
        return Ok(Exit::Done);
    }
    let style = cx.io.style;
    for warning in &warnings {
        cx.say(&format!("{}: {warning}\n", style.yellow("warning")))?;
    }
    cx.say(&format!("{}: {}\n", style.green("ok"), summary(&bus)))?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    findings: Vec<Found>,
    warnings: Vec<String>,
}

/// Something that keeps the program from starting.
#[derive(Serialize)]
struct Found {
    kind: String,
    message: String,
    /// `file:line` each, or where in the configuration.
    places: Vec<Place>,
    help: Option<String>,
}

#[derive(Serialize)]
struct Place {
    what: Option<String>,
    at: String,
}

/// The error of a start, thing by thing.
fn findings(error: &Error) -> Vec<Found> {
    match error {
        Error::Registry(findings) => findings
            .iter()
            .map(|finding| Found {
                kind: words(&format!("{:?}", finding.kind)),
                message: finding.message.clone(),
                places: finding
                    .places
                    .iter()
                    .map(|place| Place { what: Some(place.what.clone()), at: place.location.to_string() })
                    .collect(),
                help: Some(finding.help.clone()),
            })
            .collect(),
        Error::Config(error) => error
            .findings()
            .iter()
            .map(|finding| Found {
                kind: "configuration".to_owned(),
                message: finding.problem.clone(),
                places: Vec::from_iter(
                    Some(&finding.place)
                        .filter(|place| !place.is_empty())
                        .map(|place| Place { what: None, at: place.clone() }),
                ),
                help: finding.remedy.clone(),
            })
            .collect(),
        Error::Conflict(conflicts) => conflicts.iter().map(|conflict| other("conflict", conflict)).collect(),
        Error::Several(errors) => errors.iter().flat_map(findings).collect(),
        error => vec![other("error", error)],
    }
}

fn other(kind: &str, error: &dyn std::fmt::Display) -> Found {
    Found { kind: kind.to_owned(), message: error.to_string(), places: Vec::new(), help: None }
}

/// `DuplicateKey` as `duplicate_key`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// What is no mistake, and may not be meant.
fn warnings(bus: &Bus) -> Vec<String> {
    let known: Vec<EventKind> = bus.registry().kinds().into_iter().copied().collect();
    let mut warnings: Vec<String> = bus.config().warnings.iter().map(ToString::to_string).collect();
    warnings.extend(bus.cautions().iter().map(ToString::to_string));
    for group in bus.groups() {
        warnings.extend(bus::skipped(group, &known, bus.exchanges()));
    }
    warnings
}

fn summary(bus: &Bus) -> String {
    let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let handlers = bus.groups().iter().map(|group| group.handlers.len()).sum();
    let topology = bus.topology();
    format!(
        "{}, {}, {}; on a broker {}, {}, {}",
        count(number(bus.registry().kinds().len()), "event"),
        count(number(bus.groups().len()), "group"),
        count(number(handlers), "handler"),
        count(number(topology.exchanges().count()), "exchange"),
        count(number(topology.queues().count()), "queue"),
        count(number(topology.bindings().count()), "binding"),
    )
}
