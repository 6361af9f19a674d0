use super::*;

fn mismatch(
    what: &'static str,
    name: &str,
    field: &str,
    wanted: Option<&str>,
    found: Option<&str>,
) -> DeclareError {
    DeclareError::Mismatch {
        what,
        name: name.to_owned(),
        field: Some(field.to_owned()),
        wanted: wanted.map(str::to_owned),
        found: found.map(str::to_owned),
        reason: format!("PRECONDITION_FAILED - inequivalent arg '{field}'"),
    }
}

#[test]
fn a_topology_error_says_field_by_field_what_differs_and_what_to_do() {
    let error = Error::Topology(vec![
        mismatch("exchange", "events", "type", Some("topic"), Some("direct")),
        mismatch("queue", "events.billing", "x-max-length", Some("500"), Some("1000")),
        mismatch("queue", "events.billing", "x-message-ttl", None, Some("60000")),
        mismatch("queue", "events.billing.dlq", "x-max-length", None, Some("10")),
        mismatch("queue", "events.projections", "x-queue-type", Some("quorum"), Some("classic")),
        DeclareError::Mismatch {
            what: "queue",
            name: "events.audit".to_owned(),
            field: None,
            wanted: None,
            found: None,
            reason: "PRECONDITION_FAILED - inequivalent arg".to_owned(),
        },
        DeclareError::Forbidden {
            what: "queue",
            name: "events.secrets".to_owned(),
            reason: "ACCESS_REFUSED - access to queue refused for user 'orders'".to_owned(),
        },
        DeclareError::Refused {
            what: "queue",
            name: "events.own".to_owned(),
            reason: "RESOURCE_LOCKED".to_owned(),
        },
        DeclareError::Down {
            what: "queue",
            name: "events.far".to_owned(),
            reason: "NOT_FOUND - home node 'rabbit@b' of durable queue 'events.far' in vhost '/' is down or inaccessible".to_owned(),
        },
        DeclareError::Interrupted {
            what: "binding",
            name: "events.own".to_owned(),
            reason: "reset by peer".to_owned(),
        },
    ]);

    insta::assert_snapshot!(format!("Error: {error:?}"));
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn proposes_the_compatible_mode_only_for_what_eventsource_declares() {
    let proposes =
        |errors: Vec<DeclareError>| format!("{:?}", Error::Topology(errors)).contains("eventsource");
    for (name, field, wanted, found, expected) in [
        ("events.a", "x-queue-type", Some("quorum"), Some("classic"), true),
        ("events.a", "x-queue-type", Some("quorum"), None, true),
        ("events.a", "x-queue-type", Some("classic"), Some("quorum"), false),
        ("events.a", "x-max-length", None, Some("5"), false),
        ("events.a.dlq", "x-queue-type", Some("quorum"), Some("classic"), false),
        ("events.a.retry.4s", "x-queue-type", Some("quorum"), Some("classic"), false),
    ] {
        assert_eq!(proposes(vec![mismatch("queue", name, field, wanted, found)]), expected, "{name} {field}");
    }
    assert!(!proposes(vec![
        mismatch("queue", "events.a", "x-queue-type", Some("quorum"), Some("classic")),
        mismatch("queue", "events.a", "x-max-length", None, Some("5")),
    ]));
}

#[test]
fn a_queue_that_was_classic_before_can_be_kept_so() {
    let help = |field, wanted, found| {
        let error = Error::Topology(vec![mismatch("queue", "events.a", field, Some(wanted), found)]);
        format!("{error:?}").matches("`#[group(kind = \"classic\")]`").count()
    };

    // RabbitMQ names the overflow of a classic queue, and not its type.
    assert_eq!(help("x-overflow", "reject-publish", None), 1);
    assert_eq!(help("x-queue-type", "quorum", Some("classic")), 1);
    assert_eq!(help("x-queue-type", "quorum", None), 1);
    assert_eq!(help("x-overflow", "reject-publish", Some("drop-head")), 0);
}

#[test]
fn prints_the_causes_of_what_stopped_a_program() {
    let publish = Error::from(PublishError::Encode("missing field `id`".into()));
    let login = Error::from(TransportError::Login {
        address: "amqp://orders@broker:5672".to_owned(),
        reason: "ACCESS_REFUSED".to_owned(),
        remedy: "check user and password in the URL".to_owned(),
    });
    let of_file = |text: &str| config::ConfigBuilder::new().file_text("es-bus.toml", text).load();
    let config = Error::from(of_file("prefech = 10\nheartbeat = \"no\"").expect_err("two mistakes"));
    let unset = of_file("").expect("nothing is wrong with nothing").broker(false);
    let no_url = Error::from(unset.expect_err("no broker is named"));

    let all = [publish, login, config, no_url];
    let printed: Vec<_> = all.iter().map(|error| format!("{error}\n---\nError: {error:?}\n")).collect();
    insta::assert_snapshot!(printed.join("\n==========\n"));
}

#[test]
fn keeps_the_source_of_what_it_wraps() {
    use std::error::Error as _;

    let error = Error::from(PublishError::Encode("missing field `id`".into()));
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("missing field `id`"));
}

#[test]
fn travels_between_threads() {
    fn is_send<T: Send + Sync + 'static>() {}
    is_send::<Error>();
}

#[test]
fn a_stream_with_other_limits_is_told_to_be_kept_or_to_get_a_policy_and_not_to_be_migrated() {
    let differs = mismatch("queue", "events.log.stream", "x-max-age", Some("3600s"), Some("7200s"));

    let text = format!("{:?}", Error::Topology(vec![differs]));

    assert!(text.contains("#[group(max_age = \"7200s\")]"), "{text}");
    assert!(text.contains("rabbitmqctl set_policy") && !text.contains("Bus::migrate"), "{text}");
}
