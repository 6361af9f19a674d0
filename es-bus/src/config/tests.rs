use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::QueueKind;

/// A program with two groups and a handler each.
fn program() -> ConfigBuilder {
    ConfigBuilder::new()
        .consumer_name("host-0badcafe")
        .group("order-projections", Attributes::at("src/orders.rs", 12))
        .handler("order-projections", "project", Attributes::at("src/orders.rs", 20))
        .handler("audit", "record", Attributes::at("src/audit.rs", 7))
}

fn env<const N: usize>(variables: [(&str, &str); N]) -> ConfigBuilder {
    program().env(variables)
}

fn errors(builder: ConfigBuilder) -> String {
    builder.load().unwrap_err().to_string()
}

#[test]
fn the_value_that_counts_is_forced_then_specific_then_late() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Say {
        BusDefault,
        BusFile,
        BusEnv,
        BusArgument,
        BusForced,
        GroupAttribute,
        GroupDefault,
        GroupFile,
        GroupEnv,
        GroupArgument,
        GroupForced,
        HandlerAttribute,
        HandlerDefault,
        HandlerForced,
    }
    use Say::*;
    let say_all = |said: &[Say]| {
        let mut builder = ConfigBuilder::new();
        let mut group = Attributes::at("src/orders.rs", 12);
        let mut handler = Attributes::at("src/orders.rs", 20);
        let (mut bus_file, mut group_file) = (String::new(), String::new());
        for say in said {
            // The value tells who said it.
            let value = *say as u32 + 1;
            builder = match say {
                BusDefault => builder.set_default(Scope::Bus, "retries", value),
                BusArgument => builder.set_from_command_line(Scope::Bus, "retries", value),
                BusForced => builder.force(Scope::Bus, "retries", value),
                BusEnv => builder.env([("ES_BUS_RETRIES", value.to_string())]),
                GroupDefault => builder.set_default(Scope::group("g"), "retries", value),
                GroupArgument => builder.set_from_command_line(Scope::group("g"), "retries", value),
                GroupForced => builder.force(Scope::group("g"), "retries", value),
                GroupEnv => builder.env([("ES_BUS_GROUP__G__RETRIES", value.to_string())]),
                HandlerDefault => builder.set_default(Scope::handler("g", "h"), "retries", value),
                HandlerForced => builder.force(Scope::handler("g", "h"), "retries", value),
                BusFile => {
                    bus_file = format!("retries = {value}");
                    builder
                }
                GroupFile => {
                    group_file = format!("[group.g]\nretries = {value}");
                    builder
                }
                GroupAttribute => {
                    group = group.with("retries", value);
                    builder
                }
                HandlerAttribute => {
                    handler = handler.with("retries", value);
                    builder
                }
            };
        }
        let config = builder
            .group("g", group)
            .handler("g", "h", handler)
            .file_text("es-bus.toml", format!("{bus_file}\n{group_file}"))
            .load()
            .unwrap();
        config.groups["g"].handlers["h"].retries.value
    };
    // From the weakest to the strongest.
    let order = [
        BusDefault,
        BusFile,
        BusEnv,
        BusArgument,
        GroupAttribute,
        GroupDefault,
        GroupFile,
        GroupEnv,
        GroupArgument,
        HandlerAttribute,
        HandlerDefault,
        BusForced,
        GroupForced,
        HandlerForced,
    ];
    assert_eq!(say_all(&[]), 3, "built-in");

    for (i, weak) in order.iter().enumerate() {
        for strong in &order[i + 1..] {
            assert_eq!(say_all(&[*weak, *strong]), *strong as u32 + 1, "{weak:?} {strong:?}");
            assert_eq!(say_all(&[*strong, *weak]), *strong as u32 + 1, "{strong:?} {weak:?}");
        }
    }
    assert_eq!(say_all(&order), HandlerForced as u32 + 1);
}

