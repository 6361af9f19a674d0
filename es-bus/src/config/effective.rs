//! The effective configuration as a person reads it: every value, with where it was said.

use std::fmt;

use super::{Config, settings::Row, source::Source};

/// What the effective configuration says of one thing.
pub(crate) struct Section<'a> {
    /// The group; none for the bus itself.
    pub(crate) group: Option<&'a str>,
    /// The handler; none for the group as a whole.
    pub(crate) handler: Option<&'a str>,
    /// Its settings: of a handler only those in which it differs from its group.
    pub(crate) rows: Vec<Row>,
}

/// What something was said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaidOf<'a> {
    /// The bus, and all groups and handlers.
    All,
    /// A group.
    Group(&'a str),
    /// A handler of a group.
    Handler(&'a str, &'a str),
}

/// A setting that is not what es-bus does by itself.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether it is the bus's alone.
    pub(crate) is_of_bus: bool,
}

impl Config {
    /// What was said by anybody, each about the most general thing that it holds for. Passwords are masked.
    pub(crate) fn said(&self) -> Vec<(SaidOf<'_>, Vec<Said>)> {
        let said = |rows: Vec<Row>, general: &[Row], is_of_bus| {
            let is_new = |row: &Row| {
                general
                    .iter()
                    .find(|it| it.name == row.name)
                    .is_none_or(|it| (&it.value, &it.source) != (&row.value, &row.source))
            };
            let built_in = Source::BuiltIn.to_string();
            rows.into_iter()
                .filter(|row| row.source != built_in && is_new(row))
                .map(|Row { name, value, .. }| Said { name, value, is_of_bus })
                .collect::<Vec<_>>()
        };
        let general: Vec<Row> =
            self.others.settings.rows().into_iter().chain(self.others.policy.rows()).collect();
        let mut all = said(self.bus.rows(), &general, true);
        all.extend(said(general.clone(), &[], false));
        let mut found = vec![(SaidOf::All, all)];
        for (name, group) in &self.groups {
            let policy = group.policy.rows();
            let rows = group.settings.rows().into_iter().chain(policy.clone()).collect();
            found.push((SaidOf::Group(name), said(rows, &general, false)));
            for (handler, own) in &group.handlers {
                found.push((SaidOf::Handler(name, handler), said(own.rows(), &policy, false)));
            }
        }
        found
    }

    /// All settings: the bus, then the groups by name, each with those of its handlers that differ. Passwords
    /// are masked.
    pub(crate) fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = vec![Section { group: None, handler: None, rows: self.bus.rows() }];
        for (name, group) in &self.groups {
            let policy = group.policy.rows();
            let rows = group.settings.rows().into_iter().chain(policy.clone()).collect();
            sections.push(Section { group: Some(name), handler: None, rows });
            for (handler, own) in &group.handlers {
                let rows: Vec<Row> = own
                    .rows()
                    .into_iter()
                    .zip(&policy)
                    .filter(|(own, group)| own.value != group.value || own.source != group.source)
                    .map(|(own, _)| own)
                    .collect();
                if !rows.is_empty() {
                    sections.push(Section { group: Some(name), handler: Some(handler), rows });
                }
            }
        }
        sections
    }
}

impl fmt::Display for Config {
    /// One setting to a line, `key = value  (source)`: the bus, then the groups by name, then those
    /// settings in which a handler differs from its group. Passwords are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Section { group, handler, rows } in self.sections() {
            match (group, handler) {
                (None, _) => {}
                (Some(group), None) => write!(f, "\n[group.{group}]\n")?,
                (Some(group), Some(handler)) => write!(f, "\n[group.{group}] handler {handler}\n")?,
            }
            write_rows(f, &rows)?;
        }
        Ok(())
    }
}

fn write_rows(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    for row in rows {
        writeln!(f, "{:<NAME_WIDTH$} = {:<VALUE_WIDTH$} ({})", row.name, row.value, row.source)?;
    }
    Ok(())
}

/// The longest name is `single_active_consumer`.
const NAME_WIDTH: usize = 22;
/// Most values are shorter; a longer one pushes its source to the right.
const VALUE_WIDTH: usize = 24;
