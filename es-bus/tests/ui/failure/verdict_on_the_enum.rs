#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
#[failure(retry)]
//~^ error 11 «retry» `retry` belongs on a variant: each failure says for itself what it asks for
enum LedgerError {
    #[error("busy")]
    #[failure(retry)]
    Busy,
}

#[derive(Failure)]
union Either {
//~^ error 1 «union» `Failure` is derived for an error enum, or for an error struct
    a: u64,
    b: i64,
}

fn main() {}
