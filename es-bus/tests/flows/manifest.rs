//! The binary `es-bus` over the lock of a program: it tells the same as the program itself.

use std::{fs, path::PathBuf};

use es_bus::{
    Bus, BusBuilder, Emit, RawEvent, Registry,
    cli::{Captured, captured, captured_manifest},
    event, exchange, group, handler,
    lock::Lock,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::support::{InvoiceSent, OrderPlaced, OrderShipped, placed};

#[exchange(name = "lost", kind = "fanout")]
struct Lost;

#[exchange(name = "documents", kind = "headers", alternate_exchange = Lost)]
struct Documents;

#[exchange(
    name = "archive",
    kind = "topic",
    from(Documents, headers(match = "any", format = "pdf", pages = 3))
)]
struct Archive;

#[event(
    aggregate = "Report",
    exchange = Documents,
    headers(format = "pdf", draft = false),
    priority = 3,
    ttl = "5s",
    mandatory,
    version = 2
)]
#[derive(Debug, Serialize, Deserialize)]
struct Rendered {}

#[event(aggregate = "Report", exchange = "archive", key = "report.filed.{region}", payload = "nested")]
#[derive(Debug, Serialize, Deserialize)]
struct Filed {
    region: String,
}

#[event(aggregate = "Payment", aggregate_id = id)]
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct PaymentMade {
    id: String,
    amount: u32,
    note: Option<String>,
}

#[group(max_length = 1000, retired = ["Order.OrderLost"], retry_ladder = ["10s", "2m"])]
struct Projections;

#[handler(group = Projections, bind = "Order.*", formerly = ["enter"], retries = 5, timeout = "20s")]
async fn project(_: OrderPlaced) {}

#[handler(group = Projections)]
async fn ship(_: OrderShipped) {}

#[group(ordering = "strict", queue = "{exchange}.{group}.v2", dlq_ttl = "7d")]
struct Ledger;

#[handler(group = Ledger)]
async fn book(_: InvoiceSent) -> Emit<OrderShipped> {
    Emit(OrderShipped { order_id: "o-1".to_owned() })
}

#[handler(group = Ledger)]
async fn enter(_: PaymentMade) {}

#[group(exchange = Documents, kind = "classic", max_priority = 5)]
struct Desk;

#[handler(group = Desk, bind(headers(match = "all", format = "pdf"), headers(match = "any", pages = 7, urgent = true)))]
async fn print(_: RawEvent) {}

#[group(exclusive)]
struct Caches;

#[handler(group = Caches, bind = "Elsewhere.#", foreign)]
async fn refresh(_: RawEvent) {}

#[handler(group = "filing", backoff(base = "3s", max = "30s"))]
async fn file(_: Filed) {}

fn registry() -> Registry {
    Registry::new()
        .exchange::<Archive>()
        .event::<OrderPlaced>()
        .event::<OrderShipped>()
        .event::<InvoiceSent>()
        .event::<Rendered>()
        .event::<Filed>()
        .handler::<project>()
        .handler::<ship>()
        .event::<PaymentMade>()
        .handler::<book>()
        .handler::<enter>()
        .handler::<print>()
        .handler::<refresh>()
        .handler::<file>()
}

/// The program: its code, and what it sets on its builder.
fn bus() -> BusBuilder {
    let builder = Bus::builder().without_environment().registry(registry()).exchange("shop");
    builder.set("program", "shop").set("unknown_delay", "20s").set("prefetch", 7)
}

/// A directory with the lock of the program.
struct Manifest {
    dir: PathBuf,
    file: String,
}

