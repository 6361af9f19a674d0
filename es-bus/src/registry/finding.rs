//! What is wrong with a registry, as a value, and as the report that a person reads.

use std::fmt;

use serde::Serialize;

use super::Location;

/// One thing that cannot work: what, where, and what to do about it.
///
/// [`Display`](fmt::Display) is one line; [`Report`] prints several for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which kind of mistake it is.
    pub kind: FindingKind,
    /// What is wrong. With a single place, the place stands in the text.
    pub message: String,
    /// Every definition that takes part, sorted.
    pub places: Vec<Place>,
    /// What would put it right.
    pub help: String,
}

/// The kinds of mistakes that only the whole program shows; they are reported in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The bus is to consume, and there is no handler.
    NoHandlers,
    /// A group is selected that does not exist.
    UnknownGroup,
    /// A layer is put around a group or a handler that does not exist.
    UnknownLayered,
    /// A group is selected that has no handlers.
    EmptyGroup,
    /// A name or a key is not what AMQP carries.
    InvalidName,
    /// Two definitions of an exchange differ, or one cannot do what it is for.
    ConflictingExchange,
    /// Two types declare events with one routing key.
    DuplicateKey,
    /// Two types declare one event under different routing keys.
    DuplicateEvent,
    /// A handler would take one event for another of the same name.
    AmbiguousEvent,
    /// Two handlers of a group go by one name.
    DuplicateHandler,
    /// Two definitions of a group differ.
    ConflictingGroup,
    /// Two groups go by one name, which one of them had before.
    DuplicateGroup,
    /// A group retires an event that its handlers take.
    RetiredEvent,
    /// A binding matches nothing that is known, or asks for what its exchange does not look at.
    UnmatchedBinding,
    /// A handler needs a value that was not provided.
    MissingState,
}

/// A definition that takes part in a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// Where it stands.
    pub location: Location,
    /// What it is: ``event `orders::OrderPlaced` ``.
    pub what: String,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        message: impl Into<String>,
        mut places: Vec<Place>,
        help: impl Into<String>,
    ) -> Self {
        places.sort_by(|a, b| a.order().cmp(&b.order()));
        places.dedup();
        Self { kind, message: message.into(), places, help: help.into() }
    }
}

impl Place {
    pub(crate) fn new(what: impl Into<String>, location: Location) -> Self {
        Self { location, what: what.into() }
    }

    fn order(&self) -> (&'static str, u32, &str) {
        (self.location.file, self.location.line, &self.what)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.location)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.places.len() > 1 {
            for (i, place) in self.places.iter().enumerate() {
                write!(f, "{} {place}", if i == 0 { ":" } else { "," })?;
            }
        }
        // A message that asks "did you mean" has its stop already.
        let stop = if self.message.ends_with('?') && self.places.len() < 2 { "" } else { ";" };
        write!(f, "{stop} {}", self.help)
    }
}

/// Findings as a person reads them: numbered, each with its places and what to do.
///
/// # Examples
///
/// ```
/// use es_bus::registry::{self, Facts, Registry, Report};
///
/// let findings = registry::check(&Registry::new(), &Facts::new().consuming());
///
/// assert!(Report(&findings).to_string().contains("no handlers are registered"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(pub &'a [Finding]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("a mistake in what this program declares")?,
            count => write!(f, "{count} mistakes in what this program declares")?,
        }
        f.write_str(", found before the broker was touched:\n")?;
        for (i, finding) in self.0.iter().enumerate() {
            let number = format!("{}.", i + 1);
            write!(f, "\n{number:>4} {}\n", finding.message)?;
            if finding.places.len() > 1 {
                let rows: Vec<_> = finding.places.iter().map(|p| (p.location.to_string(), &p.what)).collect();
                let width = rows.iter().map(|(location, _)| location.chars().count()).max().unwrap_or(0);
                for (location, what) in rows {
                    writeln!(f, "       {location:width$}  {what}")?;
                }
            }
            writeln!(f, "     help: {}", finding.help)?;
        }
        Ok(())
    }
}
