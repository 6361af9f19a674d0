#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
enum LedgerError {
    #[error("a")]
    #[failure(transparent)]
//~^ error 15 «transparent» `transparent` asks the error inside `A`: mark its field `#[source]`, or keep only that field
    A,
    #[error("b")]
    #[failure(transparent)]
//~^ error 15 «transparent» `transparent` asks the error inside `B`: mark its field `#[source]`, or keep only that field
    B { left: std::fmt::Error, right: std::fmt::Error },
}

fn main() {}
