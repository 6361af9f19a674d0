//! A program that installs a recorder of its own keeps it. In a binary of its own: a process has one.

use es_bus::{Bus, Registry, http::answer};
use http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;

#[tokio::test]
async fn metrics_go_to_the_recorder_that_was_there_first() {
    let own = PrometheusBuilder::new().install_recorder().unwrap();

    let bus = Bus::builder().without_environment().url("memory://").set("http", "0");
    let bus = bus.registry(Registry::new()).publish_only().build().unwrap().start().await.unwrap();
    let metrics = answer(&bus.monitor(), &Method::GET, "/metrics").await;

    assert_eq!(metrics.status(), 404);
    assert!(metrics.body().contains("a recorder that the program installed itself"), "{}", metrics.body());
    assert!(own.render().contains("es_bus_publish_confirms_total 0"), "{}", own.render());
    bus.stop().await.unwrap();
}
