#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure)]
enum LedgerError {
//~^ error[E0277] 6 «LedgerError» the trait bound `LedgerError: std::error::Error` is not satisfied
    #[failure(retry)]
    Busy,
}

fn main() {}
