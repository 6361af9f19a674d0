//! The configuration file: TOML text to single settings, as far as its structure goes.
//!
//! The crate `config` reads the format; what a key means is decided here.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{FileFormat, Format, Map, Value, ValueKind};

use super::{
    error::{Finding, did_you_mean, group_remedy},
    settings::{Key, keys},
    source::{Level, Scope},
};
use crate::suggest::nearest;

/// One setting of the file: what it is about, where in the file it stands, its text.
pub(super) struct Line {
    pub(super) scope: Scope,
    pub(super) key: &'static Key,
    pub(super) place: String,
    pub(super) text: String,
}

/// Reads the text of a file; what is wrong with it goes to `findings`.
pub(super) fn read(
    path: &str,
    text: &str,
    groups: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) -> Vec<Line> {
    let table = match FileFormat::Toml.parse(None, text) {
        Ok(table) => table,
        Err(error) => {
            findings.push(Finding::new(path, format!("is no TOML, {}", without_excerpt(&error.to_string()))));
            return Vec::new();
        }
    };
    let mut reader = Reader { path, groups, findings, lines: Vec::new() };
    for (name, value) in sorted(table) {
        match (name.as_str(), value.kind) {
            ("group", ValueKind::Table(tables)) => reader.groups(tables),
            ("group", _) => reader.report("group", "is no table", Some(GROUP_TABLE.to_owned())),
            (_, kind) => reader.entry(&Scope::Bus, &name, &name, kind),
        }
    }
    reader.lines
}

struct Reader<'a> {
    path: &'a str,
    groups: &'a BTreeSet<String>,
    findings: &'a mut Vec<Finding>,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn groups(&mut self, tables: Map<String, Value>) {
        for (group, value) in sorted(tables) {
            let place = format!("[group.{group}]");
            let ValueKind::Table(settings) = value.kind else {
                self.report(&place, "is no table", Some(GROUP_TABLE.to_owned()));
                continue;
            };
            if !self.groups.contains(&group) {
                let remedy = group_remedy(&group, self.groups);
                self.report(&place, "no such group", Some(remedy));
                continue;
            }
            let scope = Scope::group(&group);
            for (name, value) in sorted(settings) {
                self.entry(&scope, &name, &format!("{place} {name}"), value.kind);
            }
        }
    }

    /// One key with its value; a table within joins its name to those of its keys with `_`.
    fn entry(&mut self, scope: &Scope, name: &str, place: &str, kind: ValueKind) {
        let prefix = format!("{name}_");
        match kind {
            ValueKind::Table(table) if keys().any(|key| key.name.starts_with(&prefix)) => {
                for (inner, value) in sorted(table) {
                    let (name, place) = (format!("{prefix}{inner}"), format!("{place}.{inner}"));
                    self.entry(scope, &name, &place, value.kind);
                }
            }
            kind => self.value(scope, name, place, kind),
        }
    }

    fn value(&mut self, scope: &Scope, name: &str, place: &str, kind: ValueKind) {
        let Some(key) = keys().find(|key| key.name == name) else {
            return self.unknown(scope, name, place);
        };
        if key.level < scope.level() {
            let remedy = "write it at the top of the file, before the first [group.…]";
            return self.report(place, &format!("is a setting of {}", key.level), Some(remedy.to_owned()));
        }
        if self.lines.iter().any(|line| line.scope == *scope && line.key.name == name) {
            return self.report(place, "is said twice in two spellings", Some("drop one".to_owned()));
        }
        let text = match kind {
            ValueKind::Table(table) if name == "arguments" => arguments_of(table),
            kind => text_of(kind),
        };
        match text {
            Ok(text) => {
                self.lines.push(Line { scope: scope.clone(), key, place: self.place(place), text });
            }
            Err(problem) => self.report(place, problem, None),
        }
    }

    fn unknown(&mut self, scope: &Scope, name: &str, place: &str) {
        let known = keys().filter(|key| key.level >= scope.level()).map(|key| key.name);
        let remedy = match nearest(name, known) {
            Some(near) => Some(did_you_mean(near)),
            None if name == "handler" && scope.level() == Level::Group => Some(
                "a handler's own settings are those of its attribute, or forced by the builder".to_owned(),
            ),
            None => None,
        };
        self.report(place, "unknown setting", remedy);
    }

    fn report(&mut self, place: &str, problem: &str, remedy: Option<String>) {
        let finding = Finding::new(self.place(place), problem).maybe(remedy);
        self.findings.push(finding);
    }

    fn place(&self, place: &str) -> String {
        format!("{}: {place}", self.path)
    }
}

/// In the order of names: the reader of the format keeps none.
fn sorted(table: Map<String, Value>) -> BTreeMap<String, Value> {
    table.into_iter().collect()
}

/// The one text form that all sources share: a list is parted by commas.
fn text_of(kind: ValueKind) -> Result<String, &'static str> {
    match kind {
        ValueKind::String(text) if text.is_empty() => Err(EMPTY),
        ValueKind::Array(items) if items.is_empty() => Ok("none".to_owned()),
        ValueKind::Array(items) => {
            let items = items.into_iter().map(|item| match item.kind {
                ValueKind::Array(_) => Err("is a list of lists, write one list"),
                kind => text_of(kind),
            });
            Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        ValueKind::Table(_) => Err("is a table where a value or a list is expected"),
        ValueKind::Nil => Err(EMPTY),
        kind @ (ValueKind::String(_)
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)) => Ok(kind.to_string()),
    }
}

/// A table of arguments, as it would be written in one text.
fn arguments_of(table: Map<String, Value>) -> Result<String, &'static str> {
    let arguments = sorted(table).into_iter().map(|(name, value)| {
        let text = match value.kind {
            ValueKind::String(text) => format!("\"{text}\""),
            kind => text_of(kind)?,
        };
        Ok::<_, &'static str>(format!("{name} = {text}"))
    });
    let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    Ok(if arguments.is_empty() { "none".to_owned() } else { arguments.join(", ") })
}

/// The message without the lines that quote the file, or could: they may hold a password.
fn without_excerpt(message: &str) -> String {
    let lines = message.trim_start_matches("TOML parse error ").lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.contains(['|', '/', '@']));
    lines.collect::<Vec<_>>().join(", ")
}

const GROUP_TABLE: &str = "write [group.<name>]";
const EMPTY: &str = "is empty; drop the line, or write \"none\" where there is to be nothing";
