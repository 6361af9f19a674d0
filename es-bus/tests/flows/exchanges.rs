//! Exchanges of every kind: who gets what, told from the names in the annotations alone.

use es_bus::{
    Bus, HandlerError, RawEvent, Registry, State, event, exchange, group, handler,
    model::{ExchangeKind, Topology},
    testing::TestBus,
};
use serde::{Deserialize, Serialize};

use crate::support::{Journal, ready_in, take_all, without_handler};

/// An event without anything to say, under a key of its own.
macro_rules! events {
    ($($name:ident($($keys:tt)*);)+) => {$(
        #[event($($keys)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub(crate) struct $name {}
    )+};
}

/// The bindings on an exchange: queue and key, or headers.
fn bindings(topology: &Topology, exchange: &str) -> Vec<String> {
    let mut bindings: Vec<_> = topology
        .bindings()
        .filter(|binding| binding.source.as_str() == exchange)
        .map(|binding| {
            let arguments: Vec<_> = binding
                .arguments
                .iter()
                .map(|(name, value)| match value.as_str() {
                    Some(text) => format!(" {name}={text}"),
                    None => format!(" {name}={:?}", value.as_int()),
                })
                .collect();
            format!("{} {:?}{}", binding.queue, binding.key, arguments.concat())
        })
        .collect();
    bindings.sort();
    bindings
}

fn topology(registry: Registry) -> Topology {
    let builder = Bus::builder().without_environment().url("memory://").state(Journal::default());
    let bus = builder.registry(registry).build();
    bus.unwrap_or_else(|error| panic!("{error:?}")).topology().clone()
}

mod topics {
    use super::*;

    #[exchange(name = "erp.events")]
    struct Erp;

    events! {
        UserCreated(name = "user.created", key = "auth.user.created", exchange = Erp);
        VariantCreated(key = "catalog.variant.created", exchange = Erp);
        OrderCreatedUs(key = "order.created.us", exchange = "erp.events");
        OrderCreatedEu(key = "order.created.eu", exchange = Erp);
        OrderPaidUs(key = "order.paid.us", exchange = Erp);
        // The name of an event need not be that of its type, and may make the whole key.
        BookCreated(aggregate = "book", name = "created", exchange = Erp);
        BookPriceChanged(aggregate = "book", name = "price_changed", exchange = Erp);
    }

    #[group(name = "all", exchange = Erp)]
    struct All;
    #[group(name = "created", exchange = Erp)]
    struct Created;
    #[group(name = "us", exchange = Erp)]
    struct Us;
    #[group(name = "orders", exchange = Erp)]
    struct Orders;
    #[group(name = "books", exchange = Erp)]
    struct Books;

    #[handler(group = All, bind = "#")]
    async fn all(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("all {}", event.routing_key));
    }

    #[handler(group = Created, bind = "*.*.created")]
    async fn created(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("*.*.created {}", event.routing_key));
    }

    #[handler(group = Us, bind = "order.*.us")]
    async fn us(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("order.*.us {}", event.routing_key));
    }

    #[handler(group = Orders, bind = "order.#")]
    async fn orders(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("order.# {}", event.routing_key));
    }

    #[handler(group = Books, bind = "book.*")]
    async fn books(event: BookCreated, delivered: es_bus::Delivered, State(journal): State<Journal>) {
        let _ = event;
        journal.note(format!("book.* {}", delivered.routing_key));
    }

    pub(super) fn registry() -> Registry {
        Registry::new()
            .event::<UserCreated>()
            .event::<VariantCreated>()
            .event::<OrderCreatedUs>()
            .event::<OrderCreatedEu>()
            .event::<OrderPaidUs>()
            .event::<BookPriceChanged>()
            .handler::<all>()
            .handler::<created>()
            .handler::<us>()
            .handler::<orders>()
            .handler::<books>()
    }

    #[tokio::test(start_paused = true)]
    async fn patterns_over_keys_of_several_words_bring_what_they_say() {
        let journal = Journal::default();
        let bus =
            TestBus::start(|builder| builder.registry(registry()).state(journal.clone())).await.unwrap();

        bus.publish(&UserCreated {}).await.unwrap();
        bus.publish(&VariantCreated {}).await.unwrap();
        bus.publish(&OrderCreatedUs {}).await.unwrap();
        bus.publish(&OrderCreatedEu {}).await.unwrap();
        bus.publish(&OrderPaidUs {}).await.unwrap();
        bus.publish(&BookCreated {}).await.unwrap();
        bus.publish(&BookPriceChanged {}).await.unwrap();
        bus.run_until_idle().await;

        let mut lines = journal.lines();
        lines.sort();
        insta::assert_snapshot!(lines.join("\n"), @r"
        *.*.created auth.user.created
        *.*.created catalog.variant.created
        all auth.user.created
        all book.created
        all book.price_changed
        all catalog.variant.created
        all order.created.eu
        all order.created.us
        all order.paid.us
        book.* book.created
        order.# order.created.eu
        order.# order.created.us
        order.# order.paid.us
        order.*.us order.created.us
        order.*.us order.paid.us
        ");
        // `book.*` is wider than its handler.
        assert_eq!(without_handler(&bus).len(), 1);
        bus.stop().await.unwrap();
    }
}

