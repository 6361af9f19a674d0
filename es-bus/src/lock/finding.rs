//! What changed between two locks.

use std::fmt;

/// One change between what was agreed to and what a program declares now.
///
/// `Display` prints it in a line, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockFinding {
    /// Whether a running system stands it.
    pub risk: Risk,
    /// What it is about: `queue "events.audit"`.
    pub subject: String,
    /// What was found: `kind was direct, is topic`.
    pub found: String,
    /// What to do about it; nothing where nothing has to be done.
    pub remedy: Option<String>,
}

/// Whether a running system stands a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Something would be refused, get lost, or come to nobody.
    Breaks,
    /// It only has to be written down.
    Harmless,
}

impl LockFinding {
    /// Whether a running system would break.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.risk == Risk::Breaks
    }
}

impl fmt::Display for LockFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Gathers what was found.
#[derive(Default)]
pub(super) struct Findings(Vec<LockFinding>);

impl Findings {
    pub(super) fn breaks(&mut self, subject: &str, found: impl Into<String>, remedy: impl Into<String>) {
        let (subject, found, remedy) = (subject.to_owned(), found.into(), Some(remedy.into()));
        self.0.push(LockFinding { risk: Risk::Breaks, subject, found, remedy });
    }

    pub(super) fn harmless(&mut self, subject: &str, found: impl Into<String>) {
        let (subject, found) = (subject.to_owned(), found.into());
        self.0.push(LockFinding { risk: Risk::Harmless, subject, found, remedy: None });
    }

    /// What breaks first, each part in the order in which it was found.
    pub(super) fn into_vec(mut self) -> Vec<LockFinding> {
        self.0.sort_by_key(|finding| finding.risk);
        self.0
    }
}
