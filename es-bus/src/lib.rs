//! Events over RabbitMQ: annotated structs and functions, routing checked at compile time, topology
//! provisioned, nothing lost.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Words: what a message is.
pub mod duration;
pub mod event;
mod event_set;
pub mod message;
mod metadata;
pub mod name;
mod outcome;
mod retry;
mod suggest;
pub mod topic;
pub mod wire;
// The topology as nouns.
pub mod model;
// What the program declares.
mod blocking;
mod check_macro;
mod const_check;
mod extract;
mod handler;
pub mod registry;
// Brokers.
pub mod transport;
// Work.
mod clock;
pub mod publish;
pub mod telemetry;
pub mod topology;
pub mod worker;
// Front doors.
mod bus;
pub mod config;
mod error;
mod logging;
mod shutdown;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use self::{
    blocking::abandoned_threads,
    bus::{Bus, BusBuilder, Handle, run},
    error::{Error, Result},
    event::Event,
    extract::{Delivered, Envelope, FromDelivery, Input, Need, RawEvent, State},
    handler::{Attempt, BoxFuture, Call, DeliveryInfo, Invocation, TypeMap},
    metadata::Metadata,
    outcome::{BoxError, Failure, FailureKind, HandlerError, IntoOutcome, Outcome, Verdict},
    publish::{PublishError, PublishReport, Publisher},
    registry::Registry,
    retry::RetryPolicy,
};

/// The attributes; each page shows every key with an example.
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use es_bus_macros::{Failure, event, group, handler};
