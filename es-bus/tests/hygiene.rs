//! The attributes in a crate that forgives nothing, and what is registered of it.
//!
//! `tests/ui/pass` holds what has to compile; this file is also read by clippy.
#![cfg(feature = "macros")]
#![forbid(unsafe_code)]
#![deny(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    missing_copy_implementations,
    rust_2018_idioms,
    let_underscore_drop,
    single_use_lifetimes,
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]

/// Domain of the tests.
pub mod orders {
    use es_bus::{Failure, State, event, group, handler};
    use serde::{Deserialize, Serialize};

    /// An order was placed.
    #[event(aggregate = "Order", aggregate_id = id)]
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct OrderPlaced {
        /// Which.
        pub id: String,
    }

    /// What happens to orders.
    #[event(aggregate = "Order")]
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub enum OrderEvent {
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
    pub struct OrderProjections;

    /// Why it did not work.
    #[derive(Debug, Failure, thiserror::Error)]
    pub enum ProjectionError {
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
    ///
    /// # Errors
    ///
    /// When somebody else does.
    #[handler(group = OrderProjections, bind = "Order.*")]
    pub async fn project(event: OrderEvent, State(total): State<u64>) -> Result<(), ProjectionError> {
        tokio::task::yield_now().await;
        match (event, total) {
            (OrderEvent::Placed(order), 0) if order.id.is_empty() => Err(ProjectionError::Busy),
            (OrderEvent::Paid { total: 0 }, _) => Err(anyhow::anyhow!("no money").into()),
            _ => Ok(()),
        }
    }

    /// Writes the orders down.
    #[handler(group = "audit")]
    pub(crate) fn audit(event: OrderEvent) {
        drop(event);
    }

    mod deeper {
        #[super::handler(group = "audit")]
        async fn deepest(event: super::OrderPlaced) {
            tokio::task::yield_now().await;
            drop(event);
        }
    }
}

#[test]
fn everything_is_registered_wherever_it_stands() {
    let registry = format!("{:?}", es_bus::Registry::collected());

    for name in [
        "\"OrderPlaced\"",
        "\"OrderEvent\"",
        "\"order-projections\"",
        "\"project\"",
        "\"audit\"",
        "\"deepest\"",
    ] {
        assert!(registry.contains(name), "{name} is missing in {registry}");
    }
    assert_eq!(es_bus::registry::failures().len(), 1);
}

// The domain above is sound, so this test of a service passes.
es_bus::check!();