mod direct {
    use super::*;

    #[exchange(name = "tasks", kind = "direct")]
    pub(super) struct Tasks;

    #[exchange(name = "logs", kind = "direct")]
    struct Logs;

    events! {
        Email(key = "task.mail.send", exchange = Tasks);
        Resize(aggregate = "task", name = "resize", exchange = Tasks);
        Cleanup(aggregate = "task", name = "cleanup", exchange = "tasks");
        Info(key = "info", exchange = Logs);
        Failure(key = "error", exchange = Logs);
    }

    #[event]
    #[derive(Debug, Serialize, Deserialize)]
    enum Media {
        Email(Email),
        Resize(Resize),
    }

    #[handler(group = "media")]
    async fn media(event: Media, State(journal): State<Journal>) {
        journal.note(format!("media {event:?}"));
    }

    #[handler(group = "cleaners", bind = ["task.cleanup", Email::ROUTING_KEY])]
    async fn cleaner(event: CleanerWork, State(journal): State<Journal>) {
        journal.note(format!("cleaner {event:?}"));
    }

    #[event]
    #[derive(Debug, Serialize, Deserialize)]
    enum CleanerWork {
        Email(Email),
        Cleanup(Cleanup),
    }

    #[group(name = "alarm", exchange = Logs)]
    struct Alarm;

    #[handler(group = Alarm, bind = "error")]
    async fn alarm(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("alarm {}", event.routing_key));
    }

    fn registry() -> Registry {
        Registry::new()
            .event::<Info>()
            .event::<Failure>()
            .handler::<media>()
            .handler::<cleaner>()
            .handler::<alarm>()
    }

    #[tokio::test(start_paused = true)]
    async fn each_group_gets_exactly_the_keys_that_it_names() {
        let journal = Journal::default();
        let bus =
            TestBus::start(|builder| builder.registry(registry()).state(journal.clone())).await.unwrap();

        bus.publish(&Email {}).await.unwrap();
        bus.publish(&Resize {}).await.unwrap();
        bus.publish(&Cleanup {}).await.unwrap();
        bus.publish(&Info {}).await.unwrap();
        bus.publish(&Failure {}).await.unwrap();
        bus.run_until_idle().await;

        let mut lines = journal.lines();
        lines.sort();
        assert_eq!(
            lines,
            [
                "alarm error",
                "cleaner Cleanup(Cleanup)",
                "cleaner Email(Email)",
                "media Email(Email)",
                "media Resize(Resize)"
            ]
        );
        assert_eq!(bus.counts().unroutable, 1, "nobody asked for `info`");
        bus.stop().await.unwrap();
    }

    #[test]
    fn without_bind_the_exact_keys_are_declared() {
        assert_eq!(
            bindings(&topology(registry()), "tasks"),
            [
                r#"events.cleaners "task.cleanup""#,
                r#"events.cleaners "task.mail.send""#,
                r#"events.media "task.mail.send""#,
                r#"events.media "task.resize""#
            ]
        );
    }
}

mod fanout {
    use super::*;

    #[exchange(name = "notifications", kind = "fanout")]
    struct Notifications;

    events! {
        Told(key = "news.told", exchange = Notifications);
        Retracted(key = "news.retracted", exchange = Notifications);
    }

    #[handler(group = "mail")]
    async fn mail(_event: Told, State(journal): State<Journal>) {
        journal.note("mail told");
    }

    #[handler(group = "push")]
    async fn push(_event: Told, State(journal): State<Journal>) {
        journal.note("push told");
    }

    #[group(name = "archive", exchange = Notifications)]
    struct Archive;

