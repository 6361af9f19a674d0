//! What everything published within a piece of work has in common: the request or the event that is
//! behind it.
//!
//! A task-local, so that code between the front door and the publisher need not pass it on. The
//! worker sets it to the handled event, a web server to what it knows of the request; the publisher
//! reads it.

use std::{fmt, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{handler::Invocation, metadata::Metadata};

tokio::task_local! {
    static CURRENT: Current;
}

/// What is said of every event that is published within a [`scope()`].
///
/// What an event says of itself ([`Publish`](crate::publish::Publish)) comes first, then what the
/// [`Publisher`](crate::Publisher) of a handler knows of the handled event, then this.
///
/// # Examples
///
/// ```
/// use es_bus::Scope;
///
/// let scope = Scope::new().correlation_id("request-1").tenant("acme").metadata("channel", "web");
/// # let _ = scope;
/// ```
#[derive(Clone, Default, PartialEq)]
#[must_use = "a scope says something once it is given to `es_bus::scope`"]
pub struct Scope {
    pub(crate) correlation_id: Option<String>,
    pub(crate) causation_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) actor_id: Option<String>,
    pub(crate) metadata: Map<String, Json>,
    /// What was said that cannot be; whoever publishes is told.
    pub(crate) invalid: Option<String>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The metadata may hold what belongs in no log.
        f.debug_struct("Scope")
            .field("correlation_id", &self.correlation_id)
            .field("causation_id", &self.causation_id)
            .finish_non_exhaustive()
    }
}

impl Scope {
    /// A scope that says nothing of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is said where this is called: to carry it over to a task or a thread, neither of which
    /// inherits it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use es_bus::{Publisher, PublishError, Scope, event::Event};
    /// # fn later<E: Event>(publisher: Publisher, event: E) {
    /// tokio::spawn(es_bus::scope(Scope::current(), async move {
    ///     publisher.publish(&event).await
    /// }));
    /// # }
    /// ```
    pub fn current() -> Self {
        current().map_or_else(Self::default, |scope| (*scope).clone())
    }

    /// As part of this process: one id for everything that a request set off.
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// As caused by this event, or command.
    pub fn causation_id(mut self, causation_id: impl Into<String>) -> Self {
        self.causation_id = Some(causation_id.into());
        self
    }

    /// For this tenant.
    pub fn tenant(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(tenant_id.into());
        self
    }

    /// As caused by this user.
    pub fn actor(mut self, actor_id: impl Into<String>) -> Self {
        self.actor_id = Some(actor_id.into());
        self
    }

    /// With a word of metadata in the envelope. One that JSON cannot say is an error of whatever is
    /// published within.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => {
                self.metadata.insert(name, value);
            }
            Err(error) => self.invalid = Some(format!("metadata {name:?} is no JSON value: {error}")),
        }
        self
    }

    /// What this says, and where it is silent, what `outer` says.
    fn within(mut self, outer: &Self) -> Self {
        let or = |own: &mut Option<String>, outer: &Option<String>| {
            if own.is_none() {
                own.clone_from(outer);
            }
        };
        or(&mut self.correlation_id, &outer.correlation_id);
        or(&mut self.causation_id, &outer.causation_id);
        or(&mut self.tenant_id, &outer.tenant_id);
        or(&mut self.actor_id, &outer.actor_id);
        or(&mut self.invalid, &outer.invalid);
        for (name, value) in &outer.metadata {
            if !self.metadata.contains_key(name) {
                self.metadata.insert(name.clone(), value.clone());
            }
        }
        self
    }
}

/// As caused by an event: in its process, for its tenant and actor. Its own words of metadata stay
/// its own.
impl From<Metadata> for Scope {
    fn from(cause: Metadata) -> Self {
        Self {
            correlation_id: cause.correlation_id,
            // A message of another system may have no id.
            causation_id: Some(cause.event_id).filter(|id| !id.is_empty()),
            tenant_id: cause.tenant_id,
            actor_id: cause.actor_id,
            metadata: Map::new(),
            invalid: None,
        }
    }
}

