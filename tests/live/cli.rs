//! The command line of a program, as an operator types it.

use std::sync::Arc;

use es_bus_tests::{Node, Vhost, python};
use serde_json::Value;

use crate::support::{Ended, Launch, PATIENCE, TempDir, soon};

/// The program, and the broker that its variable names.
struct Shop {
    vhost: Vhost,
    dir: Arc<TempDir>,
    /// Where the management API is, of a program that knows.
    management: Option<String>,
}

impl Shop {
    fn on(vhost: Vhost) -> Self {
        Self { vhost, dir: Arc::new(TempDir::new()), management: None }
    }

    fn launch(&self, arguments: &[&str]) -> Launch {
        let launch = Launch::new(env!("CARGO_BIN_EXE_operations-as-tested"), &self.dir);
        let mut launch = launch.env("ES_BUS_URL", self.vhost.url());
        if let Some(url) = &self.management {
            launch = launch.env("ES_BUS_MANAGEMENT_URL", url);
        }
        arguments.iter().fold(launch, |launch, argument| launch.arg(argument))
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = self.launch(arguments).run();
        ended.assert_code(code);
        ended
    }

    /// What a command tells a program.
    #[track_caller]
    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat(), code);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// The findings of the doctor that are no more than a warning away from being good.
    #[track_caller]
    fn complaints(&self, code: i32) -> Vec<String> {
        let report = self.json(&["doctor", "--watch", "0s"], code);
        let findings = report["findings"].as_array().expect("a list").iter();
        let told = findings.filter(|finding| finding["status"] != "ok");
        told.map(|finding| format!("{}: {}", finding["check"], finding["found"]).replace('"', "")).collect()
    }
}

#[test]
fn operates_a_service_from_its_first_start_to_its_last_dead_letter() {
    let shop = Shop::on(Node::shared().vhost("cli"));

    let never_started = shop.complaints(1);
    let mut service = shop.launch(&["run"]).start();
    service.until_says("group \"projections\" consumes shop.projections");
    let started = shop.complaints(0);
    let mut tail = shop.launch(&["tail", "--key", "Order.OrderPlaced", "--limit", "1", "--json"]).start();
    tail.until_says("listening to Order.OrderPlaced on shop");
    let bad = r#"{"order_id": "o-1", "total": -1}"#;
    shop.run(&["publish", "OrderPlaced", "--data", bad, "--id", "bad-order"], 0);
    let seen: Value = serde_json::from_str(&tail.wait(PATIENCE).assert_code(0).stdout).expect("one line");
    let first = soon("it is dead-lettered", || {
        shop.json(&["dlq", "list"], 0).as_array().and_then(|letters| letters.first().cloned())
    });
    let id = first["id"].as_str().expect("an id");
    let shown = shop.json(&["dlq", "show", "--id", id], 0);
    shop.run(&["dlq", "check"], 1);
    let with_dead_letters = shop.complaints(0);
    let dry = shop.json(&["dlq", "replay", "--id", id, "--dry-run"], 0);
    let replayed = shop.json(&["dlq", "replay", "--id", id], 0);
    let again = soon("it fails again", || {
        shop.json(&["dlq", "list"], 0).as_array().and_then(|letters| letters.first().cloned())
    });
    let refused = shop.run(&["dlq", "purge"], 64);
    let purged = shop.json(&["dlq", "purge", "--yes"], 0);
    shop.run(&["dlq", "check"], 0);
    service.signal("TERM");
    service.wait(PATIENCE).assert_code(0);

    assert_eq!(never_started.len(), 1, "{never_started:?}");
    assert!(
        never_started[0].starts_with("topology: nothing of what the program declares"),
        "{never_started:?}"
    );
    assert_eq!(started, Vec::<String>::new());
    assert_eq!((&seen["event_id"], &seen["body"]["order_id"]), (&"bad-order".into(), &"o-1".into()));
    assert_eq!((&first["reason"], &first["replays"]), (&"handler_error".into(), &0.into()));
    assert_eq!(shown["error"], "an order over -1 is no order");
    assert_eq!(with_dead_letters, ["dead letters: shop.projections.dlq has 1 dead letter"]);
    assert_eq!((&dry["matched"], &dry["replayed"]), (&1.into(), &0.into()));
    assert_eq!((&replayed["replayed"], &replayed["left"]), (&1.into(), &0.into()));
    assert_eq!((&again["event_id"], &again["replays"]), (&"bad-order".into(), &1.into()));
    assert_ne!(again["id"], first["id"]);
    assert!(refused.stderr.contains("add --yes"), "{refused:?}");
    assert_eq!(purged["dropped"], 1);
    let queues = shop.vhost.queues();
    assert!(queues.iter().all(|queue| !queue.name.contains(".tail.")), "the tail's queue stays");
}

