//! Tests that need more than one file of the room.

mod copies;
mod envelope;
mod golden;
mod payloads;
mod properties;
