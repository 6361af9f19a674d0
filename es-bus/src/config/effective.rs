//! The effective configuration as a person reads it: every value, with where it was said.

use std::fmt;

use super::{Config, settings::Row};

/// What the effective configuration says of one thing.
pub(crate) struct Section<'a> {
    /// The group; none for the bus itself.
    pub(crate) group: Option<&'a str>,
    /// The handler; none for the group as a whole.
    pub(crate) handler: Option<&'a str>,
    /// Its settings: of a handler only those in which it differs from its group.
    pub(crate) rows: Vec<Row>,
}

impl Config {
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
