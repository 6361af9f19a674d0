//! `#[exchange]`: a unit struct that stands for an exchange.

mod expand;
mod from;
mod model;
mod parse;
mod reference;

pub(crate) use self::{
    expand::expand,
    parse::parse,
    reference::{ExchangeName, take_exchange},
};
