//! Brings a broker to a topology: declares what is missing, tells what differs.

use futures_util::{StreamExt, stream};

use crate::{
    handler::BoxFuture,
    model::Topology,
    transport::{Admin, DeclareError},
};

/// How many declarations are under way at once.
const PARALLEL: usize = 16;

/// What stands in the way of a topology.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the broker cannot be brought to the declared topology ({} {})", errors.len(), if errors.len() == 1 { "finding" } else { "findings" })]
pub struct ApplyError {
    /// Everything that was refused, in the order of the topology.
    pub errors: Vec<DeclareError>,
}

impl ApplyError {
    /// Whether the connection was lost on the way, so that trying again may help.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Interrupted { .. }))
    }
}

/// Declares every exchange, then every queue, then every binding; then takes back those that must not
/// be there.
///
/// Idempotent. Nothing is bound while an exchange or a queue is refused, so that no event flows
/// into half a topology; all refusals are reported together.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
///
/// # Cancel safety
///
/// Dropped half-way it leaves a part of the topology; applied again it goes on.
pub async fn apply(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let exchanges = topology.exchanges().map(|exchange| admin.declare_exchange(exchange)).collect();
    let mut errors = refusals(exchanges).await;
    let queues = topology.queues().map(|queue| admin.declare_queue(queue)).collect();
    errors.extend(refusals(queues).await);
    if !errors.is_empty() {
        return Err(ApplyError { errors });
    }
    // One after another: the order of bindings is part of what the topology says.
    for binding in topology.bindings() {
        if let Err(error) = admin.bind(binding).await {
            errors.push(error);
        }
    }
    for binding in topology.unbound() {
        if let Err(error) = admin.unbind(binding).await {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Runs declarations side by side, and gives what was refused in their order.
async fn refusals(declarations: Vec<BoxFuture<'_, Result<(), DeclareError>>>) -> Vec<DeclareError> {
    stream::iter(declarations).buffered(PARALLEL).filter_map(async |result| result.err()).collect().await
}
