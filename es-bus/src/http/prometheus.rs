//! The recorder behind `/metrics`.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::telemetry::{SECONDS, SECONDS_BUCKETS};

/// The recorder of this process, when it is ours. A process has one recorder, however many buses.
static OURS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, unless the program has one of its own.
pub(crate) fn install() {
    OURS.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), SECONDS_BUCKETS)
            .inspect_err(|error| tracing::error!(%error, "no buckets for {SECONDS}"))
            .ok()?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        match metrics::set_global_recorder(recorder) {
            Ok(()) => Some(handle),
            Err(_there_is_one) => {
                tracing::info!("metrics go to the recorder that the program installed; /metrics has none");
                None
            }
        }
    });
}

/// What Prometheus reads; `None` where the recorder is not ours.
pub(super) fn render() -> Option<String> {
    Some(ours()?.render())
}

/// Puts away what was recorded since the last time: a process that nobody scrapes would keep all of it.
pub(super) fn upkeep() {
    if let Some(handle) = ours() {
        handle.run_upkeep();
    }
}

fn ours() -> Option<&'static PrometheusHandle> {
    OURS.get().and_then(Option::as_ref)
}
