//! A subscription before it is made.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use super::{SubscribeError, Subscription};
use crate::{
    bus::groups::Groups,
    config::{Text, keys},
    error::Result,
    handler::{BoxFuture, TypeMap},
    subscriber::Described,
    topic,
    topology::GroupSpec,
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
    /// Checks what can be checked by itself; binds the keys of the events where none is said.
    pub(in crate::bus) fn check(mut self, state: &TypeMap) -> Result<Self, SubscribeError> {
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
                self.binds = kinds.iter().map(|kind| kind.key.to_owned()).collect();
            }
            Some(kinds) => {
                let events = || kinds.iter().map(|kind| kind.key).collect::<Vec<_>>().join(", ");
                let brings = |key: &String| kinds.iter().any(|kind| topic::matches(key, kind.key));
                if let Some(key) = self.binds.iter().find(|key| !brings(key)) {
                    return Err(SubscribeError::BringsNothing { key: key.clone(), events: events() });
                }
                let is_bound = |event: &str| self.binds.iter().any(|key| topic::matches(key, event));
                if let Some(kind) = kinds.iter().find(|kind| !is_bound(kind.key)) {
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

/// Holds a value to the bounds of its setting.
fn setting(name: &'static str, value: impl Into<Text>) -> Result<(), SubscribeError> {
    let key = keys().find(|key| key.name == name).expect("stands in the table");
    key.check(&value.into()).map_err(|problem| SubscribeError::Setting { setting: name, problem })
}
