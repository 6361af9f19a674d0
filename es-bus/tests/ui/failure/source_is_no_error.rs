#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
enum LedgerError {
    #[error("a")]
    #[failure(transparent)]
    A(u64),
//~^ error[E0599] 7 «u64» the method `as_dyn_error` exists for reference `&u64`, but its trait bounds were not satisfied
}

fn main() {}
