//! `check`: what is wrong with the program, before it is started.
//!
//! Findings are what was asked for, and go to standard output.

use std::{io, path::Path};

use serde::Serialize;
use serde_json::Value as Json;

use super::{
    CommandError, Context, Exit,
    args::CheckArgs,
    lock::{self, Compared},
    output::{count, lines},
};
use crate::{
    bus::{self, Bus},
    error::Error,
    event::EventKind,
    lock::{Lock, ManifestError},
    topology::{GraphFinding, Severity},
};

pub(super) fn check(args: &CheckArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = match cx.look() {
        Ok(bus) => bus,
        Err(error) => {
            let findings = match &error {
                CommandError::Bus(error) => findings(error),
                CommandError::Manifest(error) => of_manifest(error),
                _ => return Err(error),
            };
            match cx.is_json() {
                true => cx.json(&Checked { ok: false, findings, warnings: Vec::new(), lock: None })?,
                false => cx.say(&format!("{}\n", error.report()))?,
            }
            return Ok(Exit::Failed);
        }
    };
    cx.remark_part(&bus)?;
    let warnings = warnings(&bus);
    let lock = match &args.lock {
        Some(file) => Some((file, lock::of(&bus, cx)?)),
        None => None,
    };
    let compared = match &lock {
        Some((file, now)) => Some(compared(file, now, cx)?),
        None => None,
    };
    // What somebody agrees to is told, and no failure.
    let ok = args.update || !compared.as_ref().is_some_and(Compared::breaks);
    if cx.is_json() {
        let told = compared.as_ref().zip(lock.as_ref()).map(|(compared, (file, _))| compared.json(file));
        cx.json(&Checked { ok, findings: Vec::new(), warnings, lock: told })?;
    } else {
        let style = cx.io.style;
        for warning in &warnings {
            let word = match warning.severity {
                NOTE => style.dim(warning.severity),
                severity => style.yellow(severity),
            };
            cx.say(&format!("{word}: {}\n", lines(&warning.line)))?;
        }
        cx.say(&format!("{}: {}\n", style.green("ok"), summary(&bus)))?;
        if let (Some(compared), Some((file, _))) = (&compared, &lock) {
            cx.say(&compared.text(file, style))?;
        }
    }
    match (&compared, &lock) {
        (Some(compared), Some((file, now))) if args.update => {
            let written = compared.rewrite(file, now)?;
            lock::say_written(file, written, cx)
        }
        (Some(compared), _) if !compared.findings.is_empty() => {
            let program = &cx.program;
            let agree = if ok { "to write it down" } else { "once that is dealt with, or meant" };
            cx.remark(&format!("{agree}: `{program} check --lock --update`, and commit the file"))?;
            Ok(if ok { Exit::Done } else { Exit::Failed })
        }
        _ => Ok(Exit::Done),
    }
}

fn compared(file: &Path, now: &Lock, cx: &Context<'_>) -> Result<Compared, CommandError> {
    Compared::with(file, now).map_err(|error| match error {
        CommandError::File { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            CommandError::NoLock { path, program: cx.program.clone() }
        }
        error => error,
    })
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    findings: Vec<Found>,
    warnings: Vec<Odd>,
    /// What changed since the lock was written, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<Json>,
}

/// Something that is no mistake, and may not be meant.
#[derive(Serialize)]
struct Odd {
    /// `warning` or `note`.
    severity: &'static str,
    /// The group that it is about.
    group: Option<String>,
    message: String,
    places: Vec<Place>,
    help: Option<String>,
    /// All of it for a person.
    #[serde(skip)]
    line: String,
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

fn of_manifest(error: &ManifestError) -> Vec<Found> {
    let found = error.mistakes.iter().map(|it| Found {
        kind: "manifest".to_owned(),
        message: it.problem.clone(),
        places: vec![Place { what: None, at: it.place.clone() }],
        help: None,
    });
    found.collect()
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

/// What is no mistake, and may not be meant; the gravest first.
fn warnings(bus: &Bus) -> Vec<Odd> {
    let known: Vec<EventKind> = bus.registry().kinds().into_iter().copied().collect();
    let mut warnings: Vec<Odd> = bus.config().warnings.iter().map(setting).collect();
    warnings.extend(bus.cautions().into_iter().map(caution));
    for group in bus.groups() {
        let skipped = bus::skipped(group, &known, bus.exchanges());
        warnings.extend(skipped.into_iter().map(|text| Odd {
            severity: WARNING,
            group: Some(group.name.to_string()),
            message: text.clone(),
            places: Vec::new(),
            help: None,
            line: text,
        }));
    }
    warnings.sort_by_key(|odd| odd.severity == NOTE);
    warnings
}

const WARNING: &str = "warning";
const NOTE: &str = "note";

fn setting(finding: &crate::config::Finding) -> Odd {
    let place = Some(&finding.place).filter(|place| !place.is_empty());
    Odd {
        severity: WARNING,
        group: None,
        message: finding.problem.clone(),
        places: place.map(|place| Place { what: None, at: place.clone() }).into_iter().collect(),
        help: finding.remedy.clone(),
        line: finding.to_string(),
    }
}

fn caution(finding: GraphFinding) -> Odd {
    let line = finding.to_string();
    let GraphFinding { severity, group, message, places, help } = finding;
    let places = places.into_iter().map(|it| Place { what: Some(it.what), at: it.location.to_string() });
    Odd {
        severity: match severity {
            Severity::Caution => WARNING,
            Severity::Note => NOTE,
        },
        group,
        message,
        places: places.collect(),
        help: Some(help),
        line,
    }
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
        count(number(topology.bindings().count() + topology.exchange_bindings().count()), "binding"),
    )
}
