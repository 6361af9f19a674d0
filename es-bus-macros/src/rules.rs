//! What binding keys, routing keys and names may look like: texts come in, and what is wrong with them
//! comes out.
//!
//! The rules are those of `es_bus::topic` and `es_bus::name`, which check constants and the registry
//! again; the texts here can name the character and the word, since nothing has to be `const`. That both
//! say the same is fuzzed (`fuzz/src/attributes.rs`, which includes this file), so it uses nothing but
//! the standard library.

const MAX_BYTES: usize = 255;

/// What is wrong with a binding key: words parted by dots, `*` and `#` as whole words.
pub(crate) fn binding_fault(text: &str) -> Option<String> {
    if let Some(fault) = shape_fault(text) {
        return Some(format!("binding {}{fault}", quoted(text)));
    }
    text.split('.').filter(|word| word.len() > 1).find_map(|word| {
        let wildcard = word.chars().find(|c| matches!(c, '*' | '#'))?;
        Some(format!(
            "`{wildcard}` has to be a whole word: in `{word}` it would be matched literally; write `{wildcard}` \
             between dots, or list the words you mean"
        ))
    })
}

/// What is wrong with a routing key: words parted by dots, no wildcards. `what` says what it is.
pub(crate) fn routing_key_fault(what: &str, text: &str) -> Option<String> {
    let fault = shape_fault(text).or_else(|| wildcard_fault(text))?;
    Some(format!("{what} {}{fault}", quoted(text)))
}

/// What is wrong with an aggregate: it is one word of a routing key.
pub(crate) fn aggregate_fault(text: &str) -> Option<String> {
    if text.contains('.') {
        let fault = "`aggregate` is one word of the routing key, without dots; use `key` to set the whole routing key";
        return Some(fault.to_owned());
    }
    routing_key_fault("aggregate", text)
}

/// What is wrong with the name of an exchange, a group, a bus or a handler.
pub(crate) fn name_fault(what: &str, text: &str) -> Option<String> {
    let fault = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > MAX_BYTES {
        format!("has {} bytes; AMQP carries at most {MAX_BYTES}", text.len())
    } else if text.starts_with("amq.") {
        "starts with `amq.`, which RabbitMQ keeps for itself".to_owned()
    } else {
        let c = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, ',' | '*' | '#'))?;
        format!("contains {c:?}; use letters, digits, `-`, `_` and dots")
    };
    Some(format!("{what} name {}{fault}", quoted(text)))
}

/// What is wrong with a text of a list, which the configuration reads again as one text.
pub(crate) fn item_fault(text: &str) -> Option<String> {
    if text.contains(',') {
        return Some(format!("`{text}` has a comma, which parts the texts of this list; they can have none"));
    }
    if text.contains("://") {
        return Some(format!("`{text}` would be taken for a URL, which no list of the configuration holds"));
    }
    (text == NONE).then(|| format!("`{NONE}` is how an empty list is written, and can be no text of one"))
}

/// A list as the configuration writes it.
pub(crate) fn list(texts: impl Iterator<Item = String>) -> String {
    let text = texts.collect::<Vec<_>>().join(",");
    if text.is_empty() { NONE.to_owned() } else { text }
}

const NONE: &str = "none";

/// `OrderProjections` as `order-projections`: how a type marked `#[group]` is named.
pub(crate) fn kebab(ident: &str) -> String {
    let chars: Vec<char> = ident.trim_start_matches("r#").chars().collect();
    let mut name = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_lower = i > 0 && (chars[i - 1].is_lowercase() || chars[i - 1].is_numeric());
        let ends_acronym =
            i > 0 && chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|next| next.is_lowercase());
        if *c == '_' {
            if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            continue;
        }
        if c.is_uppercase() && (after_lower || ends_acronym) {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}` ") }
}

fn shape_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.len() > MAX_BYTES {
        return Some(format!("has {} bytes; AMQP carries at most {MAX_BYTES}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Some(format!("contains {c:?}; use printable ASCII without spaces"));
    }
    if text.starts_with('.') {
        return Some("has an empty word (it starts with a dot)".to_owned());
    }
    if text.ends_with('.') {
        return Some("has an empty word (it ends with a dot)".to_owned());
    }
    text.contains("..").then(|| "has an empty word (two dots in a row)".to_owned())
}

fn wildcard_fault(text: &str) -> Option<String> {
    text.chars()
        .find(|c| matches!(c, '*' | '#'))
        .map(|c| format!("contains the wildcard `{c}`; wildcards belong in `bind`"))
}
