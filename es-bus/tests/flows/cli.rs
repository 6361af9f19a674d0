//! The command line, command by command: what it prints, and what it ends with.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Bus, BusBuilder, Handle, Registry, State,
    cli::{Captured, captured},
    handler,
    transport::memory::Memory,
};

use crate::support::{InvoiceSent, OrderPlaced, OrderShipped, eventually, placed, shipped};

/// Whether the handler fails.
#[derive(Clone, Default)]
struct Broken(Arc<AtomicBool>);

#[handler(group = "cli-projections", bind = "Order.*", retries = 0)]
async fn project(_: OrderPlaced, State(broken): State<Broken>) -> Result<(), String> {
    if broken.0.load(Ordering::SeqCst) { Err("the database is \u{1b}[31mgone".to_owned()) } else { Ok(()) }
}

#[handler(group = "cli-audit", retries = 2)]
async fn audit(_: OrderShipped) {}

fn registry() -> Registry {
    Registry::new()
        .event::<OrderPlaced>()
        .event::<OrderShipped>()
        .event::<InvoiceSent>()
        .handler::<project>()
        .handler::<audit>()
}

/// The program's own bus.
fn bus() -> BusBuilder {
    Bus::builder().without_environment().registry(registry()).state(Broken::default())
}

async fn shop(arguments: &[&str]) -> Captured {
    captured(arguments, "", false, bus).await
}

/// A command on the broker of that name.
async fn at(broker: &str, arguments: &[&str]) -> Captured {
    let url = format!("memory://{broker}");
    shop(&[arguments, &["--url", &url]].concat()).await
}

async fn service(broker: &str, broken: &Broken) -> Handle {
    let bus = bus().state(broken.clone()).url(format!("memory://{broker}"));
    bus.build().unwrap().start().await.unwrap()
}

/// Three orders that were dead-lettered, on a broker of that name.
async fn three_dead_letters(broker: &str, broken: &Broken) -> Handle {
    broken.0.store(true, Ordering::SeqCst);
    let running = service(broker, broken).await;
    for id in ["o-1", "o-2", "o-3"] {
        running.publisher().publish(&placed(id)).await.unwrap();
    }
    eventually("three are dead-lettered", || running.counts().dead_lettered == 3).await;
    running
}

/// Everything that was printed, and the exit code; ids and times as they always are.
fn shown(captured: &Captured) -> String {
    let Captured { code, out, err } = captured;
    let err = if err.is_empty() { String::new() } else { format!("--- err\n{err}") };
    without_chance(&format!("{out}{err}--- exit {code}\n"))
}

