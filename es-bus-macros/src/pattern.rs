//! Checks binding keys, routing keys and names where the literal stands, by the `rules`.

use proc_macro2::Ident;
use syn::{LitStr, ext::IdentExt as _};

use crate::{errors::Errors, rules};

/// Checks a binding key.
pub(crate) fn check_binding(key: &LitStr, errors: &mut Errors) {
    note(key, rules::binding_fault(&key.value()), errors);
}

/// Checks a binding key that is one of a list for the configuration.
pub(crate) fn check_listed_binding(key: &LitStr, errors: &mut Errors) {
    let text = key.value();
    note(key, rules::binding_fault(&text).or_else(|| rules::item_fault(&text)), errors);
}

/// Checks a routing key.
pub(crate) fn check_routing_key(key: &LitStr, errors: &mut Errors) {
    note(key, rules::routing_key_fault("routing key", &key.value()), errors);
}

/// Checks one word of a routing key.
pub(crate) fn check_aggregate(aggregate: &LitStr, errors: &mut Errors) {
    note(aggregate, rules::aggregate_fault(&aggregate.value()), errors);
}

/// Checks the name of an event; it is part of the routing key unless `key` says that.
pub(crate) fn check_event_name(name: &LitStr, errors: &mut Errors) {
    note(name, rules::routing_key_fault("event name", &name.value()), errors);
}

/// Checks the name of an exchange, a group, a bus or a handler.
pub(crate) fn check_name(what: &str, name: &LitStr, errors: &mut Errors) {
    note(name, rules::name_fault(what, &name.value()), errors);
}

/// The name of a group or an exchange: what is said, or what its type is called.
pub(crate) fn name_or_type(what: &str, name: Option<LitStr>, ident: &Ident, errors: &mut Errors) -> String {
    if let Some(name) = name {
        return name.value();
    }
    let name = rules::kebab(&ident.unraw().to_string());
    note_of_type(ident, rules::name_fault(what, &name), errors);
    name
}

/// Checks the name of an event that is called as its type.
pub(crate) fn check_event_type(ident: &Ident, errors: &mut Errors) {
    note_of_type(ident, rules::routing_key_fault("event name", &ident.unraw().to_string()), errors);
}

fn note(text: &LitStr, fault: Option<String>, errors: &mut Errors) {
    if let Some(fault) = fault {
        errors.at(text.span(), fault);
    }
}

fn note_of_type(ident: &Ident, fault: Option<String>, errors: &mut Errors) {
    if let Some(fault) = fault {
        errors.at(
            ident.span(),
            format!("{fault}; it is named after its type, `name = \"..\"` gives it another one"),
        );
    }
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
            assert_eq!(rules::kebab(ident), name, "{ident}");
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
