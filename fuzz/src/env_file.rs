//! The file `.env`: what its lines say is what the same variables would say, and no secret is shown.

use es_bus::config::{Attributes, Config, ConfigBuilder, Error, Scope};

/// The first byte says what the text is.
pub fn env_file(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b'v' => values(&text),
        b's' => secrets(&text),
        _ => files(&text),
    }
}

fn program() -> ConfigBuilder {
    let builder = ConfigBuilder::new().group("ledger", Attributes::at("src/main.rs", 1));
    // Otherwise chance has a part in it.
    builder.set_default(Scope::Bus, "consumer_name", "fuzzed")
}

fn read(text: &str) -> Result<Config, Error> {
    program().env_file_text(".env", text).load()
}

/// What was read of it, or what is wrong with it, wherever that stands.
fn said(text: &str) -> Result<String, Vec<String>> {
    match read(text) {
        Ok(config) => Ok(format!("{config} {:?}", config.warnings)),
        Err(error) => {
            assert!(!error.findings().is_empty());
            Err(error.findings().iter().map(|finding| finding.problem.clone()).collect())
        }
    }
}

/// A whole file: what is none of ours changes nothing.
fn files(text: &str) {
    let said_by = said(text);
    assert_eq!(said(&format!("# comment\n{text}")), said_by);
    assert_eq!(said(&format!("OTHER=\"of two\nlines\"\n{text}")), said_by);
    if !text.starts_with('\u{feff}') {
        assert_eq!(said(&format!("\u{feff}{text}")), said_by);
    }
    if !text.contains('\r') {
        assert_eq!(said(&text.replace('\n', "\r\n")), said_by);
    }
    if !text.contains('\'') {
        assert_eq!(said(&format!("OTHER='tis\n{text}")), said_by);
    }
}

/// One value, in every way in which it may be written.
fn values(value: &str) {
    if value.contains('\n') {
        return;
    }
    let expected = program().env([("ES_BUS_EXCHANGE", value)]).load();
    let holds = |line: String| match (&expected, read(&line)) {
        (Ok(expected), Ok(found)) => assert_eq!(*found.bus.exchange, *expected.bus.exchange, "{line:?}"),
        (Err(expected), Err(found)) => {
            let problems = |error: &Error| -> Vec<String> {
                error.findings().iter().map(|finding| finding.problem.clone()).collect()
            };
            assert_eq!(problems(&found), problems(expected), "{line:?}");
        }
        (expected, found) => panic!("{line:?} is {found:?}, and the variable {expected:?}"),
    };
    if !value.contains('\'') {
        holds(format!("ES_BUS_EXCHANGE='{value}'"));
        holds(format!("  export\tES_BUS_EXCHANGE = '{value}'  # and more"));
    }
    if !value.contains(['"', '\\']) && !value.contains("${") {
        holds(format!("ES_BUS_EXCHANGE=\"{value}\""));
    }
    let is_plain = value.trim() == value && !value.starts_with(['\'', '"', '#']);
    if is_plain && !value.contains(" #") && !value.contains("${") {
        holds(format!("ES_BUS_EXCHANGE={value}"));
        holds(format!("export ES_BUS_EXCHANGE={value} # and more"));
    }
}

/// A line that is about a URL whose password is half known, however it is written.
fn secrets(text: &str) {
    let mut parts = text.splitn(3, '\n').map(|part| part.replace('\n', ""));
    let [sign, inner, tail] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let shows = |text: &str| text.contains("Zq9x") || text.contains("x9qZ");
    if shows(&sign) || shows(&inner) || shows(&tail) {
        return;
    }
    for name in ["ES_BUS_URL", "RABBITMQ_URL", "export ES_BUS_URL"] {
        let line = format!("{name}{sign}amqp://app:Zq9x{inner}x9qZ@{tail}");
        let shown = match read(&line) {
            Ok(config) => format!("{config} {config:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shows(&shown), "{line:?}: {shown}");
    }
}
