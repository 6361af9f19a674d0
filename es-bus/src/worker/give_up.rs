//! Groups without a dead-letter queue: what is given up is counted, told, and gone. Those of an
//! exclusive queue wait here for the next attempt, as their queue goes with the process anyway.

use futures_util::future::join_all;
use rand::Rng;
use tokio::time::sleep;

use super::{
    Fate,
    copies::{Failed, Ran},
    dispatch::Concerned,
    settle::{Handling, NO_ROOM},
};
use crate::{handler::DeliveryInfo, outcome::Decision, telemetry::Counters, wire};

impl Handling {
    /// Runs each handler until it is done with the event, or has no attempts left. The lane of the
    /// event, and one of the `concurrency`, are held meanwhile.
    ///
    /// Killed, or stopped while it waits: the event is gone, with its queue.
    pub(super) async fn run_until_through(
        &self,
        info: &std::sync::Arc<DeliveryInfo>,
        concerned: &Concerned,
    ) -> Vec<Ran> {
        join_all(concerned.run.iter().map(|(handler, attempt)| async {
            let mut attempt = *attempt;
            loop {
                let Ok(mut ran) = self.run_one(info, *handler, attempt).await else {
                    // A layer has no room; there is no queue to give the event back to.
                    tokio::select! {
                        () = sleep(NO_ROOM) => continue,
                        () = self.context.stop.cancelled() => return None,
                    }
                };
                let jitter = self.group.handlers[*handler].policy.jitter;
                let Some(pause) = ran.decision.pause(jitter, || rand::rng().random()) else {
                    return Some(ran);
                };
                tokio::select! {
                    () = sleep(pause) => attempt += 1,
                    () = self.context.stop.cancelled() => {
                        ran.decision = Decision::DeadLetter;
                        return Some(ran);
                    }
                }
            }
        }))
        .await
        .into_iter()
        .flatten()
        .collect()
    }

    /// Tells that an event is lost to a handler, or to all.
    pub(super) fn give_up(&self, failed: &Failed, info: &DeliveryInfo) {
        Counters::add(&self.context.counters.dropped);
        tracing::error!(
            event_id = wire::event_id(info.received()).as_deref(),
            event_type = info.origin().event_type,
            routing_key = info.origin().routing_key,
            group = info.group(),
            handler = failed.handler,
            attempt = failed.attempt,
            reason = failed.reason,
            error = failed.text,
            "dropped: the group keeps no dead letters"
        );
        let fate = Fate::Dropped { error: failed.text.clone() };
        self.observe(info.origin(), failed.handler.as_deref(), failed.attempt, fate);
    }

    /// Counts an event that the broker is to dead-letter itself, or to drop where there is nowhere to.
    pub(super) fn rejected(&self, reason: &'static str) {
        let counters = &self.context.counters;
        if self.group.keeps_dead_letters() {
            counters.dead_letter(reason);
        } else {
            Counters::add(&counters.dropped);
        }
    }

    /// Where the broker moves what is rejected.
    pub(super) fn kept_in(&self) -> &str {
        if self.group.keeps_dead_letters() { self.group.dlq.as_str() } else { "nothing: it is lost" }
    }
}
