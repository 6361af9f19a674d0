use es_bus::{Emit, HandlerError, event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u32,
}

struct Invoice;

#[handler(group = "invoicing")]
async fn invoice(order: OrderPlaced) -> Result<Emit<Invoice>, HandlerError> {
//~^ error[E0277] 41 «Result<Emit<Invoice>, HandlerError>» `Invoice` cannot be what a handler emits
    let _ = order;
    Ok(Emit(Invoice))
}

#[handler(group = "invoicing")]
async fn number(order: OrderPlaced) -> Emit<(OrderPlaced, Option<u32>)> {
//~^ error[E0277] 40 «Emit<(OrderPlaced, Option<u32>)>» `(OrderPlaced, std::option::Option<u32>)` cannot be what a handler emits
    Emit((order, None))
}

#[handler(group = "invoicing")]
async fn bare(order: OrderPlaced) -> Result<OrderPlaced, HandlerError> {
//~^ error[E0277] 38 «Result<OrderPlaced, HandlerError>» a handler cannot return `Result<OrderPlaced, HandlerError>`
    Ok(order)
}

fn main() {}
