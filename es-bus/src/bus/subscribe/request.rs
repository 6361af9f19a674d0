//! A subscription before it is made.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use super::{SubscribeError, Subscription};
use crate::{
    bus::groups::Groups,
    config::{Text, keys},
    error::Result,
    event::EventKind,
    exchange::{ExchangeKind, Misfit},
    handler::{BoxFuture, TypeMap},
    subscriber::Described,
    topic,
    topology::{Exchanges, GroupSpec},
};

/// A subscription that is to be made: `.await` it, after saying whatever else is to be said.
#[must_use = "nothing is subscribed until it is awaited"]
pub struct Subscribe {
    groups: Arc<Groups>,
    wanted: Wanted,
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Subscribe {
    pub(super) fn new(groups: Arc<Groups>, group: String, handler: Described) -> Self {
        let wanted = Wanted { group, handler, name: None, binds: Vec::new(), retries: None, timeout: None };
        Self { groups, wanted }
    }

    /// Names the handler: what retries find it by, also after a restart. Else it is named after the
    /// event, with a number where that name is taken: `OrderPlaced`, `OrderPlaced-2`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.wanted.name = Some(name.into());
        self
    }

    /// Binds the queue by this key (`Order.*`) instead of the keys of the handler's events; may be
    /// said several times.
    pub fn bind(mut self, key: impl Into<String>) -> Self {
        self.wanted.binds.push(key.into());
        self
    }

    /// How often a failed event is tried again, instead of what the configuration says of the group.
    pub fn retries(mut self, retries: u32) -> Self {
        self.wanted.retries = Some(retries);
        self
    }

    /// How long one run may take, instead of what the configuration says of the group.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wanted.timeout = Some(timeout);
        self
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.groups.subscribe(self.wanted).await })
    }
}

/// What is to be subscribed.
#[derive(Debug)]
pub(in crate::bus) struct Wanted {
    pub(in crate::bus) group: String,
    pub(in crate::bus) handler: Described,
    pub(in crate::bus) binds: Vec<String>,
    pub(in crate::bus) retries: Option<u32>,
    pub(in crate::bus) timeout: Option<Duration>,
    name: Option<String>,
}

impl Wanted {
    /// Checks what can be checked before its group is known.
    pub(in crate::bus) fn check(
        self,
        state: &TypeMap,
        exchanges: &Exchanges,
    ) -> Result<Self, SubscribeError> {
        if let Some(name) = &self.name
            && (name.is_empty() || name.chars().any(char::is_control))
        {
            return Err(SubscribeError::Name { name: name.clone() });
        }
        if let Some(need) = self.handler.needs.iter().find(|need| !state.contains(need.id)) {
            return Err(SubscribeError::NoState { type_name: need.type_name });
        }
        self.retries.map_or(Ok(()), |retries| setting("retries", retries))?;
        self.timeout.map_or(Ok(()), |timeout| setting("timeout", timeout))?;
        for key in &self.binds {
            check_key(key)?;
        }
        match self.handler.kinds {
            None if self.binds.is_empty() => return Err(SubscribeError::NoKey),
            None => {}
            Some(kinds) if self.binds.is_empty() => {
                if let Some(kind) = kinds.iter().find(|kind| is_lost(kind, exchanges)) {
                    return Err(SubscribeError::NoHeaders { event: kind.key.to_owned() });
                }
            }
            Some(kinds) => {
                let events = || kinds.iter().map(|kind| kind.key).collect::<Vec<_>>().join(", ");
                let delivers = |key: &String, kind: &EventKind| {
                    exchanges.kind(exchanges.of(kind)).may_deliver(key, kind.key)
                };
                let brings = |key: &String| kinds.iter().any(|kind| delivers(key, kind));
                if let Some(key) = self.binds.iter().find(|key| !brings(key)) {
                    kinds.iter().try_for_each(|kind| misfit(key, exchanges.of(kind), exchanges))?;
                    return Err(SubscribeError::BringsNothing { key: key.clone(), events: events() });
                }
                let is_bound = |kind: &EventKind| self.binds.iter().any(|key| delivers(key, kind));
                if let Some(kind) = kinds.iter().find(|kind| !is_bound(kind)) {
                    return Err(SubscribeError::NotBound { event: kind.key.to_owned() });
                }
            }
        }
        Ok(self)
    }

    /// Its name among the handlers of a group.
    pub(in crate::bus) fn name_in(&self, group: &GroupSpec) -> Result<String, SubscribeError> {
        let is_taken =
            |name: &str| group.handlers.iter().any(|it| *it.name == *name || it.formerly.contains(&name));
        match &self.name {
            Some(name) if is_taken(name) => {
                Err(SubscribeError::NameTaken { group: group.name.as_str().to_owned(), name: name.clone() })
            }
            Some(name) => Ok(name.clone()),
            None if !is_taken(self.handler.name) => Ok(self.handler.name.to_owned()),
            None => {
                let numbered = (2..).map(|number: u64| format!("{}-{number}", self.handler.name));
                Ok(numbered.into_iter().find(|name| !is_taken(name)).expect("there are numbers enough"))
            }
        }
    }
}

/// Checks a binding key of a running program as the macro checks one in its source.
pub(super) fn check_key(key: &str) -> Result<(), SubscribeError> {
    match topic::binding_key_fault(key) {
        None => Ok(()),
        Some(fault) => Err(SubscribeError::Key { key: key.to_owned(), fault: fault.describe() }),
    }
}

/// Refuses a key that its exchange does not look at, or takes literally.
pub(in crate::bus) fn misfit(key: &str, exchange: &str, exchanges: &Exchanges) -> Result<(), SubscribeError> {
    let kind = exchanges.kind(exchange);
    let Some(misfit) = Misfit::of_key(key, kind) else { return Ok(()) };
    Err(SubscribeError::Misfit {
        key: key.to_owned(),
        exchange: exchange.to_owned(),
        kind: kind.as_str(),
        remedy: match misfit {
            Misfit::Pattern => "there `*` and `#` are literal, write whole keys",
            Misfit::Shares => {
                "there each group has a share of everything, subscribe without a key to what it takes by type"
            }
            Misfit::NoKeys => "there everything comes, write \"#\" or none",
            Misfit::OnlyHeaders | Misfit::NoHeaders => {
                "there only headers count, mark a function `#[handler(bind(headers(..)))]`"
            }
        },
    })
}

/// Whether nothing tells an event apart on the exchange that it is published to.
pub(in crate::bus) fn is_lost(kind: &EventKind, exchanges: &Exchanges) -> bool {
    exchanges.kind(exchanges.of(kind)) == ExchangeKind::Headers && !kind.selects_itself()
}

/// What a group is to be bound by.
#[derive(Debug)]
pub(in crate::bus) enum Wish {
    /// A key, on the home exchange.
    Key(String),
    /// Events, each on its own exchange and as that one tells them apart.
    Events(&'static [EventKind]),
}

/// Holds a value to the bounds of its setting.
fn setting(name: &'static str, value: impl Into<Text>) -> Result<(), SubscribeError> {
    let key = keys().find(|key| key.name == name).expect("stands in the table");
    key.check(&value.into()).map_err(|problem| SubscribeError::Setting { setting: name, problem })
}