/// A text with one id for all ids and one time for all times, of the same widths, and without the numbers of the
/// lines in this file.
fn without_chance(text: &str) -> String {
    let is_time = |text: &str| {
        text.len() == 19
            && text.bytes().zip("0000-00-00 00:00:00".bytes()).all(|(found, form)| match form {
                b'0' => found.is_ascii_digit(),
                b' ' => found == b' ' || found == b'T',
                _ => found == form,
            })
    };
    let (mut rest, mut all) = (text, String::new());
    while let Some(next) = rest.chars().next() {
        if rest.get(..36).is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()) {
            all += "01234567-89ab-cdef-0123-456789abcdef";
            rest = &rest[36..];
        } else if let Some(after) = rest.strip_prefix(concat!(file!(), ":")) {
            all += "cli.rs:LINE";
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if rest.get(..19).is_some_and(is_time) {
            all += "2026-01-02 03:04:05";
            rest = rest[19..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        } else {
            all.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    all
}

#[tokio::test]
async fn every_command_has_a_help_with_an_example() {
    let commands: &[&[&str]] = &[
        &[],
        &["run"],
        &["check"],
        &["handlers"],
        &["topology"],
        &["topology", "show"],
        &["topology", "plan"],
        &["topology", "verify"],
        &["topology", "apply"],
        &["topology", "prune"],
        &["topology", "migrate"],
        &["topology", "export"],
        &["stream"],
        &["stream", "position"],
        &["explain"],
        &["lock"],
        &["dlq"],
        &["dlq", "count"],
        &["dlq", "list"],
        &["dlq", "show"],
        &["dlq", "replay"],
        &["dlq", "drop"],
        &["dlq", "purge"],
        &["dlq", "check"],
        &["publish"],
        &["tail"],
        &["doctor"],
        &["config"],
        &["init"],
        &["completions"],
    ];
    let mut texts = Vec::new();
    for command in commands {
        let help = shop(&[*command, &["--help"]].concat()).await;
        assert_eq!(help.code, 0, "{command:?}");
        // The same in each, and shown once.
        let (own, global) = help.out.split_once("\nGlobal options:").unwrap();
        let (_, examples) = global.split_once("RUST_LOG beats it").unwrap();
        let is_leaf = !help.out.contains("<COMMAND>");
        assert_eq!(
            examples.contains("Examples:\n  shop") || examples.contains("| shop "),
            is_leaf,
            "{command:?}"
        );
        let text =
            if command.is_empty() { help.out.clone() } else { format!("{own}{}", examples.trim_end()) };
        texts.push(format!("$ shop {}\n{text}", [*command, &["--help"]].concat().join(" ")));
    }

    insta::assert_snapshot!(texts.join("\n\n"));
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_64_and_nothing_is_done() {
    let mut texts = Vec::new();
    for arguments in [
        &["replay"][..],
        &["dlq", "replay", "--group", "cli-projections"],
        &["dlq", "drop", "--all", "--id", "1"],
        &["publish", "OrderPlaced", "--data", "{}", "--header", "region"],
        &["tail", "--key", "Order.*", "--group", "cli-audit"],
        &["doctor", "--watch", "long"],
        &["check", "--color", "blue"],
        &["check", "--update"],
        &["topology", "apply", "--discard", "cli.old"],
        &["topology", "apply"],
        &["topology", "migrate"],
        &["topology", "export", "permissions", "--users", "shop"],
        &["explain"],
        &["explain", "OrderPlaced", "--key", "Order.OrderPlaced"],
        &["explain", "OrderPlacd"],
        &["explain", "OrderPlaced", "--why", "cli-adit"],
        &["lock", "--group", "cli-audit"],
    ] {
        let wrong = shop(arguments).await;
        assert_eq!((wrong.code, wrong.out.as_str()), (64, ""), "{arguments:?}");
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), wrong.err));
    }
    let secret = shop(&["amqp://orders:secret@rabbit/"]).await;
    assert!(secret.code == 64 && !secret.err.contains("secret"), "{secret:?}");
    let none = shop(&[]).await;
    let part = shop(&["topology"]).await;
    assert!(part.code == 64 && part.err.contains("The broker: amqp://user:password@host"), "{part:?}");
    assert_eq!(none.code, 64);
    assert!(none.out.is_empty() && none.err.contains("Usage: shop [OPTIONS] <COMMAND>"), "{none:?}");

    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn looks_at_the_program_without_a_broker() {
    let mut texts = Vec::new();
    for arguments in [
        &["check"][..],
        &["handlers"],
        &["handlers", "--group", "cli-audit", "--json"],
        &["handlers", "--group", "cli-adit"],
        &["topology", "show"],
        &["topology", "export", "mermaid"],
        &["topology", "export", "permissions"],
        &["explain", "OrderPlaced", "--why", "cli-audit"],
        &["explain", "--key", "Stock.Counted", "--header", "region=eu"],
    ] {
        // An address that would not answer is not asked.
        let url = "amqp://orders:secret@nowhere.invalid/shop";
        let looked = shop(&[arguments, &["--url", url]].concat()).await;
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), shown(&looked)));
    }

    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn colours_are_written_where_they_are_asked_for() {
    let text = |colour: &'static str| async move { shop(&["check", "--color", colour]).await.out };

    assert!(text("always").await.contains("\u{1b}[32mok\u{1b}[0m: 3 events"));
    assert!(!text("auto").await.contains('\u{1b}') && !text("never").await.contains('\u{1b}'));
}

#[tokio::test]
async fn a_run_of_a_group_that_there_is_not_says_which_was_meant() {
    let run = shop(&["run", "--group", "cli-audit", "--group", "cli-projection", "--url", "memory://"]).await;

    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("\"cli-projection\"") && run.err.contains("cli-projections"), "{run:?}");
}

