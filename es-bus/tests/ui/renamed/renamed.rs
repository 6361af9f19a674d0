//! The dependency has another name.
use my_bus::{Failure, event, group, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", crate = my_bus)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[event(aggregate = "Order", crate = my_bus)]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed(OrderPlaced),
    Paid { id: u64 },
}

#[group(crate = my_bus)]
struct Projections;

#[derive(Debug, Failure, thiserror::Error)]
#[failure(crate = my_bus)]
enum LedgerError {
    #[error("busy")]
    #[failure(retry)]
    Busy,
}

#[derive(Debug, Failure, thiserror::Error)]
#[error("torn")]
#[failure(reject, crate = my_bus)]
struct Torn;

#[handler(group = Projections, crate = ::my_bus, bind = "Order.*")]
async fn project(event: OrderEvent) -> Result<(), LedgerError> {
    match event {
        OrderEvent::Placed(order) if order.id == 0 => Err(LedgerError::Busy),
        OrderEvent::Placed(_) => Ok(()),
        OrderEvent::Paid { id } => (id > 0).then_some(()).ok_or(LedgerError::Busy),
    }
}

#[handler(group = "g", crate = my_bus)]
async fn torn(_event: OrderEvent) -> Result<(), Torn> {
    Err(Torn)
}

fn main() {}