impl Manifest {
    fn of(name: &str, text: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("es-bus-manifest-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("es-bus.lock");
        fs::write(&file, text).unwrap();
        Self { dir, file: file.to_str().unwrap().to_owned() }
    }

    fn of_program(name: &str) -> Self {
        let bus = bus().url("memory://").build().unwrap_or_else(|error| panic!("{error:?}"));
        Self::of(name, &Lock::of(&bus).to_string())
    }

    async fn run(&self, arguments: &[&str]) -> Captured {
        captured_manifest(&[&["--manifest", &self.file], arguments].concat(), "", false).await
    }

    /// What was printed, with the file as it is mostly named.
    fn shown(&self, captured: &Captured) -> String {
        let Captured { code, out, err } = captured;
        let err = if err.is_empty() { String::new() } else { format!("--- err\n{err}") };
        format!("{out}{err}--- exit {code}\n").replace(&self.file, "es-bus.lock")
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What is its own of each: where its declarations stand, what it is called, what is made up anew in each process.
fn alike(text: &str) -> String {
    let mut all = String::new();
    for line in text.replace("es-bus topology", "shop topology").lines() {
        let words: Vec<String> = line.split(' ').map(alike_word).collect();
        all += words.join(" ").trim_end();
        all.push('\n');
    }
    all
}

fn alike_word(word: &str) -> String {
    let is_place = word.contains(".rs:") || word.contains("es-bus.lock:");
    let exclusive = "shop.caches.";
    match (is_place, word.split_once(exclusive)) {
        (true, _) => "PLACE".to_owned(),
        (false, Some((before, after))) if after.len() >= 8 && after.is_char_boundary(8) => {
            format!("{before}{exclusive}PROCESS{}", &after[8..])
        }
        _ => word.to_owned(),
    }
}

#[tokio::test]
async fn tells_the_same_as_the_program_itself() {
    let manifest = Manifest::of_program("same");
    let broker = ["--url", "memory://manifest-same"];
    let running = bus().url(broker[1]).build().unwrap().start().await.unwrap();
    running.publisher().publish(&placed("o-1")).await.unwrap();
    running.stop().await.unwrap();
    let nothing = ["--url", "memory://manifest-empty"];

    for arguments in [
        &["topology", "show"][..],
        &["topology", "show", "--json"],
        &["topology", "export", "definitions"],
        &["topology", "export", "mermaid"],
        &["topology", "export", "svg"],
        &["topology", "export", "permissions", "--users", "ada,eve"],
        &["topology", "plan"],
        &["topology", "verify"],
        &["handlers"],
        &["explain", "OrderPlaced"],
        &["explain", "Rendered", "--why", "desk"],
        &["explain", "Filed"],
        &["explain", "OrderShipped", "--json"],
        &["explain", "--key", "Elsewhere.Happened"],
        &["explain", "OrderPlacd"],
        &["dlq", "count"],
        &["dlq", "list", "--group", "projections"],
        &["dlq", "list", "--group", "caches"],
        &["dlq", "check", "--json"],
        &["check"],
    ] {
        for broker in [broker, nothing] {
            let arguments = [arguments, &broker].concat();
            let program = captured(&arguments, "", false, bus).await;
            let binary = manifest.run(&arguments).await;

            assert_eq!(program.code, binary.code, "{arguments:?}: {binary:?}");
            assert_eq!(alike(&program.out), alike(&binary.out), "{arguments:?}");
            assert_eq!(alike(&program.err), alike(&binary.err), "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn the_document_of_its_events_is_that_of_the_program_but_for_schemas() {
    let manifest = Manifest::of_program("asyncapi");
    let export = ["topology", "export", "asyncapi"];

    let [program, binary] = [captured(&export, "", false, bus).await, manifest.run(&export).await];

    assert!(binary.err.contains("a manifest holds no JSON Schemas"), "{binary:?}");
    let part = |captured: &Captured, name: &str| {
        serde_json::from_str::<serde_json::Value>(&captured.out).unwrap()[name].clone()
    };
    for name in ["channels", "operations"] {
        assert_eq!(part(&program, name), part(&binary, name), "{name}");
    }
}

#[tokio::test]
async fn what_it_comes_to_is_what_was_written_down() {
    let manifest = Manifest::of_program("again");

    let compared = manifest.run(&["check", "--lock", &manifest.file]).await;
    let written = manifest.run(&["lock", &manifest.file]).await;

    assert_eq!((compared.code, written.code), (0, 0), "{compared:?} {written:?}");
    assert!(compared.out.ends_with("es-bus.lock: nothing changed\n"), "{compared:?}");
    assert!(written.err.ends_with("es-bus.lock says this already\n"), "{written:?}");
}

/// As little as somebody writes by hand.
const BY_HAND: &str = r#"format = 2

[settings]
exchange = "shop"

[group.audit]
settings.retries = 0
handlers = [
    { name = "write", binds = ["Order.*"], takes = ["Order.OrderPlaced"] },
]

[event."Order.OrderPlaced"]
exchange = "shop"
key = "Order.OrderPlaced"
version = 1
schema = [
    "$: object",
    "order_id: string",
    "total: integer (uint32)",
]
"#;

#[tokio::test]
async fn is_written_by_hand_and_operated_all_the_same() {
    let manifest = Manifest::of("by-hand", BY_HAND);
    let url = ["--url", "memory://manifest-by-hand"];
    let good = r#"{"order_id": "o-1", "total": 5}"#;
    let mut texts = Vec::new();
    for arguments in [
        &["check"][..],
        &["handlers"],
        &["topology", "apply", "--yes"],
        &["topology", "plan"],
        &["publish", "OrderPlaced", "--data", good, "--id", "order-1"],
        &["publish", "OrderPlaced", "--data", r#"{"order_id": "o-1", "total": "five"}"#],
        &["publish", "OrderPlaced", "--data", r#"{"order": "o-1", "total": 5}"#],
        &[
            "publish",
            "OrderPlaced",
            "--data",
            r#"{"order_id": "o-1", "total": 5, "totl": 5}"#,
            "--id",
            "order-2",
        ],
        &["publish", "OrderPlacd", "--data", good],
        &["dlq", "count"],
        &["run"],
    ] {
        let ended = manifest.run(&[arguments, &url].concat()).await;
        texts.push(format!("$ es-bus {}\n{}", arguments.join(" "), manifest.shown(&ended)));
    }

    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn the_one_in_the_guide_is_one() {
    let guide = include_str!("../../src/docs/guide/operating.md");
    let (_, text) = guide.split_once("```toml\nformat = 2").unwrap();
    let (text, _) = text.split_once("```").unwrap();
    let manifest = Manifest::of("guide", &format!("format = 2{text}"));

    let checked = manifest.run(&["check"]).await;

    assert!(checked.code == 0 && checked.out.contains("1 event, 1 group, 2 handlers"), "{checked:?}");
}

#[tokio::test]
async fn every_mistake_is_told_with_its_line_and_what_would_do() {
    let tables: [(&str, &[(&str, &str)]); 12] = [
        ("no format", &[("format = 2\n", "")]),
        ("an older format", &[("format = 2", "format = 1")]),
        ("a newer format", &[("format = 2", "format = 3")]),
        ("no TOML", &[("[group.audit]", "[group.audit")]),
        ("another type", &[("version = 1", "version = \"one\"")]),
        ("a key that is missing", &[("version = 1\n", "")]),
        ("unknown keys", &[("binds =", "bind ="), ("[settings]", "[setings]"), ("schema =", "fields =")]),
        (
            "unknown settings",
            &[
                ("exchange = \"shop\"\n\n[group", "prefech = 5\nurl = \"amqp://a:secret@b\"\n\n[group"),
                (
                    "settings.retries = 0",
                    "settings.retries = \"often\"\nsettings.heartbeat = \"1s\"\nsettings.arguments = {}",
                ),
            ],
        ),
        (
            "an event that is not there",
            &[("takes = [\"Order.OrderPlaced\"]", "takes = [\"Order.OrderPlcaed\"]")],
        ),
        (
            "words that are none",
            &[
                ("[group.audit]", "[exchange.shop]\nkind = \"topical\"\ndeclared = true\n\n[group.audit]"),
                ("version = 1", "version = 0\nunroutable = \"never\"\nheaders.when = 1.5"),
                ("binds = [\"Order.*\"]", "binds = [{ match = \"all\" }, 5]"),
            ],
        ),
        (
            "no handlers",
            &[("    { name = \"write\", binds = [\"Order.*\"], takes = [\"Order.OrderPlaced\"] },\n", "")],
        ),
        ("a binding that brings nothing", &[("Order.*", "Invoice.*")]),
    ];
    let mut texts = Vec::new();
    for (what, changes) in tables {
        let mut text = BY_HAND.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let manifest = Manifest::of("mistakes", &text);
        let ended = manifest.run(&["topology", "show"]).await;
        assert!(
            ended.code == 1 && ended.out.is_empty() && !ended.err.contains("secret"),
            "{what}: {ended:?}"
        );
        texts.push(format!("# {what}\n{}", manifest.shown(&ended)));
    }
    let manifest = Manifest::of("mistakes", &BY_HAND.replace("takes", "take"));
    let check = manifest.run(&["check", "--json"]).await;
    let doctor = manifest.run(&["doctor", "--url", "memory://manifest-mistakes"]).await;
    texts.extend([&check, &doctor].map(|ended| manifest.shown(ended)));

    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn settings_that_make_something_else_of_it_are_told_and_nothing_is_changed_under_them() {
    let manifest = Manifest::of_program("settings");
    let config = manifest.dir.join("es-bus.toml");
    let config = ["--url", "memory://manifest-settings", "--config", config.to_str().unwrap()];
    fs::write(config[3], "[group.projections]\nmax_length = 5\n").unwrap();

    let plan = manifest.run(&[&["topology", "plan"][..], &config].concat()).await;
    let apply = manifest.run(&[&["topology", "apply", "--yes"][..], &config].concat()).await;
    let position = ["stream", "position", "--group", "projections", "--to", "first"];
    let position = manifest.run(&[&position[..], &config].concat()).await;
    fs::write(config[3], "groups = \"ledger\"\n").unwrap();
    let part = manifest.run(&[&["topology", "plan"][..], &config].concat()).await;

    assert_eq!((plan.code, apply.code, part.code), (2, 3, 2));
    assert!(plan.err.contains("queue \"shop.projections\": x-max-length was 1000, is 5"), "{plan:?}");
    assert!(apply.out.is_empty() && apply.err.contains("x-max-length was 1000, is 5"), "{apply:?}");
    assert!(position.code == 3 && position.err.contains("x-max-length was 1000, is 5"), "{position:?}");
    assert!(!part.err.contains("x-max-length") && part.err.contains("this is about ledger only"), "{part:?}");
}

#[tokio::test]
async fn limits_that_the_builder_puts_into_policies_are_read_as_such() {
    let bus = bus().set("limits_in", "policies").url("memory://").build().unwrap();
    let manifest = Manifest::of("policies", &Lock::of(&bus).to_string());
    let url = ["--url", "memory://manifest-policies"];

    let apply = manifest.run(&[&["topology", "apply", "--yes"][..], &url].concat()).await;

    assert_eq!(apply.code, 0, "{apply:?}");
    assert!(apply.out.contains("policy \"es-bus.shop.projections\" (max-length = 1000"), "{apply:?}");
}

#[tokio::test]
async fn says_how_to_come_by_a_manifest_and_what_it_cannot_do() {
    let manifest = Manifest::of("none", "");
    fs::remove_file(&manifest.file).unwrap();

    let named = manifest.run(&["topology", "show"]).await;
    let found = captured_manifest(&["topology", "show"], "", false).await;
    let help = captured_manifest(&["--help"], "", false).await;
    let version = captured_manifest(&["--version"], "", false).await;
    let program = captured(&["--manifest", "es-bus.lock", "check"], "", false, bus).await;

    assert_eq!([named.code, found.code, program.code], [64, 64, 64]);
    assert_eq!(version.out, format!("es-bus {}\n", env!("CARGO_PKG_VERSION")));
    let texts = [&named, &found, &help].map(|ended| manifest.shown(ended));
    insta::assert_snapshot!(texts.join("\n"));
}
