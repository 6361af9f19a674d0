//! `#[handler]`: a function that handles events.

mod bind;
mod expand;
mod model;
mod parse;

pub(crate) use self::{expand::expand, parse::parse};
