//! The effective configuration as a person reads it: every value, with where it was said.

use std::fmt;

use super::{Config, settings::Row};

impl fmt::Display for Config {
    /// One setting to a line, `key = value  (source)`: the bus, then the groups by name, then those
    /// settings in which a handler differs from its group. Passwords are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rows(f, &self.bus.rows())?;
        for (name, group) in &self.groups {
            write!(f, "\n[group.{name}]\n")?;
            let policy = group.policy.rows();
            write_rows(f, &group.settings.rows())?;
            write_rows(f, &policy)?;
            for (handler, own) in &group.handlers {
                let differing: Vec<Row> = own
                    .rows()
                    .into_iter()
                    .zip(&policy)
                    .filter(|(own, group)| own.value != group.value || own.source != group.source)
                    .map(|(own, _)| own)
                    .collect();
                if !differing.is_empty() {
                    write!(f, "\n[group.{name}] handler {handler}\n")?;
                    write_rows(f, &differing)?;
                }
            }
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
