//! A crate that forgives nothing.
#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub, unused_qualifications, missing_debug_implementations, missing_copy_implementations, rust_2018_idioms, single_use_lifetimes, unused_lifetimes, let_underscore_drop, warnings, clippy::all, clippy::pedantic, clippy::nursery)]

use es_bus::{Failure, State, event, group, handler};
use serde::{Deserialize, Serialize};

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = id)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    id: String,
}

/// What happens to orders.
#[event(aggregate = "Order")]
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum OrderEvent {
    /// One was placed.
    Placed(OrderPlaced),
    /// One was paid.
    #[event(version = 2)]
    Paid {
        /// The sum.
        total: u64,
    },
    /// One is gone.
    Gone,
}

/// What keeps the orders in view.
#[group(prefetch = 10)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projections;

/// Why it did not work.
#[derive(Debug, Failure, thiserror::Error)]
pub(crate) enum ProjectionError {
    /// Somebody else has it.
    #[error("busy")]
    #[failure(retry)]
    Busy,
    /// Something inside.
    #[error(transparent)]
    #[failure(transparent)]
    Other(#[from] anyhow::Error),
}

/// Keeps the orders in view.
#[handler(group = Projections, bind = "Order.*")]
pub(crate) async fn project(event: OrderEvent, State(total): State<u64>) -> Result<(), ProjectionError> {
    match (event, total) {
        (OrderEvent::Placed(order), 0) if order.id.is_empty() => Err(ProjectionError::Busy),
        (OrderEvent::Paid { total }, 0) if total == 0 => Err(anyhow::anyhow!("no money").into()),
        _ => Ok(()),
    }
}

/// Writes the orders down.
#[handler(group = "audit")]
pub(crate) fn audit(event: OrderEvent) {
    drop(event);
}

fn main() {}
