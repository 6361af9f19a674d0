#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
//~^ error[E0599] 17 «Failure» the method `as_dyn_error` exists for reference `&u64`, but its trait bounds were not satisfied
enum LedgerError {
    #[error("a")]
    #[failure(transparent)]
    A(u64),
}

fn main() {}
