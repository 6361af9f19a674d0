//! A broker that is short of memory, then of disk: it reads nothing from connections that publish.

use std::time::Duration;

use es_bus::{Bus, HealthStatus, PublishError, Registry, cli::captured};
use tokio::{task::block_in_place, time::timeout};

use super::load::Load;
use crate::support::{OrderPlaced, Victim, builder, placed, run, soon, stop};

/// Within which an alarm is told of.
const TOLD: Duration = Duration::from_secs(10);
/// Within which events flow again when it is over.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_of_memory_and_of_disk_delay_events_and_lose_none() {
    let node = Victim::get().await;
    let vhost = block_in_place(|| node.vhost("alarms"));
    let url = vhost.url();
    let load = Load::start_on(&node, vhost, &url).await;
    let hasty = builder(&url, Registry::new().event::<OrderPlaced>()).publish_only();
    let hasty = run(hasty.set("publish_timeout", "500ms")).await;

    for (setting, alarm, usual, reason) in [
        ("set_vm_memory_high_watermark", "0.00001", "0.4", "takes no publishes: low on memory"),
        ("set_disk_free_limit", "1000GB", "50MB", "takes no publishes: low on disk"),
    ] {
        block_in_place(|| node.rabbitmqctl(&[setting, alarm]));
        // Of the one that publishes: nothing reaches the other, so that it has nothing to publish again.
        soon("health says why", || {
            let health = load.publishing.monitor().glance();
            let says = health.error.is_some_and(|error| error.contains(reason));
            (health.status == HealthStatus::Degraded && health.live && says).then_some(())
        });
        // A connection is blocked when it publishes, so the first may still pass.
        let refused = timeout(TOLD, async {
            loop {
                if let Err(error) = hasty.publisher().publish(&placed("hasty", 1)).await {
                    return error;
                }
            }
        });
        let refused = refused.await.expect("the broker blocks");
        assert!(matches!(refused, PublishError::TimedOut { .. }), "{refused:?}");
        assert!(refused.to_string().contains("takes no publishes"), "{refused}");
        let program = || {
            Bus::builder()
                .without_environment()
                .registry(Registry::new().event::<OrderPlaced>())
                .publish_only()
        };
        let examined = captured(&["doctor", "--watch", "0s", "--url", &url], "", false, program).await;
        assert_eq!(examined.code, 1, "{examined:?}");
        let told = reason.replace("takes no publishes", "the broker takes none");
        assert!(examined.out.contains(&format!("fail  publishes     {told}")), "{examined:?}");
        block_in_place(|| node.rabbitmqctl(&[setting, usual]));
        load.flows_within(RECOVERY).await;
    }

    assert!(load.errors().is_empty(), "who has the time waits: {:?}", load.errors());
    stop(hasty).await;
    // No connection is lost, so nothing comes twice.
    assert_eq!(load.end().await, [0, 0]);
}
