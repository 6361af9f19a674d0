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
//! | declare | [`macro@event`], [`macro@handler`], [`macro@group`], [`macro@exchange`], [`derive@Failure`] |
//! | take what a handler needs | [`Envelope`], [`RawEvent`], [`State`], [`Metadata`], [`Delivered`], [`Attempt`], [`Lease`], [`Publisher`], your own [`FromDelivery`] |
//! | say what a failure means | [`HandlerError`], [`Verdict`] |
//! | publish | [`Publisher`], [`Emit`], [`scope()`] |
//! | look at what failed, and replay it | [`dead_letters`] |
//! | run | [`run`], [`Bus`], [`Handle`] |
//! | plan what a deploy changes on the broker | [`Bus::plan`], [`plan`], the feature `management` |
//! | read a stream again | [`Bus::set_stream_position`], the guide to [groups](guide::groups#read-a-stream) |
//! | change a queue while it is used | [`Bus::migrate`], [`migrate`] |
//! | subscribe while it runs | [`Subscriptions`], [`Subscriber`] |
//! | observe | [`Monitor`], [`Stats`], [`Health`], the features `metrics` and `http` |
//! | operate | `cli::run` (feature `cli`): a command line in the program itself; the binary `es-bus`, over its `es-bus.lock` |
//! | configure | [`config`] |
//! | check | [`check!`], [`Registry`] |
//! | ask who gets an event, and why a handler does not | [`Bus::explain`], [`explain`] |
//! | export | [`Topology`](model::Topology), [`Bus::permissions`], [`Bus::asyncapi`], [`Registry::schemas`] |
//! | agree to what changes | [`lock`] |
//! | test | `testing::TestBus` (feature `testing`) |
//!
//! # Guides
//!
//! The [`guide`] has a page per theme, from [what is guaranteed](guide::guarantees) to
//! [a mixed fleet during a deploy](guide::mixed_fleet). In short: at least once; a kill at any moment
//! leaves at worst a duplicate, under the same [`Metadata::event_id`].
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
mod exchange;
mod location;
pub mod message;
mod metadata;
pub mod name;
mod otel;
mod outcome;
mod percent;
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
mod schema;
mod scope;
mod subscriber;
// Brokers.
pub mod transport;
// Work.
mod clock;
pub mod dead_letters;
pub mod publish;
pub mod telemetry;
mod topology;
pub mod worker;
// Front doors.
mod asyncapi;
mod bus;
#[cfg(feature = "cli")]
#[cfg_attr(docsrs, doc(cfg(feature = "cli")))]
pub mod cli;
pub mod config;
mod error;
pub mod guide;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
pub mod lock;
mod logging;
mod monitor;
mod shutdown;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use self::{
    blocking::abandoned_threads,
    bus::{
        Bus, BusBuilder, Handle, Subscribe, SubscribeError, Subscribers, Subscription, Subscriptions, run,
    },
    error::{Error, Result},
    event::Event,
    extract::{Delivered, Envelope, FromDelivery, Input, Lease, Need, RawEvent, State},
    handler::{Attempt, BoxFuture, Call, DeliveryInfo, HandlerService, Invocation, TypeMap},
    metadata::Metadata,
    monitor::{
        ConnectionStatus, Details, Drift, GroupHealth, Health, HealthStatus, Monitor, Part, Problem,
        QueueInfo, QueueInfoError, QueueState, Stats,
    },
    outcome::{BoxError, Failure, FailureKind, HandlerError, IntoOutcome, Outcome, Verdict},
    publish::{AnyEvent, Emit, PublishError, PublishHandle, PublishReport, Publisher},
    registry::Registry,
    retry::RetryPolicy,
    schema::EventSchema,
    scope::{Scope, scope},
    subscriber::{BlockingFn, HandlerFn, Subscriber},
    topology::{Conflict, GraphFinding, Severity, explain, migrate, plan, position::StreamError},
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
#[doc = include_str!("docs/exchange.md")]
pub use es_bus_macros::exchange;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/group.md")]
pub use es_bus_macros::group;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("docs/handler.md")]
pub use es_bus_macros::handler;
