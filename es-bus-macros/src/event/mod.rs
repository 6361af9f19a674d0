//! `#[event]`: a struct is an event, an enum is a set of them.

mod expand;
mod key;
mod model;
mod parse;
mod serde_attrs;

pub(crate) use self::{expand::expand, parse::parse};
