//! `#[derive(Failure)]`: what each error of a type asks for.

mod expand;
mod model;
mod parse;

pub(crate) use self::{expand::expand, parse::parse};
