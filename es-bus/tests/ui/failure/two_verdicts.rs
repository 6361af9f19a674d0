#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
enum LedgerError {
    #[error("busy")]
    #[failure(retry, reject)]
//~^ error 22 «reject» `Busy` asks for one thing: `retry`, `retry_after`, `reject`, `drop` or `transparent`
    Busy,
    #[error("torn")]
    #[failure(retry)]
    #[failure(drop)]
//~^ error 5 «#[failure(drop)]» `#[failure]` is given twice: a failure asks for one thing
    Torn,
}

fn main() {}
