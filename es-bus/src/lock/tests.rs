//! What of each change a running system stands, as a table over one small program.

use super::*;

const BASE: &str = r#"format = 2

[settings]
exchange_type = "topic"

[exchange.events]
kind = "topic"

[exchange."events.audit.retry"]
kind = "headers"

[queue."events.audit"]
arguments.x-max-length = 100
arguments.x-queue-type = "quorum"
bindings = [
    { exchange = "events", key = "Order.*" },
    { exchange = "events", key = "Invoice.Sent" },
]

[queue."events.audit.dlq"]
arguments.x-queue-type = "quorum"

[queue."events.audit.retry.1s"]
bindings = [
    { exchange = "events.audit.retry", key = "", arguments = { es-delay = "1s", x-match = "all" } },
]

[group.audit]
queue = "events.audit"
dlq = "events.audit.dlq"
settings.kind = "quorum"
handlers = [
    { name = "book", takes = ["Invoice.Sent"], formerly = ["enter"] },
    { name = "record", binds = ["Order.*"], settings = { retries = 5 } },
]

[event."Invoice.Sent"]
exchange = "events"
key = "Invoice.Sent"
version = 2
schema = [
    "$: object",
    "id: string",
    "note?: string or null",
    "strict: object, closed",
    "strict.a?: string",
    "total: object",
    "total.amount: number",
]

[event."Order.Placed"]
exchange = "events"
key = "Order.Placed"
version = 1
priority = 3
headers.region = "eu"
"#;

