//! The definitions that the macros write: plain data, with the place where each stands.

use std::fmt;

use serde_json::Value as Json;

use crate::{
    event::{AnyEvent, EventKind},
    exchange::{Bind, ExchangeDef},
    extract::{Input, Need},
    handler::{Call, LayerFn},
    location::Location,
    outcome::{BoxError, VerdictOf},
};

/// What `#[event]` says about a type.
#[derive(Debug)]
pub struct EventDef {
    /// The bus that the event belongs to.
    pub bus: &'static str,
    /// The name of the type.
    pub type_name: &'static str,
    /// The events that the type declares: those of a set that it only refers to are not among them.
    pub kinds: &'static [EventKind],
    /// Whether the type is a second view of an event that another type declares.
    pub view: bool,
    /// Whether it is an event set.
    pub is_set: bool,
    /// The JSON Schema of the type, when it has one.
    pub schema: fn() -> Option<Json>,
    /// Reads one of [`Self::kinds`] from JSON; only where something could ask for it (feature `cli`).
    pub decode: Option<DecodeFn>,
    /// Where it stands.
    pub location: Location,
}

/// Reads the event of a name (its [`EventKind::name`]) from the JSON of its own fields.
pub type DecodeFn = fn(&str, &[u8]) -> Result<Box<dyn AnyEvent>, BoxError>;

/// What `#[group]` says about a group.
#[derive(Debug)]
pub struct GroupDef {
    /// The bus that the group belongs to.
    pub bus: &'static str,
    /// The name of the group.
    pub name: &'static str,
    /// Names that it had before.
    pub formerly: &'static [&'static str],
    /// Settings, by the names that the configuration knows them by.
    pub settings: &'static [(&'static str, &'static str)],
    /// The home exchange, when it is named by a type marked `#[exchange]`.
    pub exchange: Option<&'static ExchangeDef>,
    /// The layer around everything that the group handles.
    pub layer: Option<LayerFn>,
    /// Where it stands.
    pub location: Location,
}

/// How a handler names its group.
#[derive(Clone, Copy, Debug)]
pub struct GroupRef {
    /// The name of the group.
    pub name: &'static str,
    /// The definition, when the handler names a type marked `#[group]`.
    pub def: Option<&'static GroupDef>,
}

/// What `#[handler]` says about a function.
pub struct HandlerDef {
    /// The bus that the handler belongs to.
    pub bus: &'static str,
    /// Its group.
    pub group: GroupRef,
    /// Its name: unique in the group, and what retries find it by.
    pub name: &'static str,
    /// Names that it had before.
    pub formerly: &'static [&'static str],
    /// What it asks for: what `bind` says, else the keys of the events it takes.
    pub binds: &'static [Bind],
    /// Whether `bind` was written.
    pub has_bind: bool,
    /// Whether it binds to events that other services own, so that no known one need match.
    pub foreign: bool,
    /// What its arguments are, in order.
    pub inputs: &'static [Input],
    /// Gathers what has to be provided.
    pub needs: fn(&mut Vec<Need>),
    /// The events that its result may publish.
    pub emits: Emitted,
    /// Policy of its own, by the names that the configuration knows it by.
    pub settings: &'static [(&'static str, &'static str)],
    /// The layer around it.
    pub layer: Option<LayerFn>,
    /// Runs it.
    pub call: Call,
    /// Where it stands.
    pub location: Location,
}

/// How it is known what a handler's result may publish.
#[derive(Clone, Copy, Debug)]
pub enum Emitted {
    /// The type of the result gathers it.
    By(fn(&mut Vec<&'static EventKind>)),
    /// It is these.
    These(&'static [EventKind]),
}

impl HandlerDef {
    /// The events that it takes; `None` for a handler of raw events.
    #[must_use]
    pub fn kinds(&self) -> Option<&'static [EventKind]> {
        self.inputs.iter().find_map(|input| match input {
            Input::Event { kinds, .. } => Some(*kinds),
            Input::Raw | Input::Side => None,
        })
    }

    /// The events that its result may publish (`Emit<T>`), in the order in which it names them.
    #[must_use]
    pub fn emitted(&self) -> Vec<&'static EventKind> {
        match self.emits {
            Emitted::By(gather) => {
                let mut kinds = Vec::new();
                gather(&mut kinds);
                kinds
            }
            Emitted::These(kinds) => kinds.iter().collect(),
        }
    }
}

impl fmt::Debug for HandlerDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerDef")
            .field("group", &self.group.name)
            .field("name", &self.name)
            .field("binds", &self.binds)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// What `#[derive(Failure)]` says about an error type.
#[derive(Debug)]
pub struct FailureDef {
    /// Reads the verdict of an error of that type.
    pub verdict: VerdictOf,
}

/// A type marked `#[group]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a group",
    label = "not marked `#[group]`",
    note = "mark the type: `#[group] struct {Self};`, or name the group by a text: `group = \"...\"`"
)]
pub trait Group {
    /// What the attribute says.
    const DEF: &'static GroupDef;
}

/// A type marked `#[exchange]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an exchange",
    label = "not marked `#[exchange]`",
    note = "mark the type: `#[exchange] struct {Self};`, or name the exchange by a text: `exchange = \"...\"`"
)]
pub trait Exchange {
    /// What the attribute says.
    const DEF: &'static ExchangeDef;
}

/// The marker type that stands beside every function marked `#[handler]`, under the same name.
pub trait Handler {
    /// What the attribute says.
    const DEF: &'static HandlerDef;
}

/// A type marked `#[event]`, as the registry takes it by hand.
pub trait DeclaredEvent: crate::event::Event {
    /// What the attribute says.
    const DEF: &'static EventDef;
}
