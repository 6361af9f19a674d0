//! What can be wrong with a configuration: findings, gathered and reported together.

use std::{collections::BTreeSet, fmt};

use crate::suggest::nearest;

/// One thing that is wrong: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it was found: a variable, a file and key, a line of source. Empty where it concerns
    /// the whole program.
    pub place: String,
    /// What is wrong. Holds no secret.
    pub problem: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string(), remedy: None }
    }

    pub(super) fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    pub(super) fn maybe(self, remedy: Option<impl fmt::Display>) -> Self {
        match remedy {
            Some(remedy) => self.remedy(remedy),
            None => self,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order in which it was read.
///
/// Prints one finding to a line, each with its source, what was wrong and what to do. No secret is
/// in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    findings: Vec<Finding>,
}

impl Error {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// What was found; never empty.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            count => write!(f, "the configuration has {count} mistakes:")?,
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

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

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