#[tokio::test]
async fn a_check_names_every_mistake_with_its_place_and_fails() {
    let broken = || Bus::builder().without_environment().registry(registry()).set("prefetch", "many");

    let text = captured(&["check"], "", false, broken).await;
    let json = captured(&["check", "--json"], "", false, broken).await;

    assert_eq!((text.code, json.code), (1, 1));
    insta::assert_snapshot!(format!("{}\n{}", shown(&text), shown(&json)));
}

#[tokio::test]
async fn exports_definitions_for_the_virtual_host_of_the_url() {
    let dir = Dir::new("export");
    let path = dir.0.join("definitions.json");

    let url = "amqp://orders:secret@nowhere.invalid/shop";
    let written =
        shop(&["topology", "export", "definitions", "-o", path.to_str().unwrap(), "--url", url]).await;
    let printed = shop(&["topology", "export", "definitions", "--vhost", "other", "--url", url]).await;

    assert_eq!((written.code, written.out.as_str()), (0, ""));
    let vhost =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["vhosts"][0]["name"].clone();
    assert_eq!(vhost(&fs::read_to_string(&path).unwrap()), "shop");
    assert_eq!(vhost(&printed.out), "other");
    let shown: serde_json::Value =
        serde_json::from_str(&shop(&["topology", "show", "--json"]).await.out).unwrap();
    let exported: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    for kind in ["exchanges", "queues", "bindings"] {
        assert_eq!(shown[kind].as_array().unwrap().len(), exported[kind].as_array().unwrap().len(), "{kind}");
    }
}

#[tokio::test]
async fn exports_what_others_read_of_events_and_users() {
    let json = async |arguments: &[&str]| -> serde_json::Value {
        let exported = shop(&[&["topology", "export"], arguments].concat()).await;
        assert_eq!(exported.code, 0, "{exported:?}");
        serde_json::from_str(&exported.out).unwrap()
    };

    let svg = shop(&["topology", "export", "svg"]).await.out;
    let asyncapi = json(&["asyncapi", "--title", "Shop", "--release", "1.4.0"]).await;
    let rights = json(&["permissions", "--json", "--vhost", "other", "--users", "ada,eve"]).await;
    let schemas = json(&["schemas"]).await;

    assert!(svg.starts_with("<svg") && svg.contains("cli-projections"), "{svg}");
    assert_eq!(asyncapi["info"], serde_json::json!({ "title": "Shop", "version": "1.4.0" }));
    assert_eq!(rights["permissions"][0]["user"], "ada");
    assert_eq!(
        (&rights["permissions"][1]["user"], &rights["permissions"][1]["vhost"]),
        (&"eve".into(), &"other".into())
    );
    assert_eq!(schemas, serde_json::json!([]));
}

/// The program, with another setting of one of its queues.
fn resized() -> BusBuilder {
    bus().set("max_length", 5)
}