    /// Of everything, without a `bind`.
    #[handler(group = Archive)]
    async fn archive(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("archive {}", event.routing_key));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_goes_to_every_group_and_each_handler_takes_its_own() {
        let journal = Journal::default();
        let registry =
            Registry::new().event::<Retracted>().handler::<mail>().handler::<push>().handler::<archive>();
        let bus = TestBus::start(|builder| builder.registry(registry.clone()).state(journal.clone()))
            .await
            .unwrap();

        bus.publish(&Told {}).await.unwrap();
        bus.publish(&Retracted {}).await.unwrap();
        // The key says nothing here.
        bus.publish(&Told {}).key("anything.at.all").await.unwrap();
        bus.run_until_idle().await;

        let mut lines = journal.lines();
        lines.sort();
        assert_eq!(
            lines,
            [
                "archive anything.at.all",
                "archive news.retracted",
                "archive news.told",
                "mail told",
                "mail told",
                "push told",
                "push told"
            ]
        );
        assert_eq!(bus.counts().skipped, 2, "what is no event of theirs is skipped by mail and push");
        assert_eq!(
            bindings(&topology(registry), "notifications"),
            [r#"events.mail """#, r#"events.push """#, r#"notifications.archive """#]
        );
        bus.stop().await.unwrap();
    }
}

mod headers {
    use super::*;

    #[exchange(name = "documents", kind = "headers")]
    struct Documents;

    #[event(aggregate = "Report", exchange = Documents, headers(format = "pdf", pages = 3))]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Rendered {}

    #[event(aggregate = "Report", exchange = Documents)]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Exported {}

    /// Without `bind`: the headers that the event always has.
    #[handler(group = "own")]
    async fn own(_event: Rendered, State(journal): State<Journal>) {
        journal.note("own");
    }

    #[handler(group = "all", bind(headers(match = "all", format = "csv", draft = false)))]
    async fn all(_event: Exported, State(journal): State<Journal>) {
        journal.note("all");
    }

    #[handler(group = "any", bind(headers(match = "any", urgent = true, format = "csv")))]
    async fn any(_event: Exported, State(journal): State<Journal>) {
        journal.note("any");
    }

    /// Two bindings; and two handlers of one group, each with its own.
    #[handler(group = "desk", bind(headers(format = "pdf", pages = 3), headers(format = "csv", desk = 7)))]
    async fn desk(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("desk {}", event.routing_key));
    }

