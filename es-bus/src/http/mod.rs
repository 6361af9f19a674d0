//! What a bus tells of itself over HTTP: for probes, for Prometheus, for people.
//!
//! | path | code | body |
//! | --- | --- | --- |
//! | `/health` | 200, or 503 where only a new process would help | [`HealthSummary`] |
//! | `/ready` | 200, or 503 while the bus does not do its work | [`HealthSummary`] |
//! | `/health/rabbitmq` | 200, or 503 when it is unhealthy; asks the broker, five seconds at most | [`Health`] |
//! | `/metrics` | 200, or 404 where the program has a recorder of its own | Prometheus' text format |
//!
//! The setting `http` serves them on a port of their own, from before the broker is there until the
//! bus has ended. [`answer`] gives the same answers to a web server of the program's own.

mod prometheus;
mod server;

use http::{Method, Response, StatusCode, header};
use serde::Serialize;

pub(crate) use self::{prometheus::install, server::Server};
use crate::monitor::{Health, HealthStatus, Monitor};

/// The state of a bus, as `/health` and `/ready` tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthSummary {
    /// `healthy`, `degraded` or `unhealthy`. What a probe goes by is the code of the answer.
    pub status: HealthStatus,
    /// Everything that is wrong.
    pub error: Option<String>,
    /// Whether the bus does its work.
    pub ready: bool,
    /// Whether the connections are there.
    pub connected: bool,
    /// Whether every group has a consumer.
    pub consuming: bool,
    /// Events that the broker confirmed.
    pub events_published: u64,
    /// Deliveries that a worker took in hand.
    pub events_consumed: u64,
    /// Runs of handlers that failed.
    pub handler_errors: u64,
    /// Messages that this process sent to dead-letter queues.
    pub dlq_messages: u64,
}

impl From<Health> for HealthSummary {
    fn from(health: Health) -> Self {
        let stats = health.details.stats;
        Self {
            status: health.status,
            error: health.error,
            ready: health.ready,
            connected: stats.is_connected,
            consuming: health.details.consuming,
            events_published: stats.events_published,
            events_consumed: stats.events_consumed,
            handler_errors: stats.handler_errors,
            dlq_messages: stats.messages_sent_to_dlq,
        }
    }
}

/// Answers a request for one of the paths, whoever received it.
///
/// The types are those of the crate `http`, which axum, hyper and others have in common. Takes five
/// seconds at most, and only for `/health/rabbitmq`.
///
/// # Examples
///
/// In a program with axum:
///
/// ```ignore
/// use axum::{Router, extract::{Request, State}};
///
/// async fn bus(State(monitor): State<Monitor>, request: Request) -> Response<String> {
///     es_bus::http::answer(&monitor, request.method(), request.uri().path()).await
/// }
///
/// let app = Router::new()
///     .route("/health", get(bus))
///     .route("/ready", get(bus))
///     .with_state(bus.monitor());
/// ```
pub async fn answer(monitor: &Monitor, method: &Method, path: &str) -> Response<String> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &Mistake { error: "GET or HEAD" });
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/health" => {
            let health = monitor.glance();
            json(good_if(health.live), &HealthSummary::from(health))
        }
        "/ready" => {
            let health = monitor.glance();
            json(good_if(health.ready), &HealthSummary::from(health))
        }
        "/health/rabbitmq" => {
            let health = monitor.health().await;
            json(good_if(health.status != HealthStatus::Unhealthy), &health)
        }
        "/metrics" => match prometheus::render() {
            Some(text) => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            None => respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", NOT_OURS.to_owned()),
        },
        _ => {
            let error = "no such path; there are /health, /ready, /health/rabbitmq and /metrics";
            json(StatusCode::NOT_FOUND, &Mistake { error })
        }
    }
}

/// What `/metrics` says where es-bus does not record.
const NOT_OURS: &str = "the metrics of this process go to a recorder that the program installed itself, before \
     es-bus started: those of es-bus are there too. Scrape that one.\n";

#[derive(Serialize)]
struct Mistake {
    error: &'static str,
}

fn good_if(is_good: bool) -> StatusCode {
    if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response<String> {
    match serde_json::to_string(body) {
        Ok(text) => respond(code, "application/json", text),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

fn respond(code: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    // A proxy that remembers how things were is worse than none.
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
