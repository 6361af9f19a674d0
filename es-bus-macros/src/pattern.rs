//! What binding keys, routing keys and names may look like, checked where the literal stands.
//!
//! The rules are those of `es_bus::topic`, which checks constants and the registry again; the
//! texts can name the character and the word, since nothing here has to be `const`.

use syn::LitStr;

use crate::errors::Errors;

const MAX_BYTES: usize = 255;

/// Checks a binding key: words parted by dots, `*` and `#` as whole words.
pub(crate) fn check_binding(key: &LitStr, errors: &mut Errors) {
    let text = key.value();
    if let Some(fault) = shape_fault(&text) {
        errors.at(key.span(), format!("binding {}{fault}", quoted(&text)));
        return;
    }
    for word in text.split('.') {
        if word.len() > 1
            && let Some(wildcard) = word.chars().find(|c| matches!(c, '*' | '#'))
        {
            errors.at(
                key.span(),
                format!(
                    "`{wildcard}` has to be a whole word: in `{word}` it would be matched literally; write \
                     `{wildcard}` between dots, or list the words you mean"
                ),
            );
            return;
        }
    }
}

/// Checks a routing key: words parted by dots, no wildcards. Says whether it is legal.
pub(crate) fn check_routing_key(key: &LitStr, errors: &mut Errors) -> bool {
    let text = key.value();
    let fault = shape_fault(&text).or_else(|| wildcard_fault(&text));
    if let Some(fault) = &fault {
        errors.at(key.span(), format!("routing key {}{fault}", quoted(&text)));
    }
    fault.is_none()
}

/// Checks one word of a routing key.
pub(crate) fn check_aggregate(aggregate: &LitStr, errors: &mut Errors) {
    let text = aggregate.value();
    if text.contains('.') {
        errors.at(
            aggregate.span(),
            "`aggregate` is one word of the routing key, without dots; use `key` to set the whole routing key",
        );
    } else if let Some(fault) = shape_fault(&text).or_else(|| wildcard_fault(&text)) {
        errors.at(aggregate.span(), format!("aggregate {}{fault}", quoted(&text)));
    }
}

/// Checks the name of an event; it is part of the routing key unless `key` says that.
pub(crate) fn check_event_name(name: &LitStr, errors: &mut Errors) {
    let text = name.value();
    if let Some(fault) = shape_fault(&text).or_else(|| wildcard_fault(&text)) {
        errors.at(name.span(), format!("event name {}{fault}", quoted(&text)));
    }
}

/// Checks the name of an exchange, a group, a bus or a handler.
pub(crate) fn check_name(what: &str, name: &LitStr, errors: &mut Errors) {
    let text = name.value();
    let fault = if text.is_empty() {
        Some("is empty".to_owned())
    } else if text.len() > MAX_BYTES {
        Some(format!("has {} bytes; AMQP carries at most {MAX_BYTES}", text.len()))
    } else if text.starts_with("amq.") {
        Some("starts with `amq.`, which RabbitMQ keeps for itself".to_owned())
    } else {
        text.chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, ',' | '*' | '#'))
            .map(|c| format!("contains {c:?}; use letters, digits, `-`, `_` and dots"))
    };
    if let Some(fault) = fault {
        errors.at(name.span(), format!("{what} name {}{fault}", quoted(&text)));
    }
}

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

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    #[test]
    fn names_a_group_after_its_type() {
        for (ident, name) in [
            ("OrderProjections", "order-projections"),
            ("Audit", "audit"),
            ("HTTPEvents", "http-events"),
            ("Order2Go", "order2-go"),
            ("order_mail", "order-mail"),
            ("V2", "v2"),
        ] {
            assert_eq!(kebab(ident), name, "{ident}");
        }
    }

    #[test]
    fn finds_what_is_wrong_with_a_binding() {
        for (text, part) in [
            ("Order..x", "two dots in a row"),
            (".a", "starts with a dot"),
            ("a.", "ends with a dot"),
            ("", "is empty"),
            ("Ord er.*", "contains ' '"),
            ("Order#", "`#` has to be a whole word"),
        ] {
            let mut errors = Errors::default();
            check_binding(&LitStr::new(text, Span::call_site()), &mut errors);
            assert!(errors.messages()[0].contains(part), "{text}: {:?}", errors.messages());
        }
        for text in ["#", "*", "Order.*", "#.created.#", "a-b.c_d"] {
            let mut errors = Errors::default();
            check_binding(&LitStr::new(text, Span::call_site()), &mut errors);
            assert!(errors.is_empty(), "{text}");
        }
    }
}
