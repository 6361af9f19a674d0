#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
enum LedgerError {
    #[error("a")]
    #[failure(rety)]
//~^ error 15 «rety» unknown key `rety`, did you mean `retry`? (known keys: `retry`, `retry_after`, `reject`, `drop`, `transparent`)
    A,
    #[error("b")]
    #[failure(retry_after = 30)]
//~^ error 29 «30» `retry_after` of `#[failure]` takes a duration: `retry_after = "30s"`
    B,
    #[error("c")]
    #[failure(retry_after = "30 sec")]
//~^ error 29 «"30 sec"» duration "30 sec" has the unknown unit "sec", use one of ms, s, m, h, d
    C,
    #[error("d")]
    #[failure(retry_after)]
//~^ error 15 «retry_after» `retry_after` of `#[failure]` takes a duration: `retry_after = "30s"`
    D,
    #[error("e")]
    #[failure(dead_letter)]
//~^ error 15 «dead_letter» unknown key `dead_letter`, did you mean `reject`?
    E,
    #[error("f")]
    #[failure = "retry"]
//~^ error 5 «#[failure = "retry"]» write `#[failure(retry)]`, `#[failure(reject)]`, ...
    F,
    #[error("g")]
    #[failure(retry = 3)]
//~^ error 23 «3» `retry` of `#[failure]` takes no value: write `retry` alone
    G,
}

fn main() {}