#[tokio::test]
async fn plans_applies_and_verifies_until_something_is_in_the_way() {
    let url = ["--url", "memory://cli-plan"];
    let mut texts = Vec::new();
    let mut step = async |arguments: &[&str], input: &str, program: fn() -> BusBuilder| {
        let asks = !input.is_empty();
        let ended = captured(&[arguments, &url].concat(), input, asks, program).await;
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), shown(&ended)));
        ended
    };

    let codes = [
        step(&["topology", "plan"], "", bus).await.code,
        step(&["topology", "verify"], "", bus).await.code,
        step(&["topology", "apply"], "n\n", bus).await.code,
        step(&["topology", "apply"], "y\n", bus).await.code,
        step(&["topology", "apply", "--yes"], "", bus).await.code,
        step(&["topology", "plan"], "", bus).await.code,
        step(&["topology", "verify"], "", bus).await.code,
        step(&["topology", "plan"], "", resized).await.code,
        step(&["topology", "verify"], "", resized).await.code,
        step(&["topology", "apply", "--yes"], "", resized).await.code,
    ];
    let json = step(&["topology", "verify", "--json"], "", resized).await;

    assert_eq!(codes, [2, 2, 1, 0, 0, 0, 0, 3, 3, 3]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["exact"], &json["plan"]["outcome"]), (&false.into(), &"conflict".into()));
    let _ = texts.pop();
    // What is shown again before it is asked for.
    let (_, plan) = texts[0].split_once('\n').unwrap();
    let (plan, _) = plan.split_once("\nto do it").unwrap();
    let plan = plan.to_owned();
    let again = texts.iter_mut().skip(1).filter(|text| text.contains(&plan));
    assert_eq!(again.map(|text| *text = text.replace(&plan, "(the plan)\n")).count(), 2);
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn says_which_groups_a_selection_leaves_out() {
    let url = ["--url", "memory://cli-part"];
    for (selected, note) in [
        (
            "cli-audit",
            "note: this is about cli-audit only, as `groups` (builder) says: not about cli-projections\n",
        ),
        (
            "none",
            "note: this is about no group, as `groups` (builder) says: not about cli-audit, cli-projections\n",
        ),
        ("cli-audit, cli-projections", ""),
        ("all", ""),
    ] {
        for arguments in [
            &["check"][..],
            &["handlers", "--json"],
            &["doctor", "--watch", "0s"],
            &["topology", "show"],
            &["topology", "export", "mermaid"],
            &["topology", "plan"],
            &["topology", "verify"],
            &["topology", "apply", "--yes"],
            &["topology", "migrate", "--dry-run"],
        ] {
            let part = || bus().set("groups", selected);
            let ended = captured(&[arguments, &url].concat(), "", false, part).await;
            assert_eq!(ended.err, note, "{selected}: {arguments:?}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn migrates_what_is_in_the_way_once_somebody_agreed() {
    let url = ["--url", "memory://cli-migrate"];
    // What runs may declare the old queue once more while it is migrated, which begins anew then: how often is chance.
    service("cli-migrate", &Broken::default()).await.stop().await.unwrap();
    let mut texts = Vec::new();
    let mut codes = Vec::new();
    for (arguments, answer) in [
        (&["topology", "migrate", "--dry-run"][..], None),
        (&["topology", "migrate"], Some("n\n")),
        (&["topology", "migrate", "--rate", "500"], Some("y\n")),
        (&["topology", "plan"], None),
        (&["topology", "migrate", "--yes", "--json"], None),
    ] {
        let all = [arguments, &url].concat();
        let told = captured(&all, answer.unwrap_or_default(), answer.is_some(), resized).await;
        codes.push(told.code);
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), shown(&told)));
    }

    assert_eq!(codes, [2, 1, 0, 0, 0]);
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn prunes_what_is_left_over_and_says_what_it_leaves() {
    let url = ["--url", "memory://cli-prune"];
    let before = || bus().set("program", "shop");
    let now = || Bus::builder().without_environment().set("program", "shop").registry(audited());
    let mut texts = Vec::new();
    let run = async |arguments: &[&str], program: &dyn Fn() -> BusBuilder| {
        captured(&[arguments, &url].concat(), "", false, program).await
    };
    assert_eq!(run(&["topology", "apply", "--yes"], &before).await.code, 0);
    let nobody = run(&["topology", "prune", "--yes"], &bus).await;
    let order = ["publish", "OrderPlaced", "--data", r#"{"order_id": "o-1", "total": 5}"#];
    assert_eq!(run(&order, &before).await.code, 0);
    let mut codes = Vec::new();
    for arguments in [
        &["topology", "plan"][..],
        &["topology", "plan", "--prune", "--discard", "events.cli-projection"],
        &["topology", "plan", "--prune", "--discard", "events.cli-projections"],
        &["topology", "prune", "--yes", "--discard", "events.cli-projections"],
        &["topology", "verify"],
    ] {
        let ended = run(arguments, &now).await;
        codes.push(ended.code);
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), shown(&ended)));
    }

    assert_eq!(codes, [0, 0, 2, 0, 0]);
    assert!(nobody.code == 1 && nobody.err.contains("ES_BUS_PROGRAM"), "{nobody:?}");
    insta::assert_snapshot!(texts.join("\n"));
}

/// A later version, without one of its groups.
fn audited() -> Registry {
    Registry::new().event::<OrderPlaced>().event::<OrderShipped>().event::<InvoiceSent>().handler::<audit>()
}

