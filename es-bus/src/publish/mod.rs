//! Event → envelope → message → confirm.
//!
//! In comes an event; out goes the id that the broker confirmed it under, or a [`PublishError`].
//! A publish that is interrupted is sent again under the same id until its timeout.

mod options;
mod publisher;
mod report;

pub(crate) use self::publisher::lane;
pub use self::{
    options::Publish,
    publisher::{Publisher, PublisherSettings},
    report::{Failed, PublishReport},
};
pub use crate::transport::PublishError;
