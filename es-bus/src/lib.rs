//! Events over RabbitMQ: annotated structs and functions, routing checked at compile time, topology
//! provisioned, nothing lost.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Words: what a message is.
pub mod duration;
pub mod event;
pub mod message;
mod metadata;
pub mod name;
mod outcome;
mod retry;
pub mod topic;
pub mod wire;
// The topology as nouns.
pub mod model;
// What the program declares.
mod extract;
mod handler;
pub mod registry;
// Brokers.
pub mod transport;
// Front doors.
pub mod config;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use self::{
    event::Event,
    extract::{Delivered, Envelope, FromDelivery, Input, Need, RawEvent, State},
    handler::{Attempt, BoxFuture, Call, DeliveryInfo, Invocation, Origin, TypeMap},
    metadata::Metadata,
    outcome::{BoxError, Failure, FailureKind, HandlerError, IntoOutcome, Outcome, Verdict},
    retry::RetryPolicy,
};
