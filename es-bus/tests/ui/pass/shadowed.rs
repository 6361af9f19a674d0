//! A module in which every name of the standard library means something else.
#![allow(dead_code, non_camel_case_types)]

mod std {}
mod core {}
mod alloc {}
mod es_bus_shadow {}
mod serde_json {}
struct Result;
struct Option;
struct Vec;
struct Box;
struct String;
struct Some;
struct None;
struct Ok;
struct Err;
struct Cow;
trait Send {}
trait Sync {}
trait Sized {}
trait Future {}
trait Into {}
trait From {}
trait ToString {}
trait Event {}
trait Handler {}
trait Group {}
trait Failure {}
struct Input;
struct Call;
struct Invocation;
struct Outcome;

#[es_bus::event(aggregate = "Order", aggregate_id = id)]
#[derive(serde::Serialize, serde::Deserialize)]
struct OrderPlaced {
    id: i32,
}

mod plain {
    #[derive(Debug, es_bus::Failure, thiserror::Error)]
    pub(crate) enum LedgerError {
        #[error("busy")]
        #[failure(retry_after = "30s")]
        Busy,
    }

    #[es_bus::event(aggregate = "Order")]
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) enum OrderEvent {
        Placed(super::OrderPlaced),
        Paid { id: i32 },
        Gone,
    }
}

/// The primitive types too; serde's derives would not bear it.
mod primitives {
    struct str;
    struct u32;
    struct u64;
    struct usize;
    struct bool;

    #[es_bus::event]
    enum Both {
        Placed(super::OrderPlaced),
    }

    #[es_bus::group(prefetch = 10)]
    struct Group;

    #[es_bus::handler(group = Group, retries = 3)]
    async fn both(event: Both) {
        let _ = event;
    }
}

#[es_bus::group(prefetch = 10)]
struct Projections;

#[es_bus::handler(group = Projections, bind = ["Order.*"])]
async fn project(event: OrderPlaced, _total: es_bus::State<i32>) -> ::std::result::Result<(), plain::LedgerError> {
    let _ = event.id;
    ::std::result::Result::Ok(())
}

#[es_bus::handler(group = "audit")]
fn audit(event: plain::OrderEvent) {
    let _ = event;
}

fn main() {}