#[test]
fn a_group_of_its_own_says_nothing_about_others() {
    let config = env([("ES_BUS_GROUP__ORDER_PROJECTIONS__PREFETCH", "5")])
        .set_default(Scope::Bus, "prefetch", 50)
        .load()
        .unwrap();

    assert_eq!(*config.groups["order-projections"].settings.prefetch, 5);
    assert_eq!(*config.groups["audit"].settings.prefetch, 50);
}

#[test]
fn each_key_is_decided_by_itself() {
    let config = ConfigBuilder::new()
        .group("g", Attributes::at("a.rs", 1).with("timeout", "10s").with("retries", 7))
        .handler("g", "h", Attributes::at("a.rs", 2).with("retries", 1))
        .load()
        .unwrap();

    let policy = &config.groups["g"].handlers["h"];
    assert_eq!(*policy.retries, 1);
    assert_eq!(*policy.timeout, Duration::from_secs(10));
    assert_eq!(policy.timeout.source, Source::Attribute { file: "a.rs", line: 1 });
}

#[test]
fn the_last_of_two_defaults_counts() {
    let config = program()
        .set_default(Scope::Bus, "exchange", "first")
        .set_default(Scope::Bus, "exchange", "second")
        .load()
        .unwrap();

    assert_eq!(*config.bus.exchange, "second");
    assert_eq!(*config.groups["audit"].settings.exchange, "second");
}

#[test]
fn the_effective_configuration_prints_values_with_their_sources() {
    let config = program()
        .env([
            ("ES_BUS_URL", "amqps://app:hunter2@one,two:5673/orders"),
            ("RABBITMQ_PREFETCH", "50"),
            ("ES_BUS_GROUP__ORDER_PROJECTIONS__RETRY_LADDER", "none"),
        ])
        .file_text(
            "es-bus.toml",
            r#"
            shutdown_timeout = "10s"
            groups = ["order-projections", "audit"]
            [backoff]
            base = "500ms"
            [group.audit]
            max_length_bytes = "1 GiB"
            retired = ["Order.OrderPlaced", "Order.OrderLost"]
            on_unknown = "dead_letter"
            "#,
        )
        .group("order-projections", Attributes::at("src/orders.rs", 12).with("kind", QueueKind::Classic))
        .handler("order-projections", "slow", Attributes::at("src/orders.rs", 30).with("timeout", "20m"))
        .set_default(Scope::Bus, "exchange", "myapp.events")
        .force(Scope::group("audit"), "concurrency", 1)
        .set_default(Scope::Bus, "publish_timeout", Duration::from_secs(90))
        .load()
        .unwrap();

    insta::assert_snapshot!(config.to_string());
}

#[test]
fn every_default_passes_its_own_check() {
    for key in keys() {
        assert_eq!((key.check)(key.default), Ok(()), "{}", key.name);
    }
}

