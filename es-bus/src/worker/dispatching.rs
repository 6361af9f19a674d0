//! What a worker does between taking a delivery and settling it, where it ends well: for those who measure it.

use std::{fmt, sync::Arc};

use super::{
    call::run,
    dispatch::{Plan, plan},
};
use crate::{
    handler::{Attempt, DeliveryInfo, Invocation, TypeMap},
    topology::GroupSpec,
    wire::names,
};

/// Runs the handlers of a group, and settles nothing.
pub struct Dispatching {
    group: Arc<GroupSpec>,
    state: Arc<TypeMap>,
}

impl fmt::Debug for Dispatching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatching").field("group", &self.group.name).finish_non_exhaustive()
    }
}

impl Dispatching {
    pub(crate) fn new(group: Arc<GroupSpec>, state: Arc<TypeMap>) -> Self {
        Self { group, state }
    }

    /// Runs whom it concerns, each within its time; says how many succeeded.
    pub async fn dispatch(&self, delivery: &Arc<DeliveryInfo>) -> usize {
        let headers = &delivery.received().message.headers;
        let aggregate_type = headers.get_str(names::AGGREGATE_TYPE);
        let plan = plan(&self.group, delivery.origin(), headers, aggregate_type, Vec::new(), 0);
        let Plan::Handlers(concerned) = plan else { return 0 };
        let mut succeeded = 0;
        for (handler, number) in concerned.run {
            let spec = &self.group.handlers[handler];
            let (name, state) = (Arc::clone(&spec.name), Arc::clone(&self.state));
            let attempt = Attempt { number, retries: spec.policy.retries };
            let invocation = Invocation::new(Arc::clone(delivery), name, attempt, state);
            succeeded += usize::from(run(spec.call.clone(), invocation, spec.timeout).await.is_done());
        }
        succeeded
    }
}