#[test]
fn the_doctor_tells_one_closed_door_from_another() {
    let shop = Shop::on(Node::shared().vhost("cli-doctor"));
    let mut service = shop.launch(&["run"]).start();
    service.until_says("group \"projections\" consumes shop.projections");

    let url = shop.vhost.url();
    let (_, rest) = url.split_once('@').expect("a user");
    let (host, _) = rest.split_once('/').expect("a virtual host");
    let found = |url: &str| {
        let report = shop.json(&["doctor", "--watch", "0s", "--url", url], 1);
        let last = report["findings"].as_array().and_then(|all| all.last()).cloned().expect("a finding");
        format!("{}: {}", last["check"], last["found"]).replace(['"', '\\'], "").replace(host, "HOST")
    };
    let wrong = format!("amqp://guest:a-wrong-one@{rest}");
    let once = shop.run(&["dlq", "count", "--url", &wrong], 1);
    let login = found(&wrong);
    let vhost = found(&format!("amqp://guest:guest@{host}/nowhere"));
    let silent = found("amqp://guest:guest@127.0.0.1:1/");
    let differs = shop.launch(&["doctor", "--watch", "0s"]).env("ES_BUS_GROUP__PROJECTIONS__MAX_LENGTH", "5");
    let differs = differs.run();

    // Not in the log as well.
    assert!(once.stderr.starts_with("Error: ") && once.stderr.lines().count() == 1, "{once:?}");
    assert!(login.starts_with("login: refused: ") && !login.contains("a-wrong-one"), "{login}");
    assert!(vhost.starts_with("vhost: there is no nowhere for this user: "), "{vhost}");
    assert!(silent.starts_with("connection: none to amqp://guest@127.0.0.1:1/: "), "{silent}");
    differs.assert_code(1);
    let difference = "queue shop.projections: x-max-length is 5 here, and not set on the broker";
    assert!(differs.stdout.contains(difference), "{differs:?}");
    // What is interrupted ends in order, and says so by its code.
    let mut doctor = shop.launch(&["doctor", "--watch", "1h", "-v"]).start();
    doctor.until_says("side=\"publishing\"");
    doctor.signal("INT");
    doctor.wait(PATIENCE).assert_code(130);
    let mut tail = shop.launch(&["tail"]).start();
    tail.until_says("listening to # on shop");
    tail.signal("INT");
    tail.wait(PATIENCE).assert_code(0);
    service.signal("TERM");
    service.wait(PATIENCE).assert_code(0);
}

#[test]
fn an_operator_plans_applies_and_is_told_what_is_in_the_way() {
    let node = Node::shared();
    let management = Some(node.management_url());
    let shop = Shop { management, ..Shop::on(node.vhost("cli-plan")) };
    let resized = |arguments: &[&str], code: i32| {
        let ended = shop.launch(arguments).env("ES_BUS_GROUP__PROJECTIONS__MAX_LENGTH", "5").run();
        ended.assert_code(code);
        ended
    };

    let empty = shop.json(&["topology", "plan"], 2);
    let unasked = shop.run(&["topology", "apply"], 64);
    let applied = shop.json(&["topology", "apply", "--yes"], 0);
    let after = shop.json(&["topology", "plan"], 0);
    let exact = shop.run(&["topology", "verify"], 0);
    let well = shop.run(&["doctor", "--watch", "0s"], 0);
    let conflict = resized(&["topology", "plan"], 3);
    let drift = resized(&["topology", "verify"], 3);
    let refused = resized(&["topology", "apply", "--yes"], 3);
    let ill = resized(&["doctor", "--watch", "0s"], 1);
    let blind = Shop { management: Some("none".to_owned()), ..shop };
    let unseen = blind.run(&["topology", "verify"], 2);

    assert_eq!((&empty["outcome"], &after["outcome"]), (&"changes".into(), &"nothing".into()));
    assert!(unasked.stderr.contains("add --yes"), "{unasked:?}");
    let steps = empty["steps"].as_array().expect("a list").len();
    assert_eq!(applied["done"].as_array().expect("a list").len(), steps);
    assert!(exact.stdout.ends_with("has exactly what is declared\n"), "{exact:?}");
    for told in
        ["ok    broker        RabbitMQ ", "ok    alarms        none; ", "ok    rights        guest may do"]
    {
        assert!(well.stdout.contains(told), "{told}: {well:?}");
    }
    assert!(conflict.stdout.contains("x-max-length  this program: 5, the broker: not set"), "{conflict:?}");
    assert!(drift.stdout.contains("x-max-length is 5 here and not set there"), "{drift:?}");
    assert!(refused.stderr.contains("nothing was done"), "{refused:?}");
    let difference = "queue shop.projections: x-max-length is 5 here, and not set on the broker";
    assert!(ill.stdout.contains(difference), "{ill:?}");
    assert!(unseen.stdout.contains("not to be seen over AMQP alone"), "{unseen:?}");
}

