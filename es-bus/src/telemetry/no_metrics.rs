//! What stands in for `metrics.rs` without the feature `metrics`: nothing is measured.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Meter;

impl Meter {
    pub(super) fn increment(&self, _how_many: u64) {}
}

pub(super) fn counter(_name: &'static str) -> Meter {
    Meter
}

#[derive(Debug)]
pub(super) struct Meters;

impl Meters {
    pub(super) fn new(_event_types: impl IntoIterator<Item = &'static str>) -> Self {
        Self
    }

    pub(super) fn published(&self, _event_type: &str) {}

    pub(super) fn processed(&self, _event_type: Option<&str>, _is_success: bool, _took: Duration) {}
}

#[derive(Debug)]
pub(super) struct GroupMeters;

impl GroupMeters {
    pub(super) fn new(_group: &str) -> Self {
        Self
    }

    pub(super) fn consumers(&self, _more: f64) {}

    pub(super) fn in_flight(&self, _more: f64) {}

    pub(super) fn held(&self, _more: f64) {}
}

pub(super) fn dead_letter(_reason: &'static str) {}

pub(super) fn slow_handler(_group: &str, _handler: &str) {}

pub(crate) fn tell_link(_is_up: bool, _is_blocked: bool) {}

pub(crate) fn queue_size(_queue: &str, _messages: Option<u64>) {}

pub(crate) fn drift(_kind: &'static str, _how_much: Option<u64>) {}
