//! One thing that was looked at.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::output::{Style, line};

/// What was looked at, what was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) status: Status,
    /// What was looked at, in a word or two.
    pub(super) check: &'static str,
    pub(super) found: String,
    /// What would put it right, the gentlest way first.
    pub(super) remedies: Vec<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It may be meant, or may become a failure.
    Warn,
    /// Something does not work.
    Fail,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Ok, check, found: found.into(), remedies: Vec::new() }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Warn, check, found: found.into(), remedies: vec![remedy.into()] }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Fail, check, found: found.into(), remedies: vec![remedy.into()] }
    }

    /// A line, and one for each remedy.
    pub(super) fn text(&self, style: Style) -> String {
        let status = match self.status {
            Status::Ok => style.green("ok  "),
            Status::Warn => style.yellow("warn"),
            Status::Fail => style.red("fail"),
        };
        let mut text = format!("{status}  {:12}  {}\n", self.check, indented(&self.found, 20));
        for remedy in self.remedies.iter().filter(|remedy| !remedy.is_empty()) {
            let _ = writeln!(text, "{:20}help: {}", "", indented(remedy, 26));
        }
        text
    }
}

/// A text whose later lines stand below its first.
fn indented(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.lines().map(|text| line(text.trim_end())).collect();
    lines.join(&format!("\n{:by$}", ""))
}