#[test]
fn names_of_settings_are_unique_and_their_variables_too() {
    let mut names: Vec<_> = keys().map(|key| key.name).collect();
    names.sort_unstable();

    let mut unique = names.clone();
    unique.dedup();

    assert_eq!(names, unique);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let report = errors(
        program()
            .env([
                ("ES_BUS_HEARTBEAT", "10"),
                ("ES_BUS_EXCHANGE", ""),
                ("ES_BUS_GROUPS", "audit, order-projection"),
                ("ES_BUS_GROUP__AUDIT__PREFETCH", "0"),
                ("RABBITMQ_EXCHANGE_TYPE", "fanuot"),
                ("RABBITMQ_VERIFY_SSL", "yes"),
                ("RABBITMQ_URL", "amqp://app:hun/ter2@localhost"),
            ])
            .file_text(
                "es-bus.toml",
                r#"
                prefech = 5
                colour = "red"
                timeout = "45d"
                kind = "clasic"
                shutdown_timeout = ""
                backoff_base = "1s"
                [backoff]
                base = "2s"
                factor = 2
                [group.audits]
                prefetch = 5
                [group.audit]
                url = "amqp://app:hunter2@localhost"
                ordering = "strickt"
                overflow = { mode = "drop-head" }
                retired = [["a"], 5]
                [group.audit.handler.record]
                retries = 1
                "#,
            )
            .group("audit", Attributes::at("src/audit.rs", 3).with("concurency", 5))
            .set_default(Scope::group("billing"), "prefetch", 5)
            .force(Scope::handler("audit", "record"), "prefetch", 5)
            .force(Scope::Bus, "max_message_size", "1000000"),
    );

    assert!(!report.contains("hunter2") && !report.contains("hun/"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn groups_that_coincide_in_the_environment_are_refused() {
    let report = errors(
        ConfigBuilder::new()
            .group("order-lines", Attributes::at("a.rs", 1))
            .group("order.lines", Attributes::at("a.rs", 2)),
    );

    insta::assert_snapshot!(report, @r#"
    the configuration has a mistake:
      groups "order-lines" and "order.lines" are both ORDER_LINES in the environment; rename one of them
    "#);
}

#[test]
fn unknown_variables_are_warnings_with_the_nearest_name() {
    let config = env([
        ("ES_BUS_PREFECTH", "5"),
        ("ES_BUS_GROUP", "audit"),
        ("ES_BUS_GROUP__AUDIT__PREFECH", "5"),
        ("ES_BUS_GROUP__AUDITS__PREFETCH", "5"),
        ("ES_BUS_GROUP__AUDIT__URL", "memory://"),
        ("ES_BUS_COLOUR", ""),
        ("ES_BUS_PORT", "tcp://10.0.0.1:5672"),
        ("RABBITMQ_NODENAME", "rabbit@one"),
        ("PATH", ""),
    ])
    .load()
    .unwrap();

    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn a_selection_means_nothing_to_a_program_without_groups() {
    let config = ConfigBuilder::new().env([("RABBITMQ_CONSUMER_GROUP", "python")]).load().unwrap();

    insta::assert_snapshot!(
        config.warnings[0],
        @r#"RABBITMQ_CONSUMER_GROUP: selects "python", no such group; this program declares no groups"#
    );
}

#[test]
fn a_url_in_the_wrong_place_is_refused_without_being_quoted() {
    let report = errors(env([
        ("ES_BUS_EXCHANGE", "amqp://app:hunter2@host"),
        ("ES_BUS_CONFIG", "amqp://app:hunter2@host"),
        ("RABBITMQ_EXCHANGE_TYPE", "amqp://app:hunter2@host"),
    ]));

    insta::assert_snapshot!(report, @r"
    the configuration has 3 mistakes:
      ES_BUS_CONFIG: holds a URL, which only `url` (ES_BUS_URL) takes
      ES_BUS_EXCHANGE: holds a URL, which only `url` (ES_BUS_URL) takes
      RABBITMQ_EXCHANGE_TYPE: holds a URL, which only `url` (ES_BUS_URL) takes
    ");
}

#[test]
fn an_alias_counts_until_the_own_name_is_set() {
    let alias = [("RABBITMQ_URL", "amqp://a:hunter2@old")];

    let alone = env(alias).load().unwrap();
    let both = env(alias).env([("ES_BUS_URL", "amqp://a:hunter3@new")]).load().unwrap();
    let same = env(alias).env([("ES_BUS_URL", "amqp://a:hunter2@old")]).load().unwrap();

    assert_eq!(alone.bus.url.source, Source::Environment { variable: "RABBITMQ_URL".into() });
    assert_eq!(both.bus.url.source, Source::Environment { variable: "ES_BUS_URL".into() });
    assert!(alone.warnings.is_empty() && same.warnings.is_empty());
    insta::assert_snapshot!(
        both.warnings[0],
        @"RABBITMQ_URL: differs from ES_BUS_URL, which counts; unset RABBITMQ_URL"
    );
}

#[test]
fn the_aliases_of_the_seeds_are_read() {
    let config = env([
        ("RABBITMQ_URL", "amqp://localhost"),
        ("RABBITMQ_EXCHANGE", "myapp.events"),
        ("RABBITMQ_EXCHANGE_TYPE", "topic"),
        ("RABBITMQ_CONSUMER_GROUP", "order-projections"),
        ("RABBITMQ_PREFETCH", "10"),
    ])
    .load()
    .unwrap();

    assert_eq!(*config.bus.exchange, "myapp.events");
    assert!(config.bus.groups.includes("order-projections"));
    assert!(!config.bus.groups.includes("audit"));
    assert_eq!(*config.groups["audit"].settings.prefetch, 10);
}

#[test]
fn a_named_file_has_to_be_there() {
    let report = errors(env([("ES_BUS_CONFIG", "/no/such/es-bus.toml")]));

    assert!(report.contains("/no/such/es-bus.toml: cannot be read"), "{report}");
    assert!(report.contains("ES_BUS_CONFIG"), "{report}");
}

#[test]
fn the_environment_names_another_file_than_the_program() {
    let path = std::env::temp_dir().join(format!("es-bus-{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, "prefetch = 7").unwrap();

    let config = program().file("/no/such/es-bus.toml").env([("ES_BUS_CONFIG", &path)]).load().unwrap();
    std::fs::remove_file(&path).unwrap();

    assert_eq!(*config.groups["audit"].settings.prefetch, 7);
    assert_eq!(config.groups["audit"].settings.prefetch.source, Source::File { path });
}

#[test]
fn a_file_that_is_no_toml_is_reported_without_its_text() {
    let report =
        errors(program().file_text(
            "es-bus.toml",
            "heartbeat = \"5s\"\nurl = \"amqp://app:hunter2@localhost/\nexchange = 5",
        ));

    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn concurrency_is_lowered_to_the_prefetch_and_says_so_when_it_was_asked_for() {
    let quiet = env([("ES_BUS_PREFETCH", "5")]).load().unwrap();
    let loud = env([("ES_BUS_GROUP__AUDIT__PREFETCH", "5"), ("ES_BUS_CONCURRENCY", "32")]).load().unwrap();

    assert_eq!(*quiet.groups["audit"].settings.concurrency, 5);
    assert!(quiet.warnings.is_empty());
    assert_eq!(*loud.groups["audit"].settings.concurrency, 5);
    insta::assert_snapshot!(
        loud.warnings[0],
        @r#"ES_BUS_CONCURRENCY: concurrency 32 of group "audit" is more than its prefetch 5 (ES_BUS_GROUP__AUDIT__PREFETCH), which counts; raise prefetch or lower concurrency"#
    );
}

#[test]
fn a_floor_above_its_ceiling_is_refused_unless_it_is_built_in() {
    let lowered = env([("ES_BUS_BACKOFF_MAX", "500ms")]).load().unwrap();
    let report = errors(env([
        ("ES_BUS_BACKOFF_BASE", "2m"),
        ("ES_BUS_RECONNECT_MIN", "2s"),
        ("ES_BUS_RECONNECT_MAX", "1s"),
    ]));

    assert_eq!(*lowered.groups["audit"].policy.backoff_base, Duration::from_millis(500));
    insta::assert_snapshot!(report, @r#"
    the configuration has 2 mistakes:
      ES_BUS_RECONNECT_MIN: reconnect_min 2s is longer than reconnect_max 1s (ES_BUS_RECONNECT_MAX); set reconnect_max to 2s or more
      ES_BUS_BACKOFF_BASE: backoff_base 2m of group "audit" is longer than backoff_max 1m (built-in); set backoff_max to 2m or more
    "#);
}

#[test]
fn the_consumer_name_is_the_host_and_eight_hexadecimal_digits() {
    let config = ConfigBuilder::new().env([("HOSTNAME", "worker-1")]).load().unwrap();

    let (host, id) = config.bus.consumer_name.rsplit_once('-').unwrap();
    assert_eq!(host, "worker-1");
    assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn without_a_url_a_debug_build_takes_memory_and_a_release_build_refuses() {
    let unset = program().load().unwrap();
    let memory = env([("ES_BUS_URL", "memory://")]).load().unwrap();

    assert_eq!(unset.broker(true), Ok(Broker::Memory { chosen: false, name: None }));
    assert_eq!(memory.broker(false), Ok(Broker::Memory { chosen: true, name: None }));
    insta::assert_snapshot!(unset.broker(false).unwrap_err());
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;

    let value = std::ffi::OsString::from_vec(vec![0xff, 0xfe]);
    let report = errors(program().env([("ES_BUS_EXCHANGE", value)]));

    insta::assert_snapshot!(report, @r"
    the configuration has a mistake:
      ES_BUS_EXCHANGE: is no UTF-8; write it in UTF-8
    ");
}

#[test]
fn nothing_is_read_unless_asked() {
    let config = ConfigBuilder::new().load().unwrap();

    assert!(config.bus.url.is_built_in());
    assert_eq!(*config.bus.exchange, "events");
}

proptest! {
    /// The password goes everywhere a URL can go, right and wrong, and comes out nowhere.
    #[test]
    fn no_report_shows_a_password(
        inner in "([a-z0-9]|[@%/?#:,\\[\\] &=\"\\\\\n']|%40|://){0,12}",
        key in "(url|management_url|exchange|prefetch|heartbeat|kind|groups|retired|frame_max|backoff_jitter)",
        tail in "(|/|/vhost|/a/b|:x|\\?heartbeat=5)",
    ) {
        let secret = format!("amqp://app:Zq9x{inner}x9qZ@broker{tail}");
        let variable = format!("ES_BUS_{}", key.to_uppercase());

        let results = [
            program().env([(variable.as_str(), secret.as_str())]).load(),
            program().env([("RABBITMQ_URL", secret.as_str()), ("ES_BUS_URL", "memory://")]).load(),
            program().file_text("es-bus.toml", format!("{key} = \"{secret}\"")).load(),
            program().file_text("es-bus.toml", format!("{key} = '''{secret}'''")).load(),
            program().file_text("es-bus.toml", format!("[group.audit]\n{key} = '{secret}'")).load(),
            program().set_default(Scope::Bus, &key, &secret).load(),
        ];

        let text = Text::from(&secret);
        let builder = program().set_default(Scope::Bus, "url", &secret).env([("ES_BUS_URL", secret.as_str())]);
        let debugged = format!("{text:?} {builder:?}");
        prop_assert!(!debugged.contains("Zq9x") && !debugged.contains("x9qZ"), "{}", debugged);

        for result in results {
            let shown = match result {
                Ok(config) => format!("{config} {:?} {:?}", config.bus.url, config.warnings),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("Zq9x") && !shown.contains("x9qZ"), "{}", shown);
        }
    }
}

#[test]
fn tls_settings_that_contradict_each_other_are_mistakes() {
    const TLS: (&str, &str) = ("ES_BUS_URL", "amqps://app:hunter2@broker");
    const PLAIN: (&str, &str) = ("ES_BUS_URL", "amqp://app:hunter2@broker");
    let both = ("RABBITMQ_KEY_FILE", "client.key");
    let cases = [
        env([TLS, ("RABBITMQ_CERT_FILE", "client.pem")]),
        env([TLS, both]),
        env([TLS, ("ES_BUS_CERT_FILE", "client.pem"), both, ("ES_BUS_IDENTITY_FILE", "client.p12")]),
        env([TLS, ("ES_BUS_IDENTITY_PASSWORD", "hunter2://")]),
        env([TLS, ("ES_BUS_AUTH", "external")]),
        env([TLS, ("ES_BUS_AUTH", "hunter")]),
        env([
            PLAIN,
            ("RABBITMQ_CA_FILE", "ca.pem"),
            ("ES_BUS_AUTH", "external"),
            ("ES_BUS_VERIFY_SSL", "false"),
        ]),
        env([TLS, ("ES_BUS_CA_FILE", "ca.pem")]).tls_given(),
        env([PLAIN]).tls_given(),
        ConfigBuilder::new().env([("ES_BUS_URL", "amqps://app:hunter2@broker/?cacertfile=/etc/hunter2")]),
    ];

    let report: Vec<_> = cases.into_iter().map(errors).collect();

    let report = report.join("\n");
    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn tls_settings_are_read_by_the_names_of_the_seeds_and_mean_nothing_in_memory() {
    let seeds = [
        ("RABBITMQ_CA_FILE", "/etc/ca.pem"),
        ("RABBITMQ_CERT_FILE", "/etc/client.pem"),
        ("RABBITMQ_KEY_FILE", "/etc/client.key"),
        ("RABBITMQ_VERIFY_SSL", "false"),
    ];

    let config = env(seeds).env([("RABBITMQ_URL", "amqps://app:pw@broker")]).load().unwrap();
    let memory = env(seeds).env([("RABBITMQ_URL", "memory://")]).load().unwrap();

    let path =
        |setting: &Setting<Option<std::path::PathBuf>>| setting.value.clone().unwrap().display().to_string();
    assert_eq!(path(&config.bus.ca_file), "/etc/ca.pem");
    assert_eq!(path(&config.bus.cert_file), "/etc/client.pem");
    assert_eq!(path(&config.bus.key_file), "/etc/client.key");
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
    assert_eq!(memory.warnings, []);
}

#[test]
fn a_line_of_the_env_file_is_a_variable_that_yields_to_those_of_the_process() {
    let path = std::env::temp_dir().join(format!("es-bus-{}.env", std::process::id()));
    let lines = "ES_BUS_EXCHANGE=from.file\nRABBITMQ_URL=amqp://app:hunter2@file\nES_BUS_HEARTBEAT=5s\nES_BUS_PREFECH=1\n";
    std::fs::write(&path, lines).unwrap();
    let program =
        || program().file_text("es-bus.toml", "heartbeat = \"7s\"\nexchange = \"toml\"").env_file(&path);

    let config = program().env([("RABBITMQ_URL", "amqp://app:hunter2@process")]).load().unwrap();
    std::fs::write(&path, "ES_BUS_HEARTBEAT=hunter2\nES_BUS_URL='x").unwrap();
    let mistakes = errors(program());
    std::fs::remove_file(&path).unwrap();
    let gone = program().load().unwrap();

    assert_eq!(config.bus.url.source, Source::Environment { variable: "RABBITMQ_URL".into() });
    assert_eq!(*config.bus.exchange, "from.file");
    assert_eq!(*config.bus.heartbeat, Some(Duration::from_secs(5)));
    let file = path.display().to_string();
    assert_eq!(config.bus.exchange.source.to_string(), format!("{file}: ES_BUS_EXCHANGE"));
    assert_eq!(
        config.warnings[0].to_string(),
        format!(
            "{file}: ES_BUS_PREFECH: es-bus knows no such variable and ignores it; did you mean `ES_BUS_PREFETCH`?"
        )
    );
    assert!(mistakes.contains(&format!("{file}:2: has a quote")), "{mistakes}");
    assert!(mistakes.contains(&format!("{file}: ES_BUS_HEARTBEAT: ")), "{mistakes}");
    assert_eq!(*gone.bus.exchange, "toml");
}

#[test]
fn the_guide_maps_the_options_of_eventsource_py_to_settings_that_there_are() {
    let guide = include_str!("../docs/guide/configuration.md");
    let table = guide.split("| there | setting | default |").nth(1).expect("the table").split("\n\n").next();
    let named = table.expect("its lines").lines().filter_map(|line| line.split('|').nth(2));
    let named: Vec<&str> = named
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| !name.starts_with('"'))
        .collect();

    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(keys().any(|key| key.name == name), "{name} is no setting");
    }
}

#[test]
fn the_file_of_the_command_line_beats_the_one_of_the_environment() {
    let named = |builder: ConfigBuilder| builder.load().expect_err("neither is there").to_string();
    let by_environment = ConfigBuilder::new().env([("ES_BUS_CONFIG", "of-environment.toml")]);

    let error = named(by_environment.file_from_command_line("of-line.toml"));

    assert!(error.contains("of-line.toml") && !error.contains("of-environment.toml"), "{error}");
}
