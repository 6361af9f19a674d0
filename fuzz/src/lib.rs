//! What is fuzzed: one function per target, which takes whatever bytes there are and panics over a promise
//! that does not hold.
//!
//! `cargo fuzz run wire` feeds them what it finds; a test of the workspace (`tests/corpus.rs`) feeds
//! them the inputs in `corpus`, and variations of those.

mod attributes;
mod configuration;
mod dead_letters;
mod env_file;
mod headers;
mod input;
mod patterns;
mod wire;

pub use self::{
    attributes::attributes, configuration::configuration, dead_letters::dead_letters, env_file::env_file,
    headers::headers, patterns::patterns, wire::wire,
};
