//! Exchanges as the program says them: what an exchange is ([`ExchangeDef`]), how each kind picks
//! queues ([`ExchangeKind`]), and what a handler asks one for ([`Bind`]).
//!
//! Everything is plain data that a `const` may hold, so that the macros' expansions can ask at
//! compile time what the check asks at start and the worker at each delivery. Next: `model`, the
//! exchange as AMQP declares it.

mod bind;
mod def;
mod kind;

pub(crate) use self::bind::Misfit;
pub use self::{
    bind::{Bind, HeadersMatch, Match},
    def::{ExchangeDef, ExchangeRef, SourceDef},
    kind::ExchangeKind,
};
