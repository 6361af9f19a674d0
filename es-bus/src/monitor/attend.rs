//! What goes on beside the workers: the connections are watched, and the queues are measured.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{ANSWER_WITHIN, Monitor};
use crate::{
    telemetry::{queue_size, tell_link},
    topology::Provision,
    transport::LinkState,
};

/// Takes note of every change of the connections, for ever.
///
/// Dropped at the await it has missed nothing: the next one who looks sees how often they were made.
pub(crate) async fn watch_link(monitor: Monitor, provision: std::sync::Arc<Provision>) {
    let mut link = provision.transport().link();
    loop {
        let now = link.borrow_and_update().clone();
        monitor.see(&now);
        tell_link(matches!(now.state, LinkState::Up), now.blocked.is_some());
        if link.changed().await.is_err() {
            return;
        }
    }
}

/// Measures every queue of the topology, time and again.
pub(crate) async fn measure_queues(provision: std::sync::Arc<Provision>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for queue in provision.topology().queues() {
            let is_up = matches!(provision.transport().link().borrow().state, LinkState::Up);
            let status = match is_up {
                true => timeout(ANSWER_WITHIN, provision.transport().queue_status(&queue.name)).await.ok(),
                false => None,
            };
            let messages = status.and_then(Result::ok).flatten().map(|status| status.messages);
            queue_size(queue.name.as_str(), messages);
        }
    }
}
