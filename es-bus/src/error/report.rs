//! The two ways in which an error is read: as a line, and as a report.

use std::{collections::BTreeMap, error::Error as _, fmt};

use super::{Error, remedy};
use crate::{registry::Report, transport::DeclareError};

/// All of it when it is one thing, else the first and how many follow.
pub(super) fn summary<T: fmt::Display>(all: &[T]) -> String {
    match all {
        [] => "nothing was found".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => {
            format!("{first} (and {} more; the report, `{{:?}}`, has them all)", rest.len())
        }
    }
}

/// The report. Ends without a line break, as `main` adds one.
pub(super) fn write(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Registry(findings) => f.write_str(Report(findings).to_string().trim_end()),
        Error::Topology(errors) => topology(errors, f),
        Error::Conflict(conflicts) => {
            for (index, conflict) in conflicts.iter().enumerate() {
                write!(f, "{}{}. {conflict}", if index == 0 { "" } else { "\n" }, index + 1)?;
            }
            Ok(())
        }
        Error::ShutdownTimedOut { .. } => {
            write!(f, "{error}\n\n     help: {}", remedy::SHUTDOWN)
        }
        Error::GroupStopped { .. }
        | Error::Publish(_)
        | Error::Transport(_)
        | Error::Config(_)
        | Error::NoAmqp(_)
        | Error::Closed
        | Error::Internal(_) => {
            write!(f, "{error}")?;
            let mut cause = error.source();
            while let Some(error) = cause {
                write!(f, "\n  caused by: {error}")?;
                cause = error.source();
            }
            Ok(())
        }
    }
}

/// One entry per exchange or queue, one row per setting that differs.
fn topology(errors: &[DeclareError], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut things: Vec<(String, Vec<&DeclareError>)> = Vec::new();
    let mut places: BTreeMap<(u8, &str, &str), usize> = BTreeMap::new();
    for error in errors {
        let subject = Subject::of(error);
        let at = *places.entry((subject.rank, subject.what, subject.name)).or_insert_with(|| {
            things.push((subject.headline(), Vec::new()));
            things.len() - 1
        });
        things[at].1.push(error);
    }
    match things.len() {
        1 => f.write_str("the broker did not accept a declaration; what it has was left as it is:\n")?,
        count => {
            write!(f, "the broker did not accept {count} declarations; what it has was left as it is:\n")?
        }
    }
    for (i, (headline, errors)) in things.iter().enumerate() {
        let number = format!("{}.", i + 1);
        write!(f, "\n{number:>4} {headline}")?;
        rows(errors, f)?;
        for help in remedy::of(errors) {
            write!(f, "\n     help: {help}")?;
        }
        f.write_str(if i + 1 < things.len() { "\n" } else { "" })?;
    }
    Ok(())
}

fn rows(errors: &[&DeclareError], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fields = errors.iter().filter_map(|error| field(error)).map(|(field, ..)| field.len());
    let width = fields.max().unwrap_or(0);
    for error in errors {
        match field(error) {
            Some((field, wanted, found)) => write!(
                f,
                "\n       {field:width$}  this program: {}, the broker: {}",
                wanted.unwrap_or("not set"),
                found.unwrap_or("not set")
            )?,
            None => write!(f, "\n       the broker says: {}", reason(error))?,
        }
    }
    Ok(())
}

/// The setting that differs, when the broker named it.
pub(super) fn field(error: &DeclareError) -> Option<(&str, Option<&str>, Option<&str>)> {
    match error {
        DeclareError::Mismatch { field: Some(field), wanted, found, .. } => {
            Some((field, wanted.as_deref(), found.as_deref()))
        }
        DeclareError::Mismatch { .. }
        | DeclareError::Forbidden { .. }
        | DeclareError::Refused { .. }
        | DeclareError::Interrupted { .. } => None,
    }
}

fn reason(error: &DeclareError) -> &str {
    match error {
        DeclareError::Mismatch { reason, .. }
        | DeclareError::Forbidden { reason, .. }
        | DeclareError::Refused { reason, .. }
        | DeclareError::Interrupted { reason, .. } => reason,
    }
}

/// What a declaration was about, and how it failed.
pub(super) struct Subject<'a> {
    rank: u8,
    pub(super) what: &'static str,
    pub(super) name: &'a str,
}

impl<'a> Subject<'a> {
    pub(super) fn of(error: &'a DeclareError) -> Self {
        match error {
            DeclareError::Mismatch { what, name, .. } => Self { rank: 0, what, name },
            DeclareError::Forbidden { what, name, .. } => Self { rank: 1, what, name },
            DeclareError::Refused { what, name, .. } => Self { rank: 2, what, name },
            DeclareError::Interrupted { what, name, .. } => Self { rank: 3, what, name },
        }
    }

    fn headline(&self) -> String {
        let Self { what, name, .. } = self;
        match self.rank {
            0 => format!("{what} {name:?} exists with other settings"),
            1 => format!("{what} {name:?}: no permission"),
            2 => format!("{what} {name:?} cannot be declared"),
            _ => format!("{what} {name:?}: the connection was lost"),
        }
    }
}
