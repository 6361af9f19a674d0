//! `#[group]`: a unit struct that stands for a group and its queue.

mod expand;
mod model;
mod parse;

pub(crate) use self::{expand::expand, parse::parse};
