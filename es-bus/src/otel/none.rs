//! What stands in for spans in a build without them.

use super::Run;
use crate::{
    message::Received,
    outcome::{Decision, Outcome},
    transport::{Publication, PublishError},
};

#[derive(Clone)]
pub(crate) struct Parent;

impl Parent {
    pub(crate) fn current() -> Self {
        Self
    }
}

pub(crate) struct Sending;

impl Sending {
    pub(crate) fn start(_enabled: bool, _parent: &Parent, _publication: &mut Publication) -> Self {
        Self
    }

    pub(crate) fn end(self, _result: Result<(), &PublishError>) {}
}

pub(crate) struct Processing;

impl Processing {
    pub(crate) fn start(_enabled: bool, _received: &Received, _run: &Run<'_>) -> Self {
        Self
    }

    pub(crate) async fn around<T>(&self, future: impl Future<Output = T>) -> T {
        future.await
    }

    pub(crate) fn end(self, _decision: Decision, _outcome: &Outcome) {}
}