#[tokio::test]
async fn a_lock_is_written_compared_and_agreed_to() {
    let dir = Dir::new("lock");
    let file = dir.0.join("es-bus.lock");
    let file = file.to_str().unwrap();
    let later = || Bus::builder().without_environment().registry(audited()).set("max_length", 5);
    let part = || bus().set("groups", "cli-audit");

    let none = shop(&["check", "--lock", file]).await;
    let written = shop(&["lock", file]).await;
    let told = shop(&["lock", file, "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told, serde_json::json!({ "file": file, "breaks": false, "changes": [], "written": false }));
    let again = shop(&["lock", file]).await;
    let same = shop(&["check", "--lock", file]).await;
    let broken = captured(&["check", "--lock", file], "", false, later).await;
    let json = captured(&["check", "--lock", file, "--json"], "", false, later).await;
    let selected = captured(&["lock", file], "", false, part).await;
    let compared = captured(&["check", "--lock", file], "", false, part).await;
    let before = fs::read_to_string(file).unwrap();
    let update = captured(&["check", "--lock", file, "--update"], "", false, later).await;
    let agreed = captured(&["check", "--lock", file], "", false, later).await;
    fs::write(file, "format = 2\n<<<<<<< HEAD\n").unwrap();
    let unreadable = shop(&["check", "--lock", file]).await;
    let anew = shop(&["lock", file]).await;

    let all =
        [&none, &written, &again, &same, &broken, &selected, &compared, &update, &agreed, &unreadable, &anew];
    assert_eq!(all.map(|ended| ended.code), [1, 0, 0, 0, 1, 64, 64, 0, 0, 1, 0]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["ok"], &json["lock"]["breaks"]), (&false.into(), &true.into()));
    assert!(
        json["lock"]["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["breaks"] == true && it["help"] != "null")
    );
    assert_eq!(fs::read_to_string(file).unwrap(), before, "the same program, the same text");
    let texts = all.map(|ended| shown(ended).replace(file, "es-bus.lock"));
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn the_command_line_beats_file_and_environment_and_no_password_is_shown() {
    let dir = Dir::new("config");
    let [file, other] = ["es-bus.toml", "other.toml"].map(|name| dir.0.join(name));
    fs::write(&file, "url = \"amqp://of-file:hidden@file/\"\nprefetch = 7\n").unwrap();
    fs::write(&other, "prefetch = 9\n").unwrap();
    let bus = || bus().config_file(&file);

    let row = |captured: &Captured, name: &str| {
        let line = captured.out.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let of_file = captured(&["config"], "", false, bus).await;
    let url = "amqp://of-line:hidden@line/";
    let config = other.to_str().unwrap();
    let of_line = captured(&["config", "--url", url, "--config", config], "", false, bus).await;
    let json = captured(&["config", "--url", url, "--json"], "", false, bus).await;

    assert_eq!(row(&of_file, "url"), format!("url = amqp://of-file:***@file:5672/ ({})", file.display()));
    assert_eq!(row(&of_line, "url"), "url = amqp://of-line:***@line:5672/ (command line)");
    assert_eq!(row(&of_line, "prefetch"), format!("prefetch = 9 ({})", other.display()));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        json["sections"][0]["settings"][0],
        serde_json::json!({ "name": "url", "value": "amqp://of-line:***@line:5672/", "source": "command line" })
    );
    assert!(!format!("{of_file:?}{of_line:?}{json}").contains("hidden"));
}

#[tokio::test]
async fn a_command_that_works_on_a_broker_never_falls_back_to_memory() {
    let commands: &[&[&str]] = &[
        &["dlq", "count"],
        &["dlq", "list", "--group", "cli-audit"],
        &["dlq", "purge", "--group", "cli-audit", "--yes"],
        &["topology", "plan"],
        &["topology", "verify"],
        &["topology", "apply", "--yes"],
        &["topology", "prune", "--yes"],
        &["publish", "OrderShipped", "--data", r#"{"order_id":"o-1"}"#],
        &["tail", "--limit", "1"],
    ];
    for command in commands {
        let unset = shop(command).await;
        // What a demonstration has as its default.
        let default = captured(command, "", false, || bus().url("memory://")).await;

        for refused in [&unset, &default] {
            assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{command:?}: {refused:?}");
            assert!(
                refused.err.contains("export ES_BUS_URL=amqp://user:password@host:5672/vhost"),
                "{refused:?}"
            );
        }
    }
    let examined = shop(&["doctor"]).await;
    assert_eq!(examined.code, 1);
    assert!(examined.out.starts_with("fail  settings      ES_BUS_URL: no broker URL is set"), "{examined:?}");

    let asked = at("cli-asked", &["dlq", "count"]).await;
    assert_eq!((asked.code, asked.err.as_str()), (0, ""), "{asked:?}");
    let private = shop(&["dlq", "count", "--url", "memory://"]).await;
    assert!(private.err.starts_with("note: memory:// without a name"), "{private:?}");
}

#[tokio::test]
async fn counts_lists_and_shows_dead_letters_and_leaves_them_there() {
    let running = three_dead_letters("cli-look", &Broken::default()).await;

    let mut texts = Vec::new();
    for arguments in [
        &["dlq", "count"][..],
        &["dlq", "count", "--json"],
        &["dlq", "count", "--group", "cli-projection"],
        &["dlq", "check", "--max", "3"],
        &["dlq", "check", "--max", "2"],
        &["dlq", "check", "--json"],
        &["dlq", "list"],
        &["dlq", "list", "--group", "cli-projections", "--limit", "2"],
        &["dlq", "list", "--group", "cli-projections", "--type", "OrderShipped"],
        &["dlq", "list", "--queue", "nowhere.dlq"],
        &["dlq", "show", "--group", "cli-projections", "--id", "none"],
    ] {
        let looked = at("cli-look", arguments).await;
        texts.push(format!("$ shop {}\n{}", arguments.join(" "), shown(&looked)));
    }
    let list = at("cli-look", &["dlq", "list", "--group", "cli-projections", "--json"]).await;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list.iter().map(|it| &it["aggregate_id"]).collect::<Vec<_>>(), ["o-1", "o-2", "o-3"]);
    let id = list[1]["id"].as_str().unwrap();
    let full = at("cli-look", &["dlq", "show", "--group", "cli-projections", "--id", id]).await;
    let json = at("cli-look", &["dlq", "show", "--group", "cli-projections", "--id", id, "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let (before, after) = full.out.split_once("  timestamp = ").unwrap();
    assert!(after[..10].parse::<u64>().is_ok(), "{after}");
    let full = Captured { out: format!("{before}  timestamp = 1767323045{}", &after[10..]), ..full };
    texts.push(format!("$ shop dlq show\n{}", shown(&full)));

    assert_eq!(json["body"]["json"]["order_id"], "o-2");
    assert!(!texts.concat().contains('\u{1b}'), "an error of anybody's writes to the terminal");
    insta::assert_snapshot!(texts.join("\n"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn replays_what_is_chosen_and_says_what_is_left() {
    let broken = Broken::default();
    let running = three_dead_letters("cli-replay", &broken).await;
    broken.0.store(false, Ordering::SeqCst);
    let group = ["--group", "cli-projections"];
    let list = at("cli-replay", &[&["dlq", "list", "--json"][..], &group].concat()).await;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list.out).unwrap();
    let id = list[2]["id"].as_str().unwrap();

    let mut texts = Vec::new();
    for arguments in [
        &["--all", "--dry-run"][..],
        &["--id", id],
        &["--id", id],
        &["--reason", "timeout"],
        &["--all", "--limit", "1", "--json"],
        &["--all"],
    ] {
        let replayed = at("cli-replay", &[&["dlq", "replay"], &group[..], arguments].concat()).await;
        let arguments = without_chance(&arguments.join(" "));
        texts.push(format!("$ shop dlq replay {arguments}\n{}", shown(&replayed)));
    }
    eventually("all three are handled", || running.counts().handled == 3).await;

    insta::assert_snapshot!(texts.join("\n"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn throws_away_only_what_somebody_has_agreed_to() {
    let running = three_dead_letters("cli-drop", &Broken::default()).await;
    let dir = Dir::new("purge");
    let export = dir.0.join("letters.jsonl");
    let group = ["--group", "cli-projections", "--url", "memory://cli-drop"];
    let ask = async |arguments: &[&str], input: &str, asks: bool| {
        captured(&[arguments, &group].concat(), input, asks, bus).await
    };
    let count = async || {
        let counted = ask(&["dlq", "count", "--json"], "", false).await;
        serde_json::from_str::<serde_json::Value>(&counted.out).unwrap()[0]["count"].as_u64().unwrap()
    };
    let all = ["dlq", "drop", "--event-id"];
    let list = ask(&["dlq", "list", "--json"], "", false).await;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list.out).unwrap();
    let one = [&all[..], &[list[0]["event_id"].as_str().unwrap()]].concat();

    let script = ask(&one, "y\n", false).await;
    assert_eq!((script.code, count().await), (64, 3), "{script:?}");
    let no = ask(&one, "\n", true).await;
    assert_eq!((no.code, count().await), (1, 3), "{no:?}");
    let dry = ask(&[&one[..], &["--dry-run"]].concat(), "", false).await;
    assert_eq!((dry.code, count().await), (0, 3), "{dry:?}");
    let yes = ask(&one, "y\n", true).await;
    assert_eq!((yes.code, count().await), (0, 2), "{yes:?}");
    let gone = ask(&[&one[..], &["--yes"]].concat(), "", false).await;
    assert_eq!((gone.code, count().await), (1, 2), "{gone:?}");
    let purge = ["dlq", "purge", "--yes", "--export", export.to_str().unwrap()];
    let purged = ask(&purge, "", false).await;
    assert_eq!((purged.code, count().await), (0, 0), "{purged:?}");
    assert_eq!(fs::read_to_string(&export).unwrap().lines().count(), 2);
    // Never over what was exported before.
    assert_eq!(ask(&purge, "", false).await.code, 1);
    assert_eq!(fs::read_to_string(&export).unwrap().lines().count(), 2);

    let texts = [script, no, dry, yes, gone].map(|captured| shown(&captured));
    insta::assert_snapshot!(texts.join("\n"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn publishes_what_could_be_handled_and_nothing_else() {
    let running = service("cli-publish", &Broken::default()).await;

    let mut texts = Vec::new();
    for arguments in [
        &["OrderPlacd", "--data", "{}"][..],
        &["OrderPlaced", "--data", r#"{"order_id": "o-1"}"#],
        &["OrderPlaced", "--data", r#"["o-1"]"#],
        &["OrderPlaced", "--data", "@nowhere.json"],
        &["OrderPlaced", "--data", r#"{"order_id": "o-1", "total": 5, "totl": 6}"#, "--header", "region=eu"],
        &["Order.OrderShipped", "--data", r#"{"order_id": "o-1"}"#, "--id", "shipped-1", "--json"],
        &["InvoiceSent", "--data", r#"{"number": 4}"#],
        &["OrderShipped", "--data", r#"{"order_id": "o-1"}"#, "--header", "event_type=OrderPlaced"],
    ] {
        let published = at("cli-publish", &[&["publish"], arguments].concat()).await;
        texts.push(format!("$ shop publish {}\n{}", arguments.join(" "), shown(&published)));
    }
    let piped = ["publish", "OrderPlaced", "--data", "-", "--url", "memory://cli-publish"];
    let piped = captured(&piped, r#"{"order_id": "o-2", "total": 5}"#, false, bus).await;
    assert_eq!(piped.code, 0, "{piped:?}");
    eventually("three are handled", || running.counts().handled == 3).await;

    insta::assert_snapshot!(texts.join("\n"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn tail_shows_events_beside_those_who_handle_them() {
    let running = service("cli-tail", &Broken::default()).await;

    let (mut published, publisher) = (0, running.publisher());
    let text = async |arguments: &[&str], published: &mut u64| {
        let tail = at("cli-tail", arguments);
        tokio::pin!(tail);
        loop {
            tokio::select! {
                biased;
                ended = &mut tail => return ended,
                () = tokio::task::yield_now() => {}
            }
            // What is not asked for comes before what is.
            publisher.publish(&shipped("o-1")).await.unwrap();
            publisher.publish(&placed("o-2")).await.unwrap();
            *published += 2;
        }
    };
    let one = text(&["tail", "--key", "*.OrderPlaced", "--limit", "1"], &mut published).await;
    let json = text(&["tail", "--group", "cli-audit", "--limit", "1", "--json"], &mut published).await;
    let wrong = at("cli-tail", &["tail", "--group", "cli-adit"]).await;

    assert_eq!((one.code, wrong.code), (0, 64));
    insta::assert_snapshot!(shown(&one));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["event_type"], &json["body"]["order_id"]), (&"OrderShipped".into(), &"o-1".into()));
    // A placed order is handled by one group, a shipped one by the other; none was taken away.
    eventually("the groups have all", || running.counts().handled == published).await;
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tail_goes_on_when_the_connection_was_lost() {
    let running = service("cli-cut", &Broken::default()).await;
    let connection = Memory::named("cli-cut");
    let own = connection.clone();
    let tail = captured(&["tail", "--limit", "40"], "", false, || bus().transport(Arc::new(own)));
    tokio::pin!(tail);

    let mut published = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut tail => break ended,
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        running.publisher().publish(&placed("o-1")).await.unwrap();
        published += 1;
        if published == 20 {
            connection.faults().cut_link();
        }
    };

    assert_eq!((ended.code, ended.out.lines().count()), (0, 40));
    assert!(
        ended.err.contains("the connection was lost (") && ended.err.ends_with("connected again\n"),
        "{ended:?}"
    );
    assert!(published > 40, "nothing was missed");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_doctor_tells_each_state_of_a_service_and_what_to_do() {
    let doctor = async || at("cli-doctor", &["doctor", "--watch", "0s"]).await;
    let broken = Broken::default();

    let never_started = doctor().await;
    let running = three_dead_letters("cli-doctor", &broken).await;
    let with_dead_letters = doctor().await;
    let purged = at("cli-doctor", &["dlq", "purge", "--group", "cli-projections", "--yes"]).await;
    assert_eq!(purged.code, 0, "{purged:?}");
    let healthy = doctor().await;
    running.publisher().publish(&shipped("o-1")).await.unwrap();
    running.stop().await.unwrap();
    let publishing = bus().publish_only().url("memory://cli-doctor").build().unwrap().start().await.unwrap();
    publishing.publisher().publish(&placed("o-4")).await.unwrap();
    publishing.stop().await.unwrap();
    let stopped = doctor().await;
    let json = at("cli-doctor", &["doctor", "--watch", "0s", "--json"]).await;

    let codes = [&never_started, &with_dead_letters, &healthy, &stopped, &json].map(|captured| captured.code);
    assert_eq!(codes, [1, 0, 0, 1, 1]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["ok"], &json["findings"][0]["status"]), (&false.into(), &"ok".into()));
    let texts = [never_started, with_dead_letters, healthy, stopped].map(|captured| shown(&captured));
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn init_writes_four_files_and_overwrites_none() {
    let dir = Dir::new("init");
    let path = dir.0.join("new");
    let init = ["init", "--dir", path.to_str().unwrap()];

    let first = shop(&init).await;
    fs::write(path.join("es-bus.toml"), "mine").unwrap();
    fs::remove_file(path.join("compose.yaml")).unwrap();
    let second = shop(&init).await;
    let kept = fs::read_to_string(path.join("es-bus.toml")).unwrap();
    let forced = shop(&[&init[..], &["--force"]].concat()).await;

    assert_eq!(kept, "mine");
    assert!(fs::read_to_string(path.join("es-bus.toml")).unwrap().contains("# The bus"));
    let read = Bus::builder().without_environment().registry(registry()).state(Broken::default());
    read.config_file(path.join("es-bus.toml")).set("url", "memory://").build().unwrap();
    let texts =
        [first, second, forced].map(|captured| shown(&captured).replace(path.to_str().unwrap(), "DIR"));
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn completions_are_for_the_program_by_its_name() {
    for shell in ["bash", "fish", "zsh", "elvish", "powershell"] {
        let script = shop(&["completions", shell]).await;

        assert_eq!(script.code, 0);
        assert!(script.out.contains("shop") && script.out.contains("replay"), "{shell}");
    }
}

/// A directory that is gone when the test is.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("es-bus-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
