//! Texts in attributes: what the macros let pass, start-up takes, and understands alike.

use es_bus::{
    config::{Attributes, ConfigBuilder},
    duration,
    name::{ExchangeName, GroupName, QueueName},
    topic::{binding_key_fault, routing_key_fault},
};

// Nobody can link a crate of macros; these two files of it need nothing else of it.
#[path = "../../es-bus-macros/src/rules.rs"]
mod rules;
#[path = "../../es-bus-macros/src/units.rs"]
mod units;

/// A text as each thing that an attribute may say; its lines as the texts of a list.
pub fn attributes(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let agrees = |fault: Option<String>, is_legal: bool| {
        assert_eq!(fault.is_none(), is_legal, "{text:?}: {fault:?}");
        assert!(fault.is_none_or(|fault| !fault.is_empty()));
    };
    agrees(rules::binding_fault(text), binding_key_fault(text).is_none());
    agrees(rules::routing_key_fault("routing key", text), routing_key_fault(text).is_none());
    agrees(rules::aggregate_fault(text), routing_key_fault(text).is_none() && !text.contains('.'));
    assert_eq!(units::duration(text).ok(), duration::parse(text).ok(), "{text:?}");
    let size = text.parse().ok().map(duration::ByteSize::bytes);
    assert_eq!(units::size(text).ok(), size, "{text:?}");
    name(text);
    type_name(text);
    list(text);
}

/// The macros are stricter about names than the broker.
fn name(text: &str) {
    if rules::name_fault("group", text).is_none() {
        assert!(GroupName::new(text).is_ok() && ExchangeName::new(text).is_ok(), "{text:?}");
        assert!(QueueName::new(text).is_ok(), "{text:?}");
        let loaded = ConfigBuilder::new().group(text, Attributes::at("src/main.rs", 1)).load();
        assert!(loaded.is_ok(), "{text:?}: {loaded:?}");
    }
}

/// A type in ASCII has a name that can stay, if there is a letter or a digit in it.
fn type_name(text: &str) {
    let is_named = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_named && text.len() <= 127 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        let name = rules::kebab(text);
        assert_eq!(rules::name_fault("group", &name), None, "{text:?} gives {name:?}");
        assert!(!name.contains(|c: char| c.is_uppercase() || c == '_'), "{text:?} gives {name:?}");
    }
}

/// A list goes through one text, and is the same list afterwards.
fn list(text: &str) {
    let is_fine = |key: &&str| rules::binding_fault(key).is_none() && rules::item_fault(key).is_none();
    let keys: Vec<&str> = text.lines().filter(is_fine).collect();
    let list = rules::list(keys.iter().map(|key| (*key).to_owned()));
    let attributes = Attributes::at("src/main.rs", 1).with("retired", &*list);
    let config = ConfigBuilder::new().group("ledger", attributes).load().expect("keys can be retired");
    assert_eq!(*config.groups["ledger"].settings.retired, keys, "{list:?}");
}