/// Runs a future; whatever is published in it carries what `said` says.
///
/// Inside another scope, and inside a handler, it adds to what is said there: what it says itself
/// comes first. That is looked up when this function is called, so that
/// `tokio::spawn(es_bus::scope(Scope::new(), ..))` carries it into a task, which would otherwise
/// know nothing of it.
///
/// # Examples
///
/// A layer of a web server. Whatever the handlers behind it publish carries the id of the request:
///
/// ```
/// use es_bus::{PublishError, Publisher, Scope, event::Event};
///
/// struct Request {
///     id: String,
///     tenant: String,
/// }
///
/// async fn middleware<R>(request: Request, next: impl AsyncFnOnce(Request) -> R) -> R {
///     let said = Scope::new().correlation_id(&request.id).tenant(&request.tenant);
///     es_bus::scope(said, next(request)).await
/// }
///
/// async fn place_order<E: Event>(publisher: &Publisher, placed: E) -> Result<(), PublishError> {
///     publisher.publish(&placed).await?; // correlation and tenant are those of the request
///     Ok(())
/// }
/// ```
pub fn scope<F: Future>(said: impl Into<Scope>, future: F) -> impl Future<Output = F::Output> {
    let said = said.into();
    let said = match current() {
        Some(outer) => said.within(&outer),
        None => said,
    };
    CURRENT.scope(Current::Said(Arc::new(said)), future)
}

/// Runs a handler: what is published in it is caused by the event that it handles.
pub(crate) fn handling<F: Future>(
    invocation: Invocation,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    CURRENT.scope(Current::Handles(invocation), future)
}

/// The function, within the scope of whoever calls this, on whichever thread it is run.
pub(crate) fn carried<R>(function: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let current = CURRENT.try_with(Clone::clone).ok();
    move || match current {
        Some(current) => CURRENT.sync_scope(current, function),
        None => function(),
    }
}

/// What is said here, if anything is.
pub(crate) fn current() -> Option<Arc<Scope>> {
    CURRENT
        .try_with(|current| match current {
            Current::Said(said) => Arc::clone(said),
            // A raw event of a foreign format has no envelope to carry on.
            Current::Handles(invocation) => {
                Arc::clone(invocation.said().get_or_init(|| {
                    Arc::new(invocation.metadata().map_or_else(|_| Scope::new(), Scope::from))
                }))
            }
        })
        .ok()
}

#[derive(Clone)]
enum Current {
    /// What somebody said.
    Said(Arc<Scope>),
    /// What the event says that is handled: read when it is asked for, which most handlers never do.
    Handles(Invocation),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_inner_scope_adds_to_the_outer_one() {
        let outer = Scope::new().correlation_id("request-1").tenant("acme").metadata("channel", "web");
        let inner = Scope::new().tenant("umbrella").actor("jane").metadata("step", 2);

        let (within, after) = scope(outer.clone(), async {
            let within = scope(inner, async { Scope::current() }).await;
            (within, Scope::current())
        })
        .await;

        let expected = Scope::new()
            .correlation_id("request-1")
            .tenant("umbrella")
            .actor("jane")
            .metadata("step", 2)
            .metadata("channel", "web");
        assert_eq!(within, expected);
        assert_eq!(after, outer);
        assert_eq!(Scope::current(), Scope::new());
    }

    #[tokio::test]
    async fn a_task_knows_of_it_when_it_is_carried_over() {
        let said = Scope::new().correlation_id("request-1");

        let (bare, carried) = scope(said.clone(), async {
            let bare = tokio::spawn(async { Scope::current() });
            let carried = tokio::spawn(scope(Scope::new(), async { Scope::current() }));
            (bare.await.unwrap(), carried.await.unwrap())
        })
        .await;

        assert_eq!((bare, carried), (Scope::new(), said));
    }
}
