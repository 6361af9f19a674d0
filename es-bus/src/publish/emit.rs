//! What a handler returns to have it published.

use super::{AnyEvent, Publisher, batch::publish_all};
use crate::{
    event::{Event, EventKind},
    handler::Invocation,
    metadata::Metadata,
    outcome::{HandlerError, IntoHandlerError, IntoOutcome, Outcome},
    wire,
};

/// The result of a handler that says what follows from the event: published before the event is
/// acknowledged.
///
/// `T` is an event, an event set, an `Option`, a `Vec` or a tuple (up to eight) of such. It stands
/// alone or in a `Result`:
///
/// ```
/// # mod es_bus_example {
/// # use es_bus::{event, handler, Emit, HandlerError};
/// # use serde::{Deserialize, Serialize};
/// #[event(aggregate = "Order", aggregate_id = order_id)]
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlaced { order_id: String, total: u64 }
///
/// #[event(aggregate = "Invoice", aggregate_id = order_id)]
/// #[derive(Serialize, Deserialize)]
/// struct InvoiceIssued { order_id: String, total: u64 }
///
/// #[event(aggregate = "Fraud")]
/// #[derive(Serialize, Deserialize)]
/// struct ReviewAsked { order_id: String }
///
/// #[handler(group = "invoicing")]
/// async fn invoice(
///     order: OrderPlaced,
/// ) -> Result<Emit<(InvoiceIssued, Option<ReviewAsked>)>, HandlerError> {
///     let review = (order.total > 10_000).then(|| ReviewAsked { order_id: order.order_id.clone() });
///     Ok(Emit((InvoiceIssued { order_id: order.order_id, total: order.total }, review)))
/// }
/// # }
/// ```
///
/// What is emitted is caused by the handled event: it carries on its correlation, tenant and actor.
/// Each id is derived from the handled event's id, the queue, the handler, the event type and its
/// place among the events of that type, so that the handler, run again, emits the same ids. Only
/// after a message of another system that has no id are they new each time.
///
/// Start-up declares the exchanges of what may be emitted, and
/// [`Registry::kinds`](crate::Registry::kinds) has it.
///
/// # When it is published
///
/// After the handler has returned, in the order of the value for each aggregate, and before what
/// extractors have registered to be completed: before a transaction commits. All of it together may
/// take `publish_timeout`, whatever the timeout of the handler.
///
/// # What goes wrong
///
/// An event that is not confirmed makes the attempt a failed one: the handled event is retried, and
/// dead-lettered in the end. Killed in between, the handler runs again. Either way an event may go
/// out twice, under the same id; none is lost. A value that is other on the second run is published
/// as it is then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emit<T>(pub T);

/// What can be emitted: events, and what holds events.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a handler emits",
    label = "not an event",
    note = "`Emit<T>` takes a type marked `#[event(aggregate = \"...\")]`, or an `Option`, a `Vec` or a tuple of such types"
)]
pub trait Emission {
    /// The events that such a value may hold.
    fn kinds(kinds: &mut Vec<&'static EventKind>);

    /// Shows each event that the value holds, in order.
    fn each(&self, visit: &mut dyn FnMut(&dyn AnyEvent));
}

#[diagnostic::do_not_recommend]
impl<E: Event> Emission for E {
    fn kinds(kinds: &mut Vec<&'static EventKind>) {
        kinds.extend(E::KINDS);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyEvent)) {
        visit(self);
    }
}

impl<T: Emission> Emission for Option<T> {
    fn kinds(kinds: &mut Vec<&'static EventKind>) {
        T::kinds(kinds);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyEvent)) {
        self.iter().for_each(|emitted| emitted.each(visit));
    }
}

impl<T: Emission> Emission for Vec<T> {
    fn kinds(kinds: &mut Vec<&'static EventKind>) {
        T::kinds(kinds);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyEvent)) {
        self.iter().for_each(|emitted| emitted.each(visit));
    }
}

macro_rules! tuples {
    ($(($($name:ident),+);)+) => {$(
        impl<$($name: Emission),+> Emission for ($($name,)+) {
            fn kinds(kinds: &mut Vec<&'static EventKind>) {
                $($name::kinds(kinds);)+
            }

            #[allow(non_snake_case)]
            fn each(&self, visit: &mut dyn FnMut(&dyn AnyEvent)) {
                let ($($name,)+) = self;
                $($name.each(visit);)+
            }
        }
    )+};
}

