//! What a service meets, on the in-process broker and a paused clock: one module per story.

#![expect(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]

mod applying;
mod asyncapi;
mod background;
mod batches;
mod cli;
mod dead_letters;
mod dispatch;
mod drift;
mod emit;
mod exchanges;
mod extractors;
mod faults;
mod groups;
mod isolation;
mod keys;
mod lease;
mod limits;
mod lock;
mod manifest;
mod middleware;
mod migrations;
mod observing;
mod order;
mod patience;
mod plans;
mod publishing;
mod renames;
mod retries;
mod schema;
mod scope;
mod serving;
mod shutdown;
mod streams;
mod strict;
mod subscribing;
mod support;
mod suspects;
mod watchdog;