#[test]
fn the_binary_operates_a_service_by_its_lock_alone() {
    let node = Node::shared();
    let shop = Shop { management: Some(node.management_url()), ..Shop::on(node.vhost("cli-manifest")) };
    let lock = shop.dir.path("es-bus.lock");
    shop.run(&["lock", lock.to_str().expect("UTF-8")], 0);
    let binary = |arguments: &[&str], code: i32| {
        let launch = Launch::new(env!("CARGO_BIN_EXE_es-bus-as-tested"), &shop.dir)
            .env("ES_BUS_URL", shop.vhost.url())
            .env("ES_BUS_MANAGEMENT_URL", node.management_url())
            .env("ES_BUS_MANIFEST", &lock);
        let ended = arguments.iter().fold(launch, |launch, argument| launch.arg(argument)).run();
        ended.assert_code(code);
        ended
    };

    let planned = [binary(&["topology", "plan", "--json"], 2), shop.run(&["topology", "plan", "--json"], 2)];
    binary(&["topology", "apply", "--yes"], 0);
    let nothing = binary(&["topology", "plan"], 0);
    shop.run(&["topology", "verify"], 0);
    let order = r#"{"order_id": "o-1", "total": 1}"#;
    let published = binary(&["publish", "OrderPlaced", "--data", order], 0);
    let counted = [binary(&["dlq", "count"], 0), shop.run(&["dlq", "count"], 0)];
    let refused = binary(&["run"], 64);

    assert_eq!(planned[0].stdout, planned[1].stdout);
    assert!(nothing.stdout.contains("nothing to do"), "{nothing:?}");
    assert!(published.stdout.ends_with(" to shop as Order.OrderPlaced\n"), "{published:?}");
    assert_eq!(counted[0].stdout, counted[1].stdout);
    assert!(counted[0].stdout.contains("projections  shop.projections.dlq  0"), "{counted:?}");
    assert!(refused.stderr.contains("a manifest has no code"), "{refused:?}");
}

/// Runs what its arguments say on a terminal of its own, and passes on what is written there.
const ON_A_TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

#[test]
fn a_bar_is_drawn_for_who_waits_at_a_terminal_and_for_nobody_else() {
    let shop = Shop::on(Node::shared().vhost("cli-bar"));
    let on_a_terminal = |environment: &[(&str, &str)], arguments: &[&str]| {
        let launch = Launch::new(python().to_str().expect("UTF-8"), &shop.dir);
        let launch = launch.env("ES_BUS_URL", shop.vhost.url()).env("TERM", "xterm").env("CLICOLOR", "1");
        let launch = environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        let launch = launch.arg("-c").arg(ON_A_TERMINAL).arg(env!("CARGO_BIN_EXE_operations-as-tested"));
        let ended = arguments.iter().fold(launch, |launch, argument| launch.arg(argument)).run();
        ended.assert_code(0);
        ended.stdout
    };
    shop.run(&["topology", "apply", "--yes"], 0);
    let order = r#"{"order_id": "o-1", "total": 1}"#;
    shop.run(&["publish", "OrderPlaced", "--data", order], 0);
    // What waits to be handled is gone through as dead letters are, and stays.
    let dry = ["dlq", "replay", "--queue", "shop.projections", "--all", "--dry-run"];

    let drawn = on_a_terminal(&[], &dry);
    let plain = on_a_terminal(&[("NO_COLOR", "1")], &dry);
    let json = on_a_terminal(&[], &[&dry[..], &["--json"]].concat());
    let dumb = on_a_terminal(&[("TERM", "dumb")], &dry);
    let piped = shop.run(&dry, 0);

    let result = "would replay 1 of 1 dead letter in shop.projections";
    assert!(drawn.contains("shop.projections [\u{1b}[32m=") && drawn.contains("] 1/1"), "{drawn:?}");
    assert!(plain.contains("shop.projections [=") && plain.contains("] 1/1"), "{plain:?}");
    // Gone again, before what came of it.
    for terminal in [&drawn, &plain] {
        assert!(terminal.trim_end().ends_with(&format!("\u{1b}[2K{result}")), "{terminal:?}");
    }
    assert!(!json.contains("1/1"), "{json:?}");
    assert_eq!(dumb.trim_end(), result);
    assert_eq!((piped.stdout.trim_end(), piped.stderr.as_str()), (result, ""));
}

#[test]
fn colours_follow_the_environment() {
    let dir = Arc::new(TempDir::new());
    let check = || Launch::new(env!("CARGO_BIN_EXE_operations-as-tested"), &dir).arg("check");

    let forced = check().env("CLICOLOR_FORCE", "1").run();
    let refused = check().env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run();

    assert!(forced.assert_code(0).stdout.starts_with("\u{1b}[32mok\u{1b}[0m: 2 events"), "{forced:?}");
    assert!(refused.assert_code(0).stdout.starts_with("ok: 2 events"), "{refused:?}");
}