tuples! {
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
    (A, B, C, D, E, F);
    (A, B, C, D, E, F, G);
    (A, B, C, D, E, F, G, H);
}

impl<T: Emission> IntoOutcome for Emit<T> {
    fn emits(kinds: &mut Vec<&'static EventKind>) {
        T::kinds(kinds);
    }

    fn into_outcome(self, invocation: &Invocation) -> Outcome {
        match emit(&self.0, invocation) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error),
        }
    }
}

impl<T: Emission, E: IntoHandlerError> IntoOutcome for Result<Emit<T>, E> {
    fn emits(kinds: &mut Vec<&'static EventKind>) {
        T::kinds(kinds);
    }

    fn into_outcome(self, invocation: &Invocation) -> Outcome {
        match self {
            Ok(emit) => emit.into_outcome(invocation),
            Err(error) => Outcome::Failed(error.into_handler_error()),
        }
    }
}

/// Encodes what is emitted, and has it published before the event is settled.
fn emit(emission: &impl Emission, invocation: &Invocation) -> Result<(), HandlerError> {
    let publisher = invocation
        .state::<Publisher>()
        .ok_or_else(|| HandlerError::retry("this bus has no publisher".to_owned()))?;
    // A raw event of a foreign format has no envelope to carry on.
    let cause = invocation.metadata().ok();
    let mut ids = Ids::new(invocation, cause.as_ref());
    let publisher = match cause {
        Some(cause) => publisher.caused_by(cause),
        None => publisher,
    };
    let mut prepared = Vec::new();
    let mut refused = None;
    emission.each(&mut |event| {
        let id = ids.next(event.any_kind());
        let publish = publisher.publish_any(event).id(id);
        let lane = publish.lane();
        match publish.prepare() {
            Ok(event) => prepared.push((lane, Ok(event))),
            Err(error) => refused = refused.take().or(Some(error)),
        }
    });
    if let Some(error) = refused {
        return Err(error.into());
    }
    if prepared.is_empty() {
        return Ok(());
    }
    let within = publisher.settings().timeout;
    // The publisher's own limit ends it first, with a better word.
    let limit = within + std::time::Duration::from_secs(1);
    invocation.on_outcome_within(limit, move |outcome| {
        // A blocking handler whose time was up may come here long after.
        let is_done = outcome.is_done();
        Box::pin(async move {
            if !is_done {
                return Ok(());
            }
            match tokio::time::timeout(within, publish_all(publisher, prepared.into_iter())).await {
                Ok(report) if report.is_complete() => Ok(()),
                Ok(report) => Err(format!("what the handler emits was not published: {report}").into()),
                Err(_elapsed) => {
                    Err(format!("what the handler emits was not confirmed within {within:?}").into())
                }
            }
        })
    });
    Ok(())
}

/// Makes the ids of what one handler emits for one event, the same ones whenever it runs.
struct Ids {
    handled: uuid::Uuid,
    by: String,
    /// How many of each event there were, so that an optional event moves no other's id.
    counts: Vec<(&'static EventKind, usize)>,
}

impl Ids {
    fn new(invocation: &Invocation, cause: Option<&Metadata>) -> Self {
        let delivery = invocation.delivery();
        let message = &delivery.received().message;
        let id = cause.map(|cause| cause.event_id.as_str()).or(message.properties.message_id.as_deref());
        let handled = match id {
            // Two messages of another system without ids may say the same and be two all the same:
            // an id made of what they say would have the second taken for a duplicate.
            None | Some("") => uuid::Uuid::now_v7(),
            Some(id) => wire::wire_id(id),
        };
        Self { handled, by: format!("{}\n{}", delivery.queue(), invocation.handler()), counts: Vec::new() }
    }

    fn next(&mut self, kind: &'static EventKind) -> String {
        let same = |of: &EventKind| of.aggregate == kind.aggregate && of.name == kind.name;
        let at = self.counts.iter().position(|(of, _)| same(of)).unwrap_or_else(|| {
            self.counts.push((kind, 0));
            self.counts.len() - 1
        });
        let count = &mut self.counts[at].1;
        let name = format!("{}\n{}\n{}\n{count}", self.by, kind.aggregate, kind.name);
        *count += 1;
        uuid::Uuid::new_v5(&self.handled, name.as_bytes()).to_string()
    }
}
