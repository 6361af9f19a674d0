//! The program itself: what it declares, and its configuration.

use super::Finding;
use crate::{bus::Bus, error::Error, lock::ManifestError};

const CHECK: &str = "program";

/// What keeps it from starting.
pub(super) fn refused(error: &Error) -> Vec<Finding> {
    match error {
        Error::Config(error) => error
            .findings()
            .iter()
            .map(|finding| {
                let place = if finding.place.is_empty() { "" } else { &format!("{}: ", finding.place) };
                let remedy = finding.remedy.clone().unwrap_or_default();
                Finding::fail("settings", format!("{place}{}", finding.problem), remedy)
            })
            .collect(),
        Error::Registry(findings) => findings
            .iter()
            .map(|finding| {
                let places: String = finding
                    .places
                    .iter()
                    .map(|place| format!("\n{}  {}", place.location, place.what))
                    .collect();
                let places = if finding.places.len() > 1 { places } else { String::new() };
                Finding::fail(CHECK, format!("{}{places}", finding.message), finding.help.clone())
            })
            .collect(),
        Error::Several(errors) => errors.iter().flat_map(refused).collect(),
        error => vec![Finding::fail(CHECK, format!("{error:?}"), "")],
    }
}

/// What keeps its manifest from being read.
pub(super) fn unread(error: &ManifestError) -> Vec<Finding> {
    error
        .mistakes
        .iter()
        .map(|it| Finding::fail("manifest", format!("{}: {}", it.place, it.problem), ""))
        .collect()
}

/// What is odd about one that would start.
pub(super) fn checked(bus: &Bus) -> Vec<Finding> {
    let mut findings =
        vec![Finding::ok(CHECK, "what it declares fits together, and so does its configuration")];
    for warning in &bus.config().warnings {
        let place = if warning.place.is_empty() { "" } else { &format!("{}: ", warning.place) };
        let remedy = warning.remedy.clone().unwrap_or_default();
        findings.push(Finding::warn("settings", format!("{place}{}", warning.problem), remedy));
    }
    findings
}