    #[handler(group = "desk", bind(headers(event_type = "Exported")))]
    async fn exports(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("exports {}", event.routing_key));
    }

    fn registry() -> Registry {
        Registry::new()
            .handler::<own>()
            .handler::<all>()
            .handler::<any>()
            .handler::<desk>()
            .handler::<exports>()
    }

    #[tokio::test(start_paused = true)]
    async fn all_and_any_select_by_text_number_and_truth() {
        let journal = Journal::default();
        let bus = TestBus::start(|builder| {
            builder.registry(registry()).state(journal.clone()).set_for_group("desk", "exchange", "documents")
        })
        .await
        .unwrap();
        let mut heard = Vec::new();
        let mut told = |what: &str, journal: &Journal| {
            let mut lines: Vec<_> = journal.lines().drain(heard.len()..).collect();
            lines.sort();
            heard.extend(lines.clone());
            format!("{what}: {}", lines.join(", "))
        };
        let mut story = Vec::new();

        bus.publish(&Rendered {}).await.unwrap();
        bus.run_until_idle().await;
        story.push(told("rendered", &journal));
        bus.publish(&Exported {}).header("format", "csv").header("draft", false).await.unwrap();
        bus.run_until_idle().await;
        story.push(told("csv, final", &journal));
        bus.publish(&Exported {}).header("format", "csv").header("draft", true).await.unwrap();
        bus.run_until_idle().await;
        story.push(told("csv, draft", &journal));
        bus.publish(&Exported {}).header("urgent", true).await.unwrap();
        bus.run_until_idle().await;
        story.push(told("urgent", &journal));
        bus.publish(&Exported {}).header("format", "csv").header("desk", 7_i64).await.unwrap();
        bus.run_until_idle().await;
        story.push(told("csv for desk 7", &journal));
        // A text of digits is no number.
        bus.publish(&Exported {}).header("format", "csv").header("desk", "7").await.unwrap();
        bus.run_until_idle().await;
        story.push(told("csv for desk \"7\"", &journal));

        insta::assert_snapshot!(story.join("\n"), @r#"
        rendered: desk Report.Rendered, own
        csv, final: all, any, exports Report.Exported
        csv, draft: any, exports Report.Exported
        urgent: any, exports Report.Exported
        csv for desk 7: any, desk Report.Exported, exports Report.Exported
        csv for desk "7": any, exports Report.Exported
        "#);
        bus.stop().await.unwrap();
    }

    #[test]
    fn what_is_declared_is_an_empty_key_with_the_match_as_arguments() {
        let registry = Registry::new().handler::<own>().handler::<all>();

        assert_eq!(
            bindings(&topology(registry), "documents"),
            [
                r#"events.all "" draft=None format=csv x-match=all"#,
                r#"events.own "" format=pdf pages=Some(3) x-match=all"#
            ]
        );
    }

    #[handler(
        group = "flaky",
        retries = 2,
        backoff(base = "1s"),
        bind(headers(match = "any", urgent = true, format = "xml"))
    )]
    async fn flaky(
        _event: Exported,
        attempt: es_bus::Attempt,
        State(journal): State<Journal>,
    ) -> Result<(), HandlerError> {
        journal.note(format!("flaky {}", attempt.number));
        Err("not yet".into())
    }

    #[handler(group = "flaky", bind(headers(format = "xml")))]
    async fn sibling(_event: Exported, State(journal): State<Journal>) {
        journal.note("sibling");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_comes_back_to_its_handler_and_keeps_its_headers() {
        let journal = Journal::default();
        let registry = Registry::new().handler::<flaky>().handler::<sibling>();
        let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

        bus.publish(&Exported {}).header("urgent", true).await.unwrap();
        bus.run_to_the_end().await;

        assert_eq!(journal.lines(), ["flaky 0", "flaky 1", "flaky 2"]);
        let dead = take_all(&bus, "events.flaky.dlq").await;
        assert_eq!(dead.len(), 1);
        assert_eq!(
            dead[0].message.headers.get("urgent").map(|value| format!("{value:?}")).as_deref(),
            Some("Bool(true)")
        );
        assert_eq!(dead[0].message.headers.get("es-delay"), None);
        bus.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_lost_its_headers_to_the_frame_still_finds_its_handler() {
        let journal = Journal::default();
        let registry = Registry::new().handler::<flaky>().handler::<sibling>();
        let bus = TestBus::start(|builder| {
            builder.registry(registry).state(journal.clone()).set("frame_max", "16 KiB")
        })
        .await
        .unwrap();

        let long = "x".repeat(11 * 1024);
        bus.publish(&Exported {}).header("urgent", true).header("reason", long).await.unwrap();
        bus.run_to_the_end().await;

        assert_eq!(journal.lines(), ["flaky 0", "flaky 1", "flaky 2"]);
        bus.stop().await.unwrap();
    }
}

mod several {
    use super::*;

    #[exchange(name = "books")]
    struct Books;
    #[exchange(name = "alerts", kind = "fanout", transient, auto_delete)]
    struct Alerts;

    events! {
        BookAdded(key = "book.added", exchange = Books);
        Alert(key = "alert.raised", exchange = Alerts);
        Placed(aggregate = "Order", name = "Placed");
    }

    #[event]
    #[derive(Debug, Serialize, Deserialize)]
    enum Anything {
        Book(BookAdded),
        Alert(Alert),
        Order(Placed),
    }

    #[handler(group = "dashboard")]
    async fn dashboard(event: Anything, delivered: es_bus::Delivered, State(journal): State<Journal>) {
        journal.note(format!("{event:?} from {}", delivered.exchange));
    }

    /// In the same queue, on the home exchange only.
    #[handler(group = "dashboard", bind = "#")]
    async fn home(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("home {}", event.routing_key));
    }

    #[tokio::test(start_paused = true)]
    async fn one_group_takes_from_several_exchanges_and_a_raw_handler_from_its_own() {
        let journal = Journal::default();
        let registry = Registry::new().handler::<dashboard>().handler::<home>();
        let bus = TestBus::start(|builder| builder.registry(registry.clone()).state(journal.clone()))
            .await
            .unwrap();

        bus.publish(&BookAdded {}).await.unwrap();
        bus.publish(&Alert {}).await.unwrap();
        bus.publish(&Placed {}).await.unwrap();
        bus.run_until_idle().await;

        let mut lines = journal.lines();
        lines.sort();
        assert_eq!(
            lines,
            [
                "Alert(Alert) from alerts",
                "Book(BookAdded) from books",
                "Order(Placed) from events",
                "home Order.Placed"
            ]
        );
        let topology = topology(registry);
        let alerts = topology.exchange("alerts").unwrap();
        assert_eq!((alerts.kind, alerts.durable, alerts.auto_delete), (ExchangeKind::Fanout, false, true));
        bus.stop().await.unwrap();
    }
}

mod alternate {
    use super::*;

    #[exchange(name = "unrouted", kind = "fanout", internal)]
    struct Unrouted;
    #[exchange(name = "shop", alternate_exchange = Unrouted)]
    struct Shop;

    events! {
        Sold(aggregate = "Shop", name = "Sold", exchange = Shop);
        Forgotten(aggregate = "Shop", name = "Forgotten", exchange = Shop, mandatory);
    }

    #[handler(group = "sales")]
    async fn sale(_event: Sold, State(journal): State<Journal>) {
        journal.note("sold");
    }

    #[group(name = "lost", exchange = Unrouted)]
    struct Lost;

