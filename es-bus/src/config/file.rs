//! The configuration file: TOML text to single settings, as far as its structure goes.
//!
//! The crate `config` reads the format; what a key means is decided here.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{FileFormat, Format, Map, Value, ValueKind};

use super::{
    builder::did_you_mean,
    error::{Finding, mask, nearest},
    settings::{Key, keys},
    source::{Level, Scope},
};

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
            findings.push(Finding::new(
                path,
                format!("is no TOML: {}", without_excerpt(&error.to_string())),
            ));
            return Vec::new();
        }
    };
    let mut reader = Reader {
        path,
        groups,
        findings,
        lines: Vec::new(),
    };
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
        if let ValueKind::Table(table) = kind {
            let prefix = format!("{name}_");
            if !keys().any(|key| key.name.starts_with(&prefix)) {
                return self.unknown(scope, name, place);
            }
            for (inner, value) in sorted(table) {
                self.entry(
                    scope,
                    &format!("{prefix}{inner}"),
                    &format!("{place}.{inner}"),
                    value.kind,
                );
            }
            return;
        }
        let Some(key) = keys().find(|key| key.name == name) else {
            return self.unknown(scope, name, place);
        };
        if key.level < scope.level() {
            let remedy = "write it at the top of the file, before the first [group.…]";
            return self.report(
                place,
                &format!("is a setting of {}", key.level),
                Some(remedy.to_owned()),
            );
        }
        if self
            .lines
            .iter()
            .any(|line| line.scope == *scope && line.key.name == name)
        {
            return self.report(
                place,
                "is said twice in two spellings",
                Some("drop one".to_owned()),
            );
        }
        match text_of(kind) {
            Ok(text) => {
                self.lines.push(Line {
                    scope: scope.clone(),
                    key,
                    place: self.place(place),
                    text,
                });
            }
            Err(problem) => self.report(place, problem, None),
        }
    }

    fn unknown(&mut self, scope: &Scope, name: &str, place: &str) {
        let known = keys()
            .filter(|key| key.level >= scope.level())
            .map(|key| key.name);
        let remedy = match nearest(name, known) {
            Some(near) => Some(did_you_mean(near)),
            None if name == "handler" && scope.level() == Level::Group => Some(
                "a handler's own settings are those of its attribute, or forced by the builder"
                    .to_owned(),
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

/// What to do about a group that is not declared.
pub(super) fn group_remedy(name: &str, groups: &BTreeSet<String>) -> String {
    match nearest(name, groups.iter().map(String::as_str)) {
        Some(near) => did_you_mean(near),
        None if groups.is_empty() => "this program declares no groups".to_owned(),
        None => {
            let names: Vec<_> = groups.iter().map(String::as_str).collect();
            format!("this program declares {}", names.join(", "))
        }
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
            let items = items.into_iter().map(|item| text_of(item.kind));
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

/// The message without the lines that quote the file: they may hold a password.
fn without_excerpt(message: &str) -> String {
    let lines = message
        .lines()
        .filter(|line| !line.contains('|'))
        .map(str::trim);
    mask(
        &lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    )
}

const GROUP_TABLE: &str = "write [group.<name>]";
const EMPTY: &str = "is empty; drop the line, or write \"none\" where there is to be nothing";