fn lock(text: &str) -> Lock {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is written instead of what, and what is found.
type Case = (Vec<(String, String)>, Vec<String>);

/// What is found when this is written instead of that, each with a mark when it breaks something.
fn found(changes: &[(&str, &str)]) -> Vec<String> {
    let mut text = BASE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let findings = lock(BASE).check(&lock(&text));
    for finding in &findings {
        assert_eq!(finding.breaks(), finding.remedy.is_some(), "what breaks has a remedy: {finding}");
    }
    let mark = |finding: &LockFinding| if finding.breaks() { "! " } else { "" };
    findings.iter().map(|it| format!("{}{}: {}", mark(it), it.subject, it.found)).collect()
}

#[test]
fn a_stream_stays_bound_when_it_is_declared_no_more_and_keeps_its_limits() {
    let stream = |age: &str| {
        let queue = "[queue.\"events.log.stream\"]\narguments.x-max-age = \"AGE\"\narguments.x-queue-type = \"stream\"\n";
        lock(&BASE.replacen("[group.audit]", &format!("{}\n[group.audit]", queue.replace("AGE", age)), 1))
    };

    let gone = stream("60s").check(&lock(BASE));
    let other = stream("60s").check(&stream("90s"));

    let texts = [&gone, &other]
        .map(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    assert!(gone[0].breaks() && texts[0].contains("stays bound and goes on to keep what comes"), "{texts:?}");
    assert!(other[0].breaks() && texts[1].contains("a stream is not migrated"), "{texts:?}");
}

#[test]
fn every_change_is_told_and_what_breaks_a_running_system_is_refused() {
    let queue = "queue \"events.audit\"";
    let (group, sent) = ("group \"audit\"", "event \"Invoice.Sent\"");
    let field = |line: &'static str| format!("    \"{line}\",\n");
    let table: Vec<Case> = [
        (vec![], vec![]),
        // Exchanges.
        (
            vec![("kind = \"topic\"", "kind = \"direct\"\ndurable = false")],
            vec![
                "! exchange \"events\": kind was topic, is direct".to_owned(),
                "! exchange \"events\": durable was true, is false".to_owned(),
            ],
        ),
        (
            vec![("kind = \"topic\"", "kind = \"topic\"\narguments.alternate-exchange = \"lost\"")],
            vec!["! exchange \"events\": alternate-exchange was not set, is \"lost\"".to_owned()],
        ),
        (
            vec![("[exchange.events]", "[exchange.billing]\nkind = \"topic\"\n\n[exchange.events]")],
            vec!["exchange \"billing\": is new".to_owned()],
        ),
        // Queues.
        (
            vec![("x-queue-type = \"quorum\"", "x-queue-type = \"classic\"")],
            vec![format!("! {queue}: x-queue-type was \"quorum\", is \"classic\"")],
        ),
        // A number and its digits are not the same to the broker.
        (
            vec![("x-max-length = 100", "x-max-length = \"100\"")],
            vec![format!("! {queue}: x-max-length was 100, is \"100\"")],
        ),
        (
            vec![("arguments.x-max-length = 100\n", "auto_delete = true\n")],
            vec![
                format!("! {queue}: auto_delete was false, is true"),
                format!("! {queue}: x-max-length was 100, is not set"),
            ],
        ),
        (
            vec![(
                "[queue.\"events.audit.retry.1s\"]\nbindings = [\n    { exchange = \"events.audit.retry\", key = \"\", \
                 arguments = { es-delay = \"1s\", x-match = \"all\" } },\n]\n",
                "",
            )],
            vec![
                "queue \"events.audit.retry.1s\": not declared any more; what waits in it still comes back, and it can be \
                 deleted when it is empty"
                    .to_owned(),
            ],
        ),
        // Bindings.
        (
            vec![("key = \"Order.*\"", "key = \"Order.#\"")],
            vec![
                format!(
                    "! {queue}: the binding to exchange \"events\" by \"Order.*\" is dropped; it stays on the broker, and \
                     goes on to bring events that nothing here asks for"
                ),
                format!("{queue}: the binding to exchange \"events\" by \"Order.#\" is new"),
            ],
        ),
        (
            vec![("    { exchange = \"events\", key = \"Order.*\" },\n", ""), (
                "key = \"Invoice.Sent\" },\n]",
                "key = \"Invoice.Sent\" },\n]\nretired = [{ exchange = \"events\", key = \"Order.*\" }]",
            )],
            vec![format!("{queue}: the binding to exchange \"events\" by \"Order.*\" is retired")],
        ),
        (
            vec![("es-delay = \"1s\"", "es-delay = \"2s\"")],
            vec![
                "! queue \"events.audit.retry.1s\": the binding to exchange \"events.audit.retry\" by es-delay = \"1s\", \
                 x-match = \"all\" is dropped; it stays on the broker, and goes on to bring events that nothing here asks for"
                    .to_owned(),
                "queue \"events.audit.retry.1s\": the binding to exchange \"events.audit.retry\" by es-delay = \"2s\", \
                 x-match = \"all\" is new"
                    .to_owned(),
            ],
        ),
        // Groups.
        (
            vec![("[group.audit]", "[group.books]")],
            vec![
                "group \"audit\": is group \"books\" now, with the same queue".to_owned(),
                "group \"books\": is new".to_owned(),
            ],
        ),
        (
            vec![("[group.audit]\nqueue = \"events.audit\"", "[group.books]\nqueue = \"events.books\"")],
            vec![
                "! group \"audit\": is gone, and its queue \"events.audit\" stays bound and fills".to_owned(),
                "group \"books\": is new".to_owned(),
            ],
        ),
        (
            vec![
                ("[exchange.\"events.audit.retry\"]", "[exchange.\"events.books.retry\"]"),
                ("[queue.\"events.audit\"]", "[queue.\"events.books\"]"),
                ("[queue.\"events.audit.retry.1s\"]", "[queue.\"events.books.retry.1s\"]"),
                (
                    "[group.audit]\nqueue = \"events.audit\"",
                    "[group.books]\nformerly = [\"audit\"]\nqueue = \"events.books\"",
                ),
            ],
            vec![
                "exchange \"events.books.retry\": is new".to_owned(),
                "queue \"events.books\": is new".to_owned(),
                "queue \"events.books.retry.1s\": is new".to_owned(),
                "group \"audit\": is group \"books\" now: `topology migrate` moves what is in \"events.audit\" to \
                 \"events.books\", before this version starts and once more when the last replica of the old one is gone"
                    .to_owned(),
                "group \"books\": is new".to_owned(),
            ],
        ),
        (
            vec![("[group.audit]", "[group.audit]\nformerly = [\"accounts\"]")],
            vec![format!("{group}: was \"accounts\"")],
        ),
        (
            vec![("queue = \"events.audit\"\n", "queue = \"events.books\"\n"), ("dlq = \"events.audit.dlq\"\n", "")],
            vec![
                format!(
                    "! {group}: its queue was \"events.audit\", is \"events.books\": the old one stays bound and fills"
                ),
                format!("! {group}: its dead letters went to \"events.audit.dlq\", and are dropped now"),
            ],
        ),
        (
            vec![("dlq = \"events.audit.dlq\"", "dlq = \"graveyard\"")],
            vec![format!(
                "! {group}: its dead letters went to \"events.audit.dlq\", go to \"graveyard\": what is in the old one is \
                 forgotten"
            )],
        ),
        // Handlers.
        // What is said besides.
        (
            vec![("exchange_type = \"topic\"", "exchange_type = \"topic\"\nprogram = \"shop\"")],
            vec!["settings: program was not set, is \"shop\"".to_owned()],
        ),
        (
            vec![("settings.kind = \"quorum\"\n", "")],
            vec![format!("{group}: kind was \"quorum\", is not set")],
        ),
        (
            vec![("binds = [\"Order.*\"], settings = { retries = 5 }", "settings = { retries = 6 }")],
            vec![
                format!("{group}: handler \"record\": retries was 5, is 6"),
                format!("{group}: handler \"record\": it asked for \"Order.*\", asks for the events that it takes"),
            ],
        ),
        (
            vec![("name = \"record\"", "name = \"record\", emits = [\"Order.Placed\"]")],
            vec![format!("{group}: handler \"record\": it published nothing, publishes Order.Placed")],
        ),
        (
            vec![("kind = \"topic\"", "kind = \"topic\"\ndeclared = true")],
            vec!["exchange \"events\": is declared by itself now".to_owned()],
        ),
        (
            vec![("priority = 3\nheaders.region = \"eu\"", "persistent = false\nheaders.region = \"us\"\nheaders.vip = true")],
            vec![
                "! event \"Order.Placed\": header region was \"eu\", is \"us\": who is bound by the one does not get the \
                 other"
                    .to_owned(),
                "event \"Order.Placed\": persistent was true, is false".to_owned(),
                "event \"Order.Placed\": priority was 3, is not set".to_owned(),
                "event \"Order.Placed\": header vip was not set, is true".to_owned(),
            ],
        ),
        (
            vec![("name = \"record\"", "name = \"write\"")],
            vec![
                format!(
                    "! {group}: handler \"record\" is gone: its retries that still wait end as dead letters (handler_gone)"
                ),
                format!("{group}: handler \"write\" is new"),
            ],
        ),
        (
            vec![("name = \"record\"", "name = \"write\", formerly = [\"record\"]")],
            vec![format!("{group}: handler \"record\" is \"write\" now")],
        ),
        (
            vec![(", formerly = [\"enter\"]", "")],
            vec![format!("! {group}: handler \"book\" is not known as \"enter\" any more")],
        ),
        (
            vec![("takes = [\"Invoice.Sent\"], ", "")],
            vec![format!("{group}: handler \"book\" took Invoice.Sent, takes raw events")],
        ),
        // Events.
        (
            vec![("[event.\"Order.Placed\"]\nexchange = \"events\"\nkey = \"Order.Placed\"\nversion = 1\npriority = 3\nheaders.region = \"eu\"\n", "")],
            vec![
                "! event \"Order.Placed\": is gone, and queue \"events.audit\" is still bound to \"Order.Placed\": what \
                 others publish is unknown here"
                    .to_owned(),
            ],
        ),
        (
            vec![
                ("[event.\"Order.Placed\"]\nexchange = \"events\"\nkey = \"Order.Placed\"\nversion = 1\npriority = 3\nheaders.region = \"eu\"\n", ""),
                ("key = \"Order.*\"", "key = \"Basket.*\""),
            ],
            vec![
                format!(
                    "! {queue}: the binding to exchange \"events\" by \"Order.*\" is dropped; it stays on the broker, and \
                     goes on to bring events that nothing here asks for"
                ),
                format!("{queue}: the binding to exchange \"events\" by \"Basket.*\" is new"),
                "event \"Order.Placed\": is gone, and nothing here is bound to it".to_owned(),
            ],
        ),
        (
            vec![("key = \"Order.Placed\"", "key = \"order.placed\"\nnested = true")],
            vec![
                "! event \"Order.Placed\": was published to \"events\" as \"Order.Placed\", is published to \"events\" as \
                 \"order.placed\": who is bound to the one does not get the other"
                    .to_owned(),
                "! event \"Order.Placed\": its fields stood beside the envelope's, stand under `payload`".to_owned(),
            ],
        ),
        (vec![("version = 2", "version = 3")], vec![format!("{sent}: its version was 2, is 3")]),
        (vec![("version = 2", "version = 1")], vec![format!("! {sent}: its version was 2, is 1")]),
    ]
    .into_iter()
    .map(|(changes, expected)| {
        (changes.into_iter().map(|(from, to)| (from.to_owned(), to.to_owned())).collect(), expected)
    })
    .chain(
        // Schemas: a line of the former one, a line of the new one, what is found.
        [
            ("", "tax: number", "! field tax is new and required: messages without it, which wait in queues, cannot be read"),
            ("", "tax?: number", "field tax is new and optional"),
            ("", "strict.b?: number", "! field strict.b is new, and readers of the former version refuse fields that they do not know"),
            ("id: string", "", "! field id is gone, and readers of the former version require it"),
            ("note?: string or null", "", "field note is gone, and was optional"),
            ("strict.a?: string", "", "! field strict.a is gone, and messages that have it, which wait in queues, are refused for it"),
            ("id: string", "id?: string", "field id is optional now; it has to be written until every reader does without it"),
            ("note?: string or null", "note: string or null", "! field note is required now: messages without it, which wait in queues, cannot be read"),
            ("id: string", "id: integer", "! field id was string, is integer: neither side reads what the other writes"),
            // Of what is in it nothing more.
            ("total: object", "total: number", "! field total was object, is number: neither side reads what the other writes"),
            ("total.amount: number", "total.amount: string", "! field total.amount was number, is string: neither side reads what the other writes"),
            ("$: object", "$: object, closed", "! it refuses fields that it does not know now: of newer and of older messages"),
            ("strict: object, closed", "strict: object", "field strict takes fields that it does not know"),
        ]
        .map(|(from, to, expected)| {
            let (from, to) = match (from, to) {
                ("", to) => ("schema = [\n".to_owned(), format!("schema = [\n{}", field(to))),
                (from, "") => (field(from), String::new()),
                (from, to) => (field(from), field(to)),
            };
            let expected = match expected.strip_prefix("! ") {
                Some(expected) => format!("! {sent}: {expected}"),
                None => format!("{sent}: {expected}"),
            };
            (vec![(from, to)], vec![expected])
        }),
    )
    .collect();
    for (changes, expected) in table {
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (&**from, &**to)).collect();
        assert_eq!(found(&changes), expected, "{changes:?}");
    }
}

#[test]
fn a_schema_that_is_gone_is_refused_and_one_that_comes_is_not() {
    let (head, rest) = BASE.split_once("schema = [").unwrap();
    let (_, tail) = rest.split_once("]\n").unwrap();
    let without = lock(&format!("{head}{tail}"));

    assert!(lock(BASE).check(&without)[0].breaks());
    assert_eq!(without.check(&lock(BASE))[0].to_string(), "event \"Invoice.Sent\": has a schema now");
}

#[test]
fn a_lock_of_an_older_format_is_held_to_what_it_says() {
    let older =
        BASE.replace("format = 2", "format = 1").replace("[settings]\nexchange_type = \"topic\"\n", "");
    let older = older.replace("settings.kind = \"quorum\"\n", "").replace(", settings = { retries = 5 }", "");

    assert_eq!(lock(&older).check(&lock(BASE)), []);
    assert!(lock(&older.replace("version = 2", "version = 3")).check(&lock(BASE))[0].breaks());
}

#[test]
fn what_is_written_is_read_again_as_it_was() {
    let odd = r#"format = 2
[queue."a \"b\".c"]
durable = false
arguments = { "x odd" = [1, 2.0, true, { a = "ü\n" }], x-inf = inf }
retired = [{ exchange = "e", key = "\u0007" }]
[event."A.B"]
exchange = "e"
key = "k"
version = 1
schema = ['state: string, one of "a" "b"', "it's \"x\""]
"#;
    for text in [BASE, odd] {
        let read = lock(text);

        let written = read.to_string();

        assert_eq!(lock(&written), read, "{written}");
        assert_eq!(lock(&written).to_string(), written);
    }
}

#[test]
fn what_is_no_lock_is_refused_with_its_line() {
    let error = |text: &str| text.parse::<Lock>().unwrap_err();

    assert_eq!(error("[exchange.events]\nkind = \"topic\"\n"), LockError::NoFormat);
    assert_eq!(error("format = 3\nnew = true\n"), LockError::Newer { found: 3, known: 2 });
    for (text, line, part) in [
        ("format = 1\n\n<<<<<<< HEAD\n", 3, "expected `=`"),
        ("format = 1\n[exchange.events]\nkind = \"topic\"\ncolour = \"red\"\n", 4, "colour"),
        ("format = 1\n[group.audit]\nqueue = 7\n", 3, "string"),
        ("format = 1\n[queue.a]\nbindings = [\n    { exchange = \"e\" },\n]\n", 4, "key"),
    ] {
        let LockError::Line { line: found, reason } = error(text) else { panic!("{text}") };
        assert_eq!(found, line, "{text}{reason}");
        assert!(reason.contains(part), "{reason}");
    }
    let text = error("format = 1\nx").to_string();
    assert!(text.starts_with("line 2: ") && text.contains("version control"), "{text}");
}

#[test]
fn a_group_keeps_the_names_that_it_had_until_nothing_of_them_is_left() {
    let with = BASE.replacen("[group.audit]", "[group.audit]\nformerly = [\"accounts\"]", 1);

    let findings = lock(&with).check(&lock(BASE));

    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].breaks());
    assert!(
        findings[0]
            .to_string()
            .starts_with("group \"audit\": is not known as \"accounts\" any more; leave it")
    );
    assert!(lock(&lock(&with).to_string()).check(&lock(&with)).is_empty(), "it is written as it is read");
}