    #[handler(group = Lost, retries = 1)]
    async fn lost(
        event: es_bus::Delivered,
        attempt: es_bus::Attempt,
        _raw: RawEvent,
        State(journal): State<Journal>,
    ) -> Result<(), HandlerError> {
        journal.note(format!("lost {} {}", event.routing_key, attempt.number));
        if attempt.number == 0 { Err("once more".into()) } else { Ok(()) }
    }

    #[tokio::test(start_paused = true)]
    async fn catches_what_no_queue_takes_and_the_publish_succeeds() {
        let journal = Journal::default();
        let registry = Registry::new().event::<Forgotten>().handler::<sale>().handler::<lost>();
        let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

        bus.publish(&Sold {}).await.unwrap();
        bus.publish(&Forgotten {}).await.unwrap();
        bus.run_to_the_end().await;

        let mut lines = journal.lines();
        lines.sort();
        assert_eq!(lines, ["lost Shop.Forgotten 0", "lost Shop.Forgotten 1", "sold"]);
        assert_eq!(bus.counts().unroutable, 0);
        assert_eq!(ready_in(&bus, "unrouted.lost.dlq").await, 0);
        bus.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_on_both_ways_hands_each_delivery_to_who_asked_for_it() {
        #[handler(group = "lost")]
        async fn sale_too(_event: Sold, State(journal): State<Journal>) {
            journal.note("sold too");
        }
        let journal = Journal::default();
        let registry = Registry::new().event::<Forgotten>().handler::<sale_too>().handler::<lost>();
        let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

        bus.publish(&Sold {}).await.unwrap();
        bus.publish(&Forgotten {}).await.unwrap();
        bus.run_to_the_end().await;

        let mut lines = journal.lines();
        lines.sort();
        assert_eq!(lines, ["lost Shop.Forgotten 0", "lost Shop.Forgotten 1", "sold too"]);
        bus.stop().await.unwrap();
    }
}

mod between {
    use es_bus::{explain::Question, plan::Outcome};

    use super::*;

