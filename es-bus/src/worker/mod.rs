//! One worker per group: takes deliveries, runs handlers, settles each delivery exactly one way.
//!
//! `consumer` is the loop that holds the connection, `lanes` says which delivery may start,
//! `dispatch` which handlers it goes to, `call` runs one, `layered` through the layers around it,
//! `copies` decides what has to be published before the delivery is acknowledged, `settle` does it;
//! `give_up` is for groups that keep nothing, `in_place` for those in strict order; `watchdog` finds a
//! consumer that the broker has forgotten. `suspects` says which events may have ended a process, `alone`
//! handles them, `handover` tells them from what was given back. `stream` brings what is in the stream of a group to
//! the queue.
//!
//! What a kill leaves behind, at each await: before the copies are confirmed, the delivery is not
//! acknowledged and comes again; between the copies and the acknowledgement, it comes again beside
//! its copies, a duplicate; after it, nothing is left to do.

mod alone;
mod assignment;
mod call;
mod consumer;
mod copies;
mod dispatch;
mod dispatching;
mod full;
mod give_up;
mod handover;
mod in_place;
mod lanes;
mod layered;
mod left;
mod overtaken;
mod settle;
mod stream;
mod suspects;
mod watchdog;

pub(crate) use self::{
    assignment::{Assignment, Post},
    call::innermost,
    dispatching::Dispatching,
    full::FullQueues,
    handover::Handovers,
};

use std::{sync::Arc, time::Duration};

use tokio::sync::{RwLock, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    handler::{HandlerService, TypeMap},
    outcome::FailureKind,
    telemetry::Counters,
    topology::{GroupSpec, Provision, ProvisionError},
};

/// What a worker works with.
#[derive(Clone)]
pub(crate) struct WorkerContext {
    /// The broker.
    pub(crate) provision: Arc<Provision>,
    /// What the program provided, and the publisher.
    pub(crate) state: Arc<TypeMap>,
    /// What time it is.
    pub(crate) clock: Clock,
    /// What happened.
    pub(crate) counters: Arc<Counters>,
    /// What was layered around the bus.
    pub(crate) service: Option<HandlerService>,
    /// The name of this process, for the broker's list of consumers.
    pub(crate) consumer_name: String,
    /// How many bytes properties and headers of a message may have together.
    pub(crate) header_limit: usize,
    /// Whether runs of handlers are traced.
    pub(crate) tracing: bool,
    /// Stops taking deliveries, and ends once what is in hand is done.
    pub(crate) stop: CancellationToken,
    /// Ends at once; what is in hand goes back.
    pub(crate) kill: CancellationToken,
    /// After how long without a delivery a consumer is looked after.
    pub(crate) watchdog: Option<Duration>,
    /// Which retry queues and dead-letter queues were found full.
    pub(crate) full: FullQueues,
    /// Read by each run of a handler, written by the one that is to be alone.
    pub(crate) alone: Arc<RwLock<()>>,
    /// Where deliveries were given back.
    pub(crate) handovers: Handovers,
    /// Is told what became of every delivery.
    pub(crate) observer: Option<mpsc::UnboundedSender<Observation>>,
}

/// What became of a delivery, or of one handler's run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// The group.
    pub group: String,
    /// The handler; `None` where no handler ran.
    pub handler: Option<String>,
    /// The event type, as far as the message claims one.
    pub event_type: Option<String>,
    /// The routing key that the event was first published with.
    pub routing_key: String,
    /// How many attempts failed before.
    pub attempt: u32,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an event, for one handler.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// The handler is done with it.
    Handled,
    /// It comes back.
    Retried {
        /// What kind of failure it was.
        kind: FailureKind,
        /// What went wrong.
        error: String,
        /// After at least this long, jitter aside.
        after: Duration,
    },
    /// It went to the dead-letter queue.
    DeadLettered {
        /// What kind of failure it was; `None` when no handler knows the event.
        kind: Option<FailureKind>,
        /// Why.
        error: String,
    },
    /// The handler chose to forget it.
    Dropped {
        /// Why.
        error: String,
    },
    /// A wide binding brought it, or it is retired, and no handler takes it.
    Skipped,
    /// It waits for a replica that knows it.
    Waited,
    /// It went back without an attempt: a layer sheds load, or was not ready while it could be
    /// waited for.
    GivenBack,
}

impl WorkerContext {
    /// Says that what comes again of a group from here did not end a process.
    async fn note_handover(&self, group: &GroupSpec) {
        self.handovers.leave(&self.provision, group, self.clock.now()).await;
    }
}

/// Consumes a group's queue until it is told to stop, or until nobody wants the group any more.
///
/// Returns once everything in hand is settled or given back.
///
/// # Errors
///
/// [`ProvisionError`] when the broker cannot be used and waiting does not help.
pub(crate) async fn work(post: Post, context: WorkerContext) -> Result<(), ProvisionError> {
    consumer::Loop::new(post, context).run().await
}
