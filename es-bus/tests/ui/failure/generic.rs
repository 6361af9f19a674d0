#![allow(dead_code)]
use es_bus::Failure;

#[derive(Debug, Failure, thiserror::Error)]
#[error("a")]
#[failure(retry)]
struct Generic<T: std::fmt::Debug>(T);
//~^ error 15 «<T: std::fmt::Debug>» a failure cannot be generic: its verdict is looked up by its concrete type

fn main() {}
