//! Settings as texts: read or refused with a reason, and no password in any of it.

use std::collections::BTreeMap;

use es_bus::{
    config::{Attributes, BrokerUrl, Config, ConfigBuilder, Error, Scope, keys},
    duration,
};

/// The first byte says what the text is.
pub fn configuration(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b't' => drop(shown(&program().file_text("es-bus.toml", &*text).load())),
        b'e' => environment(&text),
        b'u' => url(&text),
        b'd' => durations(&text),
        b'p' => passwords(&text),
        // Any setting, by its number, in any layer.
        number => {
            let known: Vec<_> = keys().collect();
            let key = known[usize::from(*number) % known.len()];
            let (name, variable) = (key.name, key.variable());
            drop(shown(&program().set_default(Scope::Bus, name, &*text).load()));
            drop(shown(&program().force(Scope::group("ledger"), name, &*text).load()));
            if !text.contains('\0') {
                drop(shown(&program().env([(variable.as_str(), &*text)]).load()));
            }
        }
    }
}

fn program() -> ConfigBuilder {
    ConfigBuilder::new().group("ledger", Attributes::at("src/main.rs", 1))
}

/// Everything that anybody could print of it.
fn shown(result: &Result<Config, Error>) -> String {
    match result {
        Ok(config) => format!("{config} {config:?}"),
        Err(error) => {
            assert!(!error.findings().is_empty());
            format!("{error} {error:?}")
        }
    }
}

fn environment(text: &str) {
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    drop(shown(&program().env(variables).load()));
}

fn url(text: &str) {
    match text.parse::<BrokerUrl>() {
        Ok(url) => assert!(!format!("{url} {url:?}").is_empty()),
        Err(error) => assert!(!format!("{error} {error:?}").is_empty()),
    }
}

fn durations(text: &str) {
    match duration::parse(text) {
        Ok(read) => assert_eq!(duration::parse(&duration::print(read)), Ok(read)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match text.parse::<duration::ByteSize>() {
        Ok(size) => assert_eq!(size.to_string().parse(), Ok(size)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A URL whose password is half known: whatever the rest of it is, neither half is ever shown.
fn passwords(text: &str) {
    let (inner, tail) = text.split_once('\n').unwrap_or((text, "broker/"));
    let secret = format!("amqp://app:Zq9x{inner}x9qZ@{tail}");
    if secret.contains('\0') {
        return;
    }
    let quoted = format!("{secret:?}");
    for result in [
        program().env([("ES_BUS_URL", secret.as_str())]).load(),
        program().env([("ES_BUS_EXCHANGE", secret.as_str()), ("RABBITMQ_URL", secret.as_str())]).load(),
        program().file_text("es-bus.toml", format!("url = {quoted}")).load(),
        program().file_text("es-bus.toml", format!("url = '{secret}'")).load(),
        program().set_default(Scope::Bus, "url", &secret).load(),
    ] {
        let shown = shown(&result);
        assert!(!shown.contains("Zq9x") && !shown.contains("x9qZ"), "{shown}");
    }
    let error = secret
        .parse::<BrokerUrl>()
        .map_or_else(|error| format!("{error} {error:?}"), |url| format!("{url} {url:?}"));
    assert!(!error.contains("Zq9x") && !error.contains("x9qZ"), "{error}");
}
