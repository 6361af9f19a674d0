//! Event → envelope → message → confirm.
//!
//! In comes an event; out goes the id that the broker confirmed it under, or a [`PublishError`].
//! A publish that is interrupted is sent again under the same id until its timeout.
//!
//! `publisher` sends one, `lanes` several in order, `batch` a list with a report, `background` what
//! nobody waits for, `emit` what a handler returns; `options` is what can be said of an event, `raw`
//! a message that is none.

mod background;
mod batch;
mod emit;
mod lanes;
mod options;
mod publisher;
mod raw;
mod report;
mod turns;

pub(crate) use self::{background::Background, publisher::lane};
pub use self::{
    background::PublishHandle,
    batch::{BatchItem, PublishAll},
    emit::{Emission, Emit},
    options::Publish,
    publisher::{Publisher, PublisherSettings},
    raw::RawPublish,
    report::{Failed, PublishReport},
};
pub use crate::{event::AnyEvent, transport::PublishError};

use self::publisher::Prepared;
