//! Events between services, over RabbitMQ.
//!
//! Annotate event structs and handler functions; es-bus checks the routing at compile time,
//! provisions exchanges, queues, retry queues and dead-letter queues, and runs the workers. An event
//! that the broker has confirmed is handled, dead-lettered with a reason, or still in a queue.
//!
//! ```no_run
//! use es_bus::{event, handler};
//! use serde::{Deserialize, Serialize};
//!
//! #[event(aggregate = "Order", aggregate_id = order_id)]
//! #[derive(Serialize, Deserialize)]
//! struct OrderPlaced {
//!     order_id: String,
//!     total: f64,
//! }
//!
//! #[handler(group = "projections", bind = "Order.*")]
//! async fn project(order: OrderPlaced) -> Result<(), std::io::Error> {
//!     println!("{} over {}", order.order_id, order.total);
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> es_bus::Result<()> {
//!     es_bus::run().await
//! }
//! ```
//!
//! # What to look at
//!
//! | to | see |
//! | --- | --- |
//! | declare | [`macro@event`], [`macro@handler`], [`macro@group`], [`derive@Failure`] |
//! | take what a handler needs | [`Envelope`], [`RawEvent`], [`State`], [`Metadata`], [`Delivered`], [`Attempt`], [`Publisher`], your own [`FromDelivery`] |
//! | say what a failure means | [`HandlerError`], [`Verdict`] |
//! | publish | [`Publisher`] |
//! | run | [`run`], [`Bus`], [`Handle`] |
//! | configure | [`config`] |
//! | check | [`check!`], [`Registry`] |
//! | test | `testing::TestBus` (feature `testing`) |
//!
//! # What is guaranteed
//!
//! At least once: a delivery is acknowledged when its outcome is on the broker, so a kill at any
//! moment leaves at worst a duplicate, under the same [`Metadata::event_id`]. Events of one
//! aggregate are handled in order within a process; an event that waits for its retry is overtaken.
//!
//! # Mixed fleets
//!
//! While old and new replicas of a service share a group's queue:
//!
//! | the new one | an old one that gets such a delivery |
//! | --- | --- |
//! | handles a further event | lets it wait in the broker (30 s, 40 times), in a group with exact bindings; skips it under a wide binding, or as `on_unknown` says |
//! | has a further handler | runs those that it has; the new handler does not see what an old replica took |
//! | renamed a handler (`formerly = ["old"]`) | hands retries of the old name on to the new one; retries of the new name wait on the old replica for a new one |
//! | removed a handler | still runs it; a retry that meets only new replicas waits, then is dead-lettered as `handler_gone` |
//! | changed a policy | goes by its own; each delay has its own queue, so none is declared differently |
//!
//! # Linking
//!
//! A crate that no code names is not linked, and what it declares does not exist. Where events or
//! handlers live in a library, your own `src/lib.rs` included, name it in `main.rs`:
//! `use my_handlers as _;`.
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
mod topology;
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
    topology::Conflict,
};

#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/failure.md")]
pub use es_bus_macros::Failure;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/event.md")]
pub use es_bus_macros::event;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/group.md")]
pub use es_bus_macros::group;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/handler.md")]
pub use es_bus_macros::handler;
