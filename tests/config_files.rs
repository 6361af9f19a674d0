//! `es-bus.toml` and `.env.example` name every setting, with its default and its meaning.
//!
//! `ES_BUS_BLESS=1 cargo test -p es-bus-tests --test config_files` writes them anew.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use es_bus::config::{ConfigBuilder, Key, Level, keys};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[track_caller]
fn assert_is(name: &str, expected: &str) {
    if env::var_os("ES_BUS_BLESS").is_some() {
        fs::write(path(name), expected).expect("the repository can be written");
    }
    let found = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is not what the table of settings says, or no copy of the one that is; write it anew:\n\n    ES_BUS_BLESS=1 cargo test -p es-bus-tests \
         --test config_files\n"
    );
}

/// The text as comment lines.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first");
        if line.len() + 1 + word.len() > 100 {
            lines.push(format!("# {word}"));
        } else {
            let _ = write!(line, " {word}");
        }
    }
    lines.join("\n") + "\n"
}

fn sections() -> [(Level, &'static str); 3] {
    [
        (Level::Bus, "The bus"),
        (
            Level::Group,
            "Groups: here for all of them, in [group.<name>] for one. What #[group(..)] says beats what stands here \
             for all, and yields to [group.<name>].",
        ),
        (
            Level::Handler,
            "Failures: for all handlers here, for those of a group in [group.<name>], for one in its #[handler(..)].",
        ),
    ]
}

fn of(level: Level) -> impl Iterator<Item = &'static Key> {
    keys().filter(move |key| key.level == level)
}

fn toml() -> String {
    let mut text = comment(
        "Settings of a service on es-bus. The file is read from the working directory, or from where ES_BUS_CONFIG \
         says. Each line shows the default: take the # away to change it. A variable beats the file: \
         ES_BUS_<NAME> for all, ES_BUS_GROUP__<GROUP>__<NAME> for a group. Passwords belong in variables.",
    );
    for (level, title) in sections() {
        let _ = write!(text, "\n{}{}", rule(), comment(title));
        for key in of(level) {
            let _ = write!(text, "\n{}#{} = {}\n", comment(key.doc), key.name, toml_value(key.default));
        }
    }
    text.push('\n');
    text.push_str(rule());
    text.push_str(&comment("One group"));
    text.push_str("\n#[group.order-projections]\n#prefetch = 50\n#retries = 5\n");
    text
}

fn toml_value(default: &str) -> String {
    if default.parse::<f64>().is_ok() || default == "true" || default == "false" {
        return default.to_owned();
    }
    if default.contains(", ") {
        let items: Vec<_> = default.split(", ").map(|item| format!("{item:?}")).collect();
        return format!("[{}]", items.join(", "));
    }
    format!("{default:?}")
}

fn dotenv() -> String {
    let mut text = comment(
        "Variables of a service on es-bus. Copy this file to .env, which is read from the working directory, and \
         never commit that. Variables of the process beat it. Each line shows the default: take the # away to \
         change it.",
    );
    text.push_str("\n# The broker. A password with reserved characters is written percent-encoded: %40 for @, %2F for /.\n");
    text.push_str("#ES_BUS_URL=amqp://user:password@localhost:5672/vhost\n");
    text.push_str("\n# Another file than es-bus.toml.\n#ES_BUS_CONFIG=es-bus.toml\n");
    text.push_str("\n# What compose.yaml makes the first user of its broker with; take long random ones (openssl rand -hex 24).\n");
    text.push_str("#RABBITMQ_DEFAULT_USER=\n#RABBITMQ_DEFAULT_PASS=\n#RABBITMQ_ERLANG_COOKIE=\n");
    let _ = write!(
        text,
        "\n{}",
        comment(
            "These names are read too, where the ones below do not say otherwise: RABBITMQ_URL, RABBITMQ_EXCHANGE, \
             RABBITMQ_CONSUMER_GROUP, RABBITMQ_PREFETCH, RABBITMQ_CA_FILE, RABBITMQ_CERT_FILE, RABBITMQ_KEY_FILE, \
             RABBITMQ_VERIFY_SSL. HOSTNAME begins the name of this process among the consumers."
        )
    );
    for (level, title) in sections() {
        let title = title.split(':').next().unwrap_or(title);
        let _ = write!(text, "\n{}{}", rule(), comment(title));
        for key in of(level).filter(|key| key.name != "url") {
            let _ = write!(text, "\n{}#{}={}\n", comment(key.doc), key.variable(), env_value(key.default));
        }
    }
    text.push('\n');
    text.push_str(rule());
    text.push_str(&comment("One group: - and . of its name are _"));
    text.push_str("\n#ES_BUS_GROUP__ORDER_PROJECTIONS__PREFETCH=50\n");
    text
}

fn env_value(default: &str) -> String {
    if default.contains(' ') { format!("'{default}'") } else { default.to_owned() }
}

fn rule() -> &'static str {
    "# ---------------------------------------------------------------------------\n"
}

/// Takes the `#` away from the lines that set something.
fn set(text: &str, sets: impl Fn(&str) -> bool) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && sets(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn es_bus_toml_is_what_the_table_says() {
    assert_is("es-bus.toml", &toml());
    assert_is("es-bus/src/cli/init/es-bus.toml", &toml());
}

#[test]
fn the_example_of_variables_is_what_the_table_says() {
    assert_is(".env.example", &dotenv());
    assert_is("es-bus/src/cli/init/env.example", &dotenv());
}

/// What `init` writes has to be within the package.
#[test]
fn the_command_line_has_copies_of_the_compose_files() {
    for name in ["compose.yaml", "compose.cluster.yaml"] {
        let text = fs::read_to_string(path(name)).expect("the repository has it");
        assert_is(&format!("es-bus/src/cli/init/{name}"), &text);
    }
}

#[test]
fn as_they_stand_both_change_nothing() {
    let plain = ConfigBuilder::new().load().expect("the defaults are valid").to_string();

    let config = ConfigBuilder::new().file_text("es-bus.toml", toml()).env_file(path(".env.example"));

    let without_name = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("consumer_name"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_name(&config.load().expect("valid").to_string()), without_name(&plain));
}

#[test]
fn every_line_of_them_can_be_taken_as_it_is() {
    let defaults = ConfigBuilder::new().group("all", es_bus::config::Attributes::at("", 0));
    let values = |builder: ConfigBuilder| {
        let text = builder.load().unwrap_or_else(|error| panic!("{error}")).to_string();
        let rows = text.lines().filter(|line| !line.starts_with("consumer_name") && !line.starts_with("url"));
        rows.map(|row| row.split('(').next().unwrap_or(row).trim_end().to_owned()).collect::<Vec<_>>()
    };
    let expected = values(defaults);
    let group = || ConfigBuilder::new().group("all", es_bus::config::Attributes::at("", 0));

    let all = |text: String| text.split("# One group").next().unwrap_or_default().to_owned();
    let file = set(&all(toml()), |line| line.contains(" = "));
    let variables =
        set(&all(dotenv()), |line| line.starts_with("ES_BUS_") && !line.contains("ES_BUS_CONFIG"));
    let env_file = env::temp_dir().join(format!("es-bus-{}.env", std::process::id()));
    fs::write(&env_file, &variables).expect("a temporary file");
    let by_file = values(group().file_text("es-bus.toml", file));
    let by_variables = values(group().env_file(&env_file));
    fs::remove_file(&env_file).expect("ours");

    assert_eq!(by_file, expected);
    assert_eq!(by_variables, expected);
    assert!(
        keys().all(|key| variables.contains(&format!("\n{}=", key.variable()))),
        "every setting is there"
    );
}
