#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
enum LedgerError {
    #[error("busy")]
    #[failure(retry)]
    Busy,
    #[error("unknown")]
    Unknown,
//~^ error 5 «Unknown» what does the variant `Unknown` ask for? Write `#[failure(retry)]` when another attempt may help, `#[failure(reject)]` when none can, `#[failure(drop)]` to forget the event, or `#[failure(transparent)]` to ask the error inside
    #[error("torn")]
    #[failure()]
    Torn,
//~^ error 5 «Torn» what does the variant `Torn` ask for? Write `#[failure(retry)]` when another attempt may help, `#[failure(reject)]` when none can, `#[failure(drop)]` to forget the event, or `#[failure(transparent)]` to ask the error inside
}

#[derive(Debug, Failure, thiserror::Error)]
#[error("whole")]
struct Whole;
//~^ error 8 «Whole» what does the error `Whole` ask for? Write `#[failure(retry)]` when another attempt may help, `#[failure(reject)]` when none can, `#[failure(drop)]` to forget the event, or `#[failure(transparent)]` to ask the error inside

fn main() {}
