//! How data fit the schema of an event as a lock has it: its fields, their types, and which have to be there. Pure.
//!
//! It is less than the type of the event knows: what a line says beyond a JSON type and a choice is left to whoever
//! reads the event.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::events;
use crate::{
    schema::{CLOSED, Field, ROOT, part},
    suggest,
};

/// What about data does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misfits {
    /// What no reader could read.
    pub(crate) wrong: Vec<String>,
    /// What every reader would leave out: a slip, most likely.
    pub(crate) odd: Vec<String>,
}

impl Misfits {
    pub(super) fn of(schema: &[String], data: &Json) -> Self {
        let fields = events::fields(schema);
        let mut misfits = Self::default();
        misfits.look(data, ROOT, &fields);
        misfits
    }

    fn look(&mut self, data: &Json, at: &str, fields: &BTreeMap<&str, Field>) {
        let kind = fields.get(at).map_or("anything", |field| field.kind.as_str());
        if let Some(problem) = misfit(data, kind) {
            let whole = if at == ROOT { "it".to_owned() } else { format!("field {at}") };
            self.wrong.push(format!("{whole} is {problem}"));
            return;
        }
        match data {
            Json::Object(given) => self.look_into(given, at, kind, fields),
            Json::Array(items) => {
                let inner = format!("{at}[]");
                if fields.contains_key(inner.as_str()) {
                    items.iter().for_each(|item| self.look(item, &inner, fields));
                }
            }
            _ => {}
        }
    }

    fn look_into(&mut self, given: &Map<String, Json>, at: &str, kind: &str, fields: &BTreeMap<&str, Field>) {
        let every = format!("{at}{{}}");
        if fields.contains_key(every.as_str()) {
            given.values().for_each(|value| self.look(value, &every, fields));
            return;
        }
        let own: Vec<&str> = fields.keys().copied().filter(|field| is_of(field, at)).collect();
        // An object of which nothing is written down.
        if own.is_empty() && !kind.contains(CLOSED) {
            return;
        }
        let within = |name: &str| if at == ROOT { part(name) } else { format!("{at}.{}", part(name)) };
        let missing = own
            .iter()
            .filter(|field| fields[*field].is_required && !given.keys().any(|name| within(name) == **field));
        self.wrong.extend(missing.map(|field| format!("field {field} is missing, and has to be there")));
        for (name, value) in given {
            let field = within(name);
            if own.contains(&field.as_str()) {
                self.look(value, &field, fields);
                continue;
            }
            let near = suggest::nearest(&field, own.iter().copied());
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            if kind.contains(CLOSED) {
                self.wrong.push(format!("there is no field {field}, and unknown ones are refused{hint}"));
            } else {
                self.odd.push(format!("there is no field {field}{hint}"));
            }
        }
    }
}

/// Whether a field stands directly in what is at a place.
fn is_of(field: &str, at: &str) -> bool {
    let own =
        if at == ROOT { Some(field) } else { field.strip_prefix(at).and_then(|rest| rest.strip_prefix('.')) };
    own.is_some_and(|own| {
        if own == ROOT {
            return false;
        }
        // A name that is quoted may hold anything.
        match own.strip_prefix('"') {
            Some(rest) => rest.ends_with('"') && !rest[..rest.len() - 1].contains("\"."),
            None => !own.contains(['.', '[', '{']),
        }
    })
}

/// What a value is that a field of this kind is not; `None` where it is one, or nobody can tell.
fn misfit(data: &Json, kind: &str) -> Option<String> {
    if kind.ends_with(" or null") && data.is_null() {
        return None;
    }
    let kind = kind.strip_suffix(" or null").unwrap_or(kind);
    let (kind, _constraints) = kind.split_once(", with ").unwrap_or((kind, ""));
    let (types, choices) = match kind.split_once(", one of ") {
        Some((types, choices)) => (types, Some(choices)),
        None => (kind, None),
    };
    let types = types.split(CLOSED).next().unwrap_or_default();
    let types = types.split(" (").next().unwrap_or_default();
    let is = |word: &str| match word {
        "object" => data.is_object(),
        "array" => data.is_array(),
        "string" => data.is_string(),
        "boolean" => data.is_boolean(),
        "number" => data.is_number(),
        "integer" => data.as_f64().is_some_and(|number| number.fract() == 0.0),
        // `anything`, and what refers to what is around it.
        _ => true,
    };
    if !types.split(" or ").any(is) {
        return Some(format!("{}, and has to be {types}", described(data)));
    }
    let choices = choices?;
    let read: Result<Vec<Json>, _> = serde_json::Deserializer::from_str(choices).into_iter().collect();
    let is_chosen = read.ok()?.contains(data);
    (!is_chosen).then(|| format!("{data}, and has to be one of {choices}"))
}

fn described(data: &Json) -> &'static str {
    match data {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_are_held_to_the_fields_that_are_written_down() {
        let schema = [
            "$: object",
            "\"odd.name\"?: string",
            "due?: string or null",
            "how?: anything, with {\"oneOf\":[{\"type\":\"object\"},{\"const\":\"cash\"}]}",
            "labels?: object",
            "labels{}: string",
            "lines: array",
            "lines[]: object, closed",
            "lines[].amount: integer (uint32)",
            "lines[].currency: string, one of \"Eur\" \"Usd\"",
            "number: string (uuid)",
        ];
        let schema: Vec<String> = schema.iter().map(|line| (*line).to_owned()).collect();
        let of = |data: Json| {
            let Misfits { wrong, odd } = Misfits::of(&schema, &data);
            wrong.into_iter().chain(odd.into_iter().map(|it| format!("odd: {it}"))).collect::<Vec<_>>()
        };
        let good = json!({
            "number": "n-1", "lines": [{ "amount": 1, "currency": "Eur" }], "due": null, "how": 3, "odd.name": "x",
            "labels": { "a": "b" },
        });
        assert_eq!(of(good), [""; 0]);

        assert_eq!(of(json!([])), ["it is a list, and has to be object"]);
        assert_eq!(
            of(json!({ "numbr": "n-1", "lines": [], "more": 1 })),
            [
                "field number is missing, and has to be there",
                "odd: there is no field more",
                "odd: there is no field numbr; did you mean number?",
            ]
        );
        assert_eq!(
            of(json!({
                "number": 1, "due": 2, "labels": { "a": 3 },
                "lines": [{ "amount": 1.5, "currency": "Gbp" }, { "amout": 1, "currency": "Usd" }],
            })),
            [
                "field due is a number, and has to be string",
                "field labels{} is a number, and has to be string",
                "field lines[].amount is a number, and has to be integer",
                "field lines[].currency is \"Gbp\", and has to be one of \"Eur\" \"Usd\"",
                "field lines[].amount is missing, and has to be there",
                "there is no field lines[].amout, and unknown ones are refused; did you mean lines[].amount?",
                "field number is a number, and has to be string",
            ]
        );
    }
}
