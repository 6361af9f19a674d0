//! The layers that the builder is given, until there is something to put them around.

use tower::{Layer, Service};

use super::BusBuilder;
use crate::{
    handler::{HandlerService, Invocation, Level},
    outcome::{BoxError, Outcome},
    topology::{GroupSpec, HandlerSpec},
    worker::innermost,
};

/// Puts a layer around a service.
type Around = Box<dyn FnOnce(HandlerService) -> HandlerService + Send>;

/// What a layer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Bus,
    Group(String),
    Handler { group: String, handler: String },
}

/// Layers, in the order in which they were added.
#[derive(Default)]
pub(super) struct Layers(Vec<(Scope, Around)>);

impl Layers {
    /// The groups and handlers that something is layered around.
    pub(super) fn targets(&self) -> Vec<(&str, Option<&str>)> {
        let target = |scope| match scope {
            &Scope::Bus => None,
            Scope::Group(group) => Some((group.as_str(), None)),
            Scope::Handler { group, handler } => Some((group.as_str(), Some(handler.as_str()))),
        };
        self.0.iter().filter_map(|(scope, _)| target(scope)).collect()
    }

    /// What is layered around the bus.
    pub(super) fn bus(&mut self) -> Option<HandlerService> {
        self.wrap(&Scope::Bus, None, || HandlerService::inwards(Level::Bus))
    }

    /// What is layered around a group, besides what its attribute says.
    pub(super) fn group(&mut self, group: &mut GroupSpec) {
        let scope = Scope::Group(group.name.as_str().to_owned());
        group.service = self.wrap(&scope, group.service.take(), || HandlerService::inwards(Level::Group));
        for handler in &mut group.handlers {
            let scope = Scope::Handler {
                group: group.name.as_str().to_owned(),
                handler: handler.name.as_ref().to_owned(),
            };
            handler.service = self.wrap(&scope, handler.service.take(), || unlayered(handler));
        }
    }

    fn wrap(
        &mut self,
        scope: &Scope,
        there: Option<HandlerService>,
        inner: impl FnOnce() -> HandlerService,
    ) -> Option<HandlerService> {
        let is_meant = |(of, _): &mut (Scope, Around)| of == scope;
        let mut layers = self.0.extract_if(.., is_meant).peekable();
        if layers.peek().is_none() {
            return there;
        }
        let inner = there.unwrap_or_else(inner);
        Some(layers.fold(inner, |inner, (_, around)| around(inner)))
    }
}

/// A handler that no layer is around yet.
pub(super) fn unlayered(handler: &HandlerSpec) -> HandlerService {
    innermost(handler.call.clone(), handler.timeout)
}

impl BusBuilder {
    /// Puts a layer around everything that the bus handles.
    ///
    /// A layer is a [`tower::Layer`] over [`HandlerService`]: those of tower 0.5, or your own. One
    /// instance of its service takes every delivery, so that a limit counts all of them. Of several
    /// layers the one that was added last is outermost; the bus's stand around the group's, and those
    /// around the handler's. [The guide](crate::guide::handlers#middleware) tells what waiting,
    /// shedding, and failing in a layer lead to.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use es_bus::Bus;
    /// use tower::limit::RateLimitLayer;
    ///
    /// let builder = Bus::builder()
    ///     .layer(RateLimitLayer::new(100, Duration::from_secs(1)))
    ///     .layer_for_group("projections", tower::limit::ConcurrencyLimitLayer::new(4));
    /// # drop(builder);
    /// ```
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
        <L::Service as Service<Invocation>>::Error: Into<BoxError>,
        <L::Service as Service<Invocation>>::Future: Send + 'static,
    {
        self.layer_around(Scope::Bus, layer)
    }

    /// Puts a layer around everything that a group handles; around what `#[group(layer = ..)]` says.
    pub fn layer_for_group<L>(self, group: &str, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
        <L::Service as Service<Invocation>>::Error: Into<BoxError>,
        <L::Service as Service<Invocation>>::Future: Send + 'static,
    {
        self.layer_around(Scope::Group(group.to_owned()), layer)
    }

    /// Puts a layer around one handler; around what `#[handler(layer = ..)]` says.
    pub fn layer_for_handler<L>(self, group: &str, handler: &str, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
        <L::Service as Service<Invocation>>::Error: Into<BoxError>,
        <L::Service as Service<Invocation>>::Future: Send + 'static,
    {
        self.layer_around(Scope::Handler { group: group.to_owned(), handler: handler.to_owned() }, layer)
    }

    fn layer_around<L>(mut self, scope: Scope, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
        <L::Service as Service<Invocation>>::Error: Into<BoxError>,
        <L::Service as Service<Invocation>>::Future: Send + 'static,
    {
        self.layers.0.push((scope, Box::new(|inner| inner.layered(layer))));
        self
    }
}
