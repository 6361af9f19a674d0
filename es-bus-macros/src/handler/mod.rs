//! `#[handler]`: a function that handles events.

pub(crate) mod bind;
pub(crate) mod expand;
mod model;
mod parse;

pub(crate) use self::{expand::expand, parse::parse};