    #[exchange(name = "shop", alternate_exchange = "lost")]
    struct Shop;
    #[exchange(name = "papers", kind = "headers")]
    struct Papers;
    #[exchange(name = "news", kind = "fanout")]
    struct News;
    #[exchange(
        name = "audit",
        internal,
        from(Shop, "Order.#", Invoiced::ROUTING_KEY),
        from(Papers, headers(match = "any", format = "pdf", urgent = true)),
        from("news")
    )]
    struct Audit;
    #[exchange(name = "vault", kind = "fanout", from(Audit))]
    struct Vault;

    events! {
        Placed(aggregate = "Order", exchange = Shop);
        Invoiced(key = "invoice.sent", exchange = Shop);
        Missed(key = "invoice.lost", exchange = Shop);
        Rendered(aggregate = "Report", exchange = Papers, headers(format = "pdf"));
        Told(key = "news.told", exchange = News);
    }

    #[group(exchange = Audit)]
    struct Auditors;
    #[group(exchange = Vault)]
    struct Keepers;

    #[handler(group = Auditors, bind = "Order.*")]
    async fn audit(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("audit {} of {}", event.routing_key, event.exchange));
    }

    #[handler(group = Keepers)]
    async fn keep(event: es_bus::Delivered, _raw: RawEvent, State(journal): State<Journal>) {
        journal.note(format!("keep {} of {}", event.routing_key, event.exchange));
    }

    fn registry() -> Registry {
        Registry::new()
            .event::<Placed>()
            .event::<Invoiced>()
            .event::<Missed>()
            .event::<Rendered>()
            .event::<Told>()
            .handler::<audit>()
            .handler::<keep>()
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_exchange_gets_from_others_comes_to_whoever_is_bound_there() {
        let journal = Journal::default();
        let bus =
            TestBus::start(|builder| builder.registry(registry()).state(journal.clone())).await.unwrap();

        bus.publish(&Placed {}).await.unwrap();
        bus.publish(&Invoiced {}).await.unwrap();
        bus.publish(&Missed {}).await.unwrap();
        bus.publish(&Rendered {}).await.unwrap();
        bus.publish(&Told {}).await.unwrap();
        bus.run_until_idle().await;

        let mut lines = journal.lines();
        lines.sort();
        insta::assert_snapshot!(lines.join("\n"), @r"
        audit Order.Placed of shop
        keep Order.Placed of shop
        keep Report.Rendered of papers
        keep invoice.sent of shop
        keep news.told of news
        ");
        assert_eq!(bus.counts().unroutable, 1, "what nobody asked for");
        bus.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_explained_drawn_locked_and_planned() {
        let build = || {
            let bus = Bus::builder().without_environment().url("memory://between").state(Journal::default());
            bus.registry(registry()).build().unwrap_or_else(|error| panic!("{error:?}"))
        };
        let bus = build();

        let explanation = bus.explain(&Question::event("Invoiced")).unwrap().to_string();
        let explanation =
            explanation.split(" (es-bus").map(|part| part.split_once(')').map_or(part, |it| it.1));
        insta::assert_snapshot!(explanation.collect::<String>().split("\n\ngroup").next().unwrap(), @r#"
        Invoiced of invoice
          is published to exchange "shop" with the key "invoice.sent"

        exchange "shop" (topic)
          yes invoice.sent -> exchange "audit"
          no  Order.#      -> exchange "audit"  word 1 is "invoice", the binding asks for "Order"

        exchange "audit" (topic, internal)
          no  Order.* -> audit.auditors  word 1 is "invoice", the binding asks for "Order"
          yes #       -> exchange "vault"

        exchange "vault" (fanout)
          yes everything -> vault.keepers  for keep
        "#);
        let drawing = bus.topology().mermaid();
        let drawn: Vec<_> =
            drawing.lines().filter(|it| it.contains("Order.#") || it.contains("invoice.sent")).collect();
        assert_eq!(drawn.len(), 2, "{drawn:?}");
        assert!(bus.topology().svg().contains("gets Order.# of shop"));
        let definitions = bus.topology().definitions("/").unwrap();
        assert_eq!(definitions.matches("\"destination_type\": \"exchange\"").count(), 5, "{definitions}");
        let lock = es_bus::lock::Lock::of(&bus).to_string();
        let audit = lock.split("[exchange.audit]").nth(1).unwrap().split("\n\n").next().unwrap();
        insta::assert_snapshot!(audit.trim(), @r##"
        kind = "topic"
        declared = true
        internal = true
        from = [
            { exchange = "news", key = "" },
            { exchange = "papers", key = "", arguments = { format = "pdf", urgent = true, x-match = "any" } },
            { exchange = "shop", key = "Order.#" },
            { exchange = "shop", key = "invoice.sent" },
        ]
        "##);
        let rights = bus.permissions().provisioning().write.clone();
        assert!(rights.contains("audit") && rights.contains("vault"), "{rights}");

        let plan = bus.plan().await.unwrap();
        let between: Vec<String> =
            plan.to_string().lines().filter_map(|it| Some(it.split_once("+ ")?.1.to_owned())).collect();
        let between: Vec<String> = between.into_iter().filter(|it| it.contains("> exchange")).collect();
        insta::assert_snapshot!(between.join("\n"), @r##"
        binding "audit" -> exchange "vault" by "#"
        binding "shop" -> exchange "audit" by "Order.#"
        binding "shop" -> exchange "audit" by "invoice.sent"
        binding "papers" -> exchange "audit" where format = pdf, urgent = true, x-match = any
        binding "news" -> exchange "audit"
        "##);
        bus.apply(&plan).await.unwrap();
        assert_eq!(bus.plan().await.unwrap().outcome(), Outcome::Nothing);
    }
}

mod shares {
    use std::collections::{BTreeMap, BTreeSet};

    use es_bus::{explain::Question, plan::Outcome};

    use super::*;

    #[exchange(name = "shop")]
    struct Shop;
    #[exchange(name = "shards", kind = "consistent-hash", from(Shop, "Order.#"))]
    struct Shards;
    #[exchange(name = "bills", kind = "consistent-hash", hash_header = "tenant")]
    struct Bills;

    #[event(aggregate = "Order", aggregate_id = order, exchange = Shop)]
    #[derive(Serialize, Deserialize)]
    struct Placed {
        order: String,
    }
    #[event(aggregate = "Order", aggregate_id = order, exchange = Shop)]
    #[derive(Serialize, Deserialize)]
    struct Shipped {
        order: String,
    }
    events! { Billed(aggregate = "Bill", exchange = Bills); }

    #[group(name = "left", exchange = Shards)]
    struct Left;
    #[group(name = "right", exchange = Shards, weight = 3)]
    struct Right;

    #[handler(group = Left)]
    async fn place_left(event: Placed, State(journal): State<Journal>) {
        journal.note(format!("left {} placed", event.order));
    }
    #[handler(group = Left)]
    async fn ship_left(event: Shipped, State(journal): State<Journal>) {
        journal.note(format!("left {} shipped", event.order));
    }
    #[handler(group = Right)]
    async fn any_right(event: es_bus::Delivered, raw: RawEvent, State(journal): State<Journal>) {
        let body: serde_json::Value = serde_json::from_slice(raw.body()).unwrap();
        let verb = if event.routing_key.ends_with("Placed") { "placed" } else { "shipped" };
        journal.note(format!("right {} {verb}", body["order"].as_str().unwrap()));
    }
    #[handler(group = "billing")]
    async fn bill(_event: Billed, State(journal): State<Journal>) {
        journal.note("billed");
    }

    fn registry() -> Registry {
        let orders = Registry::new().handler::<place_left>().handler::<ship_left>().handler::<any_right>();
        orders.handler::<bill>()
    }

    #[tokio::test(start_paused = true)]
    async fn each_aggregate_comes_to_one_group_which_gets_all_of_it_in_order() {
        let journal = Journal::default();
        let bus =
            TestBus::start(|builder| builder.registry(registry()).state(journal.clone())).await.unwrap();

        for number in 0..200 {
            bus.publish(&Placed { order: format!("o{number}") }).await.unwrap();
            bus.publish(&Shipped { order: format!("o{number}") }).await.unwrap();
        }
        bus.publish(&Billed {}).await.unwrap();
        bus.run_to_the_end().await;

        let lines = journal.lines();
        let mut orders: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for line in lines.iter().filter(|line| *line != "billed") {
            let [group, order, verb] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            orders.entry(order).or_default().push((group, verb));
        }
        assert_eq!(lines.len(), 401, "each once");
        for (order, got) in &orders {
            let groups: BTreeSet<_> = got.iter().map(|(group, _)| group).collect();
            assert_eq!(groups.len(), 1, "{order} comes to one group: {got:?}");
            assert_eq!(
                got.iter().map(|(_, verb)| *verb).collect::<Vec<_>>(),
                ["placed", "shipped"],
                "{order}"
            );
        }
        let left = orders.values().filter(|got| got[0].0 == "left").count();
        assert!((25..80).contains(&left), "a quarter of 200: {left}");
        bus.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_explained_locked_planned_and_exported() {
        let build = |weight: &str| {
            let bus = Bus::builder().without_environment().url("memory://shares").state(Journal::default());
            let bus =
                bus.registry(registry()).set("program", "shares").set_for_group("left", "weight", weight);
            bus.build().unwrap_or_else(|error| panic!("{error:?}"))
        };
        let bus = build("1");

        assert_eq!(bindings(bus.topology(), "shards"), ["shards.left \"1\"", "shards.right \"3\""]);
        assert_eq!(bindings(bus.topology(), "bills"), ["events.billing \"1\""]);
        let explanation = bus.explain(&Question::event("Placed")).unwrap().to_string();
        let exchange = explanation.split("\n\n").find(|it| it.starts_with("exchange \"shards\"")).unwrap();
        insta::assert_snapshot!(exchange, @r#"
        exchange "shards" (x-consistent-hash)
          gives it to one of these, by a hash over the header aggregate_id
          may a share of weight 1 -> shards.left   for place_left, ship_left
          may a share of weight 3 -> shards.right  for any_right
        "#);
        let lock = es_bus::lock::Lock::of(&bus).to_string();
        let shards = lock.split("[exchange.shards]").nth(1).unwrap().split("\n\n").next().unwrap();
        insta::assert_snapshot!(shards.trim(), @r##"
        kind = "x-consistent-hash"
        declared = true
        arguments.hash-header = "aggregate_id"
        from = [
            { exchange = "shop", key = "Order.#" },
        ]
        "##);
        let document: serde_json::Value = serde_json::from_str(&bus.asyncapi("Shop", "1")).unwrap();
        let bills = &document["channels"]["bills.Bill.Billed"];
        assert_eq!(bills["bindings"]["amqp"]["exchange"]["type"], serde_json::Value::Null);
        assert_eq!(bills["x-es-bus-exchange"]["hashes"], "the header tenant");
        let from = &document["channels"]["shards.everything"]["x-es-bus-exchange"]["from"];
        assert_eq!(*from, serde_json::json!([{ "exchange": "shop", "gets": "Order.#" }]));
        let definitions = bus.topology().definitions("/").unwrap();
        assert!(definitions.contains("\"type\": \"x-consistent-hash\""), "{definitions}");
        assert_eq!(bus.cautions().iter().filter(|it| it.message.contains("share")).count(), 0);

        bus.apply(&bus.plan().await.unwrap()).await.unwrap();
        assert_eq!(bus.plan().await.unwrap().outcome(), Outcome::Nothing);

        let bus = build("9");
        let plan = bus.plan_with(&es_bus::plan::PlanOptions::new().prune()).await.unwrap();
        assert!(plan.to_string().contains("the weight that the group had before"), "{plan}");
        bus.apply(&plan).await.unwrap();
        assert!(bus.plan().await.unwrap().is_exact());
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_handler_of_the_group_takes_waits_and_is_told_of() {
        #[handler(group = "left")]
        async fn placed_alone(_event: Placed) {}
        #[handler(group = "plain", bind = "#", foreign)]
        async fn plain(_event: RawEvent) {}
        let registry = Registry::new()
            .event::<Shipped>()
            .handler::<placed_alone>()
            .handler::<any_right>()
            .handler::<plain>();
        let build = Bus::builder().without_environment().url("memory://").state(Journal::default());
        let bus = build
            .registry(registry)
            .set_for_group("left", "exchange", "shards")
            .set_for_group("plain", "weight", "2")
            .build();
        let bus = bus.unwrap_or_else(|error| panic!("{error:?}"));

        let cautions: Vec<String> = bus.cautions().iter().map(|it| it.message.clone()).collect();
        assert!(
            cautions.contains(
                &"group \"left\" gets a share of all that comes to the consistent-hash exchange \"shards\", and takes no \
                  Order.Shipped: those that come to it come to nobody else"
                    .to_owned()
            ),
            "{cautions:?}"
        );
        assert!(
            cautions.iter().any(|it| it.contains("bound to no consistent-hash exchange")),
            "{cautions:?}"
        );
        let explanation = bus.explain(&Question::event("Shipped")).unwrap().to_string();
        assert!(explanation.contains("no handler takes it: it waits"), "{explanation}");
    }

    #[test]
    fn the_exchange_of_the_bus_may_be_one_and_hashes_the_aggregate() {
        let bus =
            Bus::builder().without_environment().registry(Registry::new()).url("memory://").publish_only();
        let bus = bus.set("exchange_type", "consistent-hash").build().unwrap();
        let topology = bus.topology();

        let events = topology.exchange("events").unwrap();
        assert_eq!(events.kind, ExchangeKind::ConsistentHash);
        assert_eq!(events.arguments.get_str("hash-header"), Some("aggregate_id"));
    }

    #[test]
    fn what_does_not_come_there_and_what_asks_for_more_is_refused() {
        #[handler(group = "left", bind = "Order.*")]
        async fn asks(_event: Placed) {}
        let refused = |registry: Registry| {
            let bus = Bus::builder().without_environment().url("memory://").state(Journal::default());
            let bus = bus.registry(registry).set_for_group("left", "exchange", "shards");
            let bus = bus.group("billing").set_for_group("billing", "exchange", "shards").group("left");
            format!("{:?}", bus.build().expect_err("it is refused"))
        };

        let asks = refused(Registry::new().handler::<asks>().handler::<any_right>());
        assert!(asks.contains("gives to each group a share of everything"), "{asks}");
        let astray = refused(Registry::new().handler::<bill>().handler::<any_right>());
        assert!(astray.contains("does not come to \"shards\""), "{astray}");
    }
}

mod of_the_bus {
    use super::*;

    events! {
        Placed(aggregate = "Order", name = "Placed");
        Shipped(aggregate = "Order", name = "Shipped");
    }

    #[handler(group = "g")]
    async fn exact(_event: Placed, State(journal): State<Journal>) {
        journal.note("placed");
    }

    #[handler(group = "wide", bind = "Order.*")]
    async fn wide(_event: Placed) {}

    #[tokio::test(start_paused = true)]
    async fn the_kind_of_the_default_exchange_is_a_setting() {
        for (kind, skipped) in [("direct", 0), ("fanout", 1)] {
            let journal = Journal::default();
            let registry = Registry::new().event::<Shipped>().handler::<exact>();
            let bus = TestBus::start(|builder| {
                builder.registry(registry).state(journal.clone()).set("exchange_type", kind)
            })
            .await
            .unwrap();

            bus.publish(&Placed {}).await.unwrap();
            bus.publish(&Shipped {}).await.unwrap();
            bus.run_until_idle().await;

            assert_eq!(journal.lines(), ["placed"], "{kind}");
            assert_eq!(bus.counts().skipped, skipped, "{kind}");
            bus.stop().await.unwrap();
        }
    }

    #[test]
    fn what_its_kind_cannot_do_is_told_before_the_broker_is_touched() {
        let told = |registry: Registry, kind: &str| {
            let bus = Bus::builder().without_environment().url("memory://").state(Journal::default());
            let error = bus.registry(registry).set("exchange_type", kind).build().expect_err("it is refused");
            // Without the line, which moves.
            let text = format!("{error:?}").replace(module_path!(), "app");
            text.split(" (es-bus")
                .map(|part| part.split_once(')').map_or(part, |(_, rest)| rest))
                .collect::<String>()
        };
        let (wide, exact) = (Registry::new().handler::<wide>(), Registry::new().handler::<exact>());

        let texts = [
            told(wide.clone(), "direct"),
            told(wide.clone(), "fanout"),
            told(wide.clone(), "headers"),
            told(exact, "headers"),
            told(wide, "fanuot"),
        ];

        insta::assert_snapshot!(texts.join("\n----\n"));
    }
}
