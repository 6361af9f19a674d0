//! How many handlers a bus has, and of what.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{event::Event, topology::GroupSpec};

/// How many handlers a running bus has at one moment: those marked `#[handler]` and those that were
/// subscribed.
///
/// # Examples
///
/// ```
/// # async fn of(running: &es_bus::Handle) -> serde_json::Result<()> {
/// let subscribers = running.subscriptions().subscribers();
///
/// println!("{} handlers, {} of them for every event", subscribers.total, subscribers.wildcard);
/// println!("{}", serde_json::to_string(&subscribers)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Subscribers {
    /// All handlers, each once.
    pub total: usize,
    /// Handlers of raw events, which name no type.
    pub wildcard: usize,
    /// Handlers of each event, by its routing key; one that takes several events counts at each.
    pub events: BTreeMap<String, usize>,
    /// Handlers of each group.
    pub groups: BTreeMap<String, usize>,
}

impl Subscribers {
    /// The handlers that name an event; for an event set, summed over its events.
    #[must_use]
    pub fn of<E: Event>(&self) -> usize {
        E::KINDS.iter().filter_map(|kind| self.events.get(kind.key)).sum()
    }

    pub(in crate::bus) fn of_groups<'a>(groups: impl IntoIterator<Item = &'a GroupSpec>) -> Self {
        let mut count = Self::default();
        for group in groups {
            count.groups.insert(group.name.as_str().to_owned(), group.handlers.len());
            count.total += group.handlers.len();
            for handler in &group.handlers {
                match handler.kinds.as_deref() {
                    None => count.wildcard += 1,
                    Some(kinds) => {
                        for kind in kinds {
                            *count.events.entry(kind.key.to_owned()).or_default() += 1;
                        }
                    }
                }
            }
        }
        count
    }
}
