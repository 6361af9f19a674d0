//! The two ways in which an error is read: as a line, and as a report.

use std::{error::Error as _, fmt};

use super::{Error, remedy};
use crate::{registry::Report, transport::DeclareError};

/// All of it when it is one thing, else the first and how many follow.
pub(super) fn summary<T: fmt::Display>(all: &[T]) -> String {
    let line = |text: &T| text.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match all {
        [] => "nothing was found".to_owned(),
        [one] => line(one),
        [first, rest @ ..] => {
            format!("{} (and {} more; the report, `{{:?}}`, has them all)", line(first), rest.len())
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
        Error::Several(errors) => {
            for (index, error) in errors.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { "\n\n" })?;
                write(error, f)?;
            }
            Ok(())
        }
        Error::Config(error) => f.write_str(error.to_string().trim_end()),
        // Its text tells the cause.
        Error::Http { .. } => write!(f, "{error}"),
        Error::Publish(_)
        | Error::DeadLetters(_)
        | Error::Management(_)
        | Error::Plan(_)
        | Error::Migrate(_)
        | Error::Stream(_)
        | Error::Transport(_)
        | Error::Subscribe(_)
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
    for error in errors {
        let headline = headline(error);
        match things.iter_mut().find(|(there, _)| *there == headline) {
            Some((_, errors)) => errors.push(error),
            None => things.push((headline, vec![error])),
        }
    }
    let missing = errors.iter().all(|error| matches!(error, DeclareError::Missing { .. }));
    match things.len() {
        count if missing => {
            writeln!(f, "{count} of what this program needs is not on the broker, and it declares nothing:")?
        }
        _ if errors.iter().all(|error| matches!(error, DeclareError::Unmigrated { .. })) => {
            writeln!(f, "messages are to be migrated before this version starts; nothing was changed:")?;
        }
        1 => writeln!(f, "the broker did not accept a declaration; what it has was left as it is:")?,
        count => {
            writeln!(f, "the broker did not accept {count} declarations; what it has was left as it is:")?
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
            // What stands in the way was seen, and not said by the broker.
            None if matches!(error, DeclareError::Unmigrated { .. }) => {
                write!(f, "\n       {}", reason(error))?
            }
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
        | DeclareError::NoPlugin { .. }
        | DeclareError::Unmigrated { .. }
        | DeclareError::Down { .. }
        | DeclareError::Unanswered { .. }
        | DeclareError::Missing { .. }
        | DeclareError::Interrupted { .. } => None,
    }
}

fn reason(error: &DeclareError) -> &str {
    match error {
        DeclareError::Mismatch { reason, .. }
        | DeclareError::Forbidden { reason, .. }
        | DeclareError::Refused { reason, .. }
        | DeclareError::NoPlugin { reason, .. }
        | DeclareError::Unmigrated { reason, .. }
        | DeclareError::Down { reason, .. }
        | DeclareError::Unanswered { reason, .. }
        | DeclareError::Interrupted { reason, .. } => reason,
        DeclareError::Missing { .. } => "nothing of that name",
    }
}

fn headline(error: &DeclareError) -> String {
    let (what, name) = subject(error);
    match error {
        DeclareError::Mismatch { .. } => format!("{what} {name:?} exists with other settings"),
        DeclareError::Forbidden { .. } => format!("{what} {name:?}: no permission"),
        DeclareError::Refused { what: "policy", .. } => format!("{what} {name:?} cannot be set"),
        DeclareError::Refused { .. } => format!("{what} {name:?} cannot be declared"),
        DeclareError::NoPlugin { .. } => format!("{what} {name:?} takes a plugin that is not enabled"),
        DeclareError::Unanswered { .. } => format!("{what} {name:?} cannot be set now"),
        DeclareError::Unmigrated { .. } => format!("{what} {name:?} is to be migrated first"),
        DeclareError::Down { .. } => format!("{what} {name:?}: its node is down"),
        DeclareError::Missing { .. } => format!("{what} {name:?} is missing"),
        DeclareError::Interrupted { .. } => format!("{what} {name:?}: the connection was lost"),
    }
}

/// What a declaration was about: `queue`, and its name.
pub(super) fn subject(error: &DeclareError) -> (&'static str, &str) {
    match error {
        DeclareError::Mismatch { what, name, .. }
        | DeclareError::Forbidden { what, name, .. }
        | DeclareError::Refused { what, name, .. }
        | DeclareError::NoPlugin { what, name, .. }
        | DeclareError::Unmigrated { what, name, .. }
        | DeclareError::Down { what, name, .. }
        | DeclareError::Unanswered { what, name, .. }
        | DeclareError::Missing { what, name }
        | DeclareError::Interrupted { what, name, .. } => (what, name),
    }
}
