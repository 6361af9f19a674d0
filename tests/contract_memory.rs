//! The contract of a transport, on the in-process broker and a paused clock.

use std::sync::Arc;

use es_bus::{model::QueueKind, transport::memory::Memory};

use self::contract::Fixture;

#[macro_use]
mod contract;

async fn setup(kind: QueueKind) -> Fixture {
    Fixture::new(Arc::new(Memory::new()), kind)
}

contract!(
    #[tokio::test(start_paused = true)]
    setup
);
