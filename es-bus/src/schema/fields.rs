//! A schema as a list of fields, for people who compare two: where each is, of what type, and whether it has to be there.
//!
//! `total.amount` is a field of a field, `items[]` what a list holds, `labels{}` what a map holds, `$` the event itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// What is said of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Whether it has to be there.
    pub(crate) is_required: bool,
    /// Its type, in words.
    pub(crate) kind: String,
}

/// The fields of a schema, by where they are.
pub(crate) fn fields(schema: &Json) -> BTreeMap<String, Field> {
    let mut reader = Reader { definitions: schema.get("$defs"), within: Vec::new(), found: BTreeMap::new() };
    reader.read(schema, ROOT, true);
    reader.found
}

/// Where the event itself is.
pub(crate) const ROOT: &str = "$";

struct Reader<'a> {
    definitions: Option<&'a Json>,
    /// The definitions that are being read: one may hold itself.
    within: Vec<&'a str>,
    found: BTreeMap<String, Field>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, schema: &'a Json, at: &str, is_required: bool) {
        let depth = self.within.len();
        let (schema, may_be_null) = self.resolved(schema);
        let Some(schema) = schema else {
            let name = self.within.pop().unwrap_or_default();
            self.found.insert(at.to_owned(), Field { is_required, kind: format!("{name}, as around it") });
            self.within.truncate(depth);
            return;
        };
        let kind = kind(schema, may_be_null);
        self.found.insert(at.to_owned(), Field { is_required, kind });
        let required = schema.get("required").and_then(Json::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
        let object = |word: &str| schema.get(word).and_then(Json::as_object);
        for (name, field) in object("properties").into_iter().flatten() {
            let name_at = if at == ROOT { part(name) } else { format!("{at}.{}", part(name)) };
            self.read(field, &name_at, is_required(name));
        }
        let within = if at == ROOT { "" } else { at };
        for (word, brackets) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
                self.read(inner, &format!("{within}{brackets}"), true);
            }
        }
        self.within.truncate(depth);
    }

    /// Follows references and takes away `null`; none for a definition that is being read already.
    fn resolved(&mut self, mut schema: &'a Json) -> (Option<&'a Json>, bool) {
        let mut may_be_null = false;
        loop {
            if let Some(name) =
                schema.get("$ref").and_then(Json::as_str).and_then(|it| it.strip_prefix("#/$defs/"))
            {
                let is_within = self.within.contains(&name);
                self.within.push(name);
                match self.definitions.and_then(|all| all.get(name)) {
                    Some(definition) if !is_within => schema = definition,
                    _ => return (None, may_be_null),
                }
                continue;
            }
            let alternatives = schema.get("anyOf").and_then(Json::as_array);
            let (null, other): (Vec<_>, Vec<_>) = alternatives
                .into_iter()
                .flatten()
                .partition(|it| it.get("type").is_some_and(|it| it == "null"));
            match (&*null, &*other) {
                ([_], [one]) => {
                    may_be_null = true;
                    schema = one;
                }
                _ => return (Some(schema), may_be_null),
            }
        }
    }
}

/// The type in words; what has no word stands there as JSON.
fn kind(schema: &Json, may_be_null: bool) -> String {
    let Some(schema) = schema.as_object() else {
        return if schema == &Json::Bool(false) { "nothing".to_owned() } else { "anything".to_owned() };
    };
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let mut types: Vec<String> = match schema.get("type") {
        Some(Json::Array(all)) => all.iter().filter_map(text).collect(),
        one => one.and_then(text).into_iter().collect(),
    };
    if may_be_null {
        types.push("null".to_owned());
    }
    types.sort();
    let has_null = types.iter().any(|it| it == "null");
    types.retain(|it| it != "null");
    let mut kind = if types.is_empty() { "anything".to_owned() } else { types.join(" or ") };
    if let Some(format) = schema.get("format").and_then(Json::as_str) {
        kind = format!("{kind} ({format})");
    }
    if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
        kind += CLOSED;
    }
    let choices = schema.get("enum").and_then(Json::as_array).cloned();
    if let Some(mut choices) = choices.or_else(|| Some(vec![schema.get("const")?.clone()])) {
        choices.sort_by_key(Json::to_string);
        let choices: Vec<String> = choices.iter().map(Json::to_string).collect();
        kind = format!("{kind}, one of {}", choices.join(" "));
    }
    if has_null {
        kind += " or null";
    }
    // The format of a whole number without a sign says that as well.
    let is_said = |word: &str, value: &Json| {
        SAID.contains(&word)
            || (word == "minimum" && value.as_u64() == Some(0) && schema.contains_key("format"))
    };
    let rest = schema.iter().filter(|(word, value)| !is_said(word, value));
    let rest: Map<String, Json> = rest.map(|(word, value)| (word.clone(), plain(value))).collect();
    if rest.is_empty() { kind } else { format!("{kind}, with {}", sorted(&Json::Object(rest))) }
}

/// Without what is for people only.
fn plain(value: &Json) -> Json {
    match value {
        Json::Object(all) => Json::Object(
            all.iter()
                .filter(|(word, _)| !matches!(word.as_str(), "description" | "title" | "examples"))
                .map(|(word, value)| (word.clone(), plain(value)))
                .collect(),
        ),
        Json::Array(all) => Json::Array(all.iter().map(plain).collect()),
        value => value.clone(),
    }
}

/// JSON with its names in order, whatever order serde_json was built to keep.
fn sorted(value: &Json) -> String {
    match value {
        Json::Object(all) => {
            let all: BTreeMap<&String, String> =
                all.iter().map(|(name, value)| (name, sorted(value))).collect();
            let all: Vec<String> = all
                .into_iter()
                .map(|(name, value)| format!("{}:{value}", Json::from(name.as_str())))
                .collect();
            format!("{{{}}}", all.join(","))
        }
        Json::Array(all) => format!("[{}]", all.iter().map(sorted).collect::<Vec<_>>().join(",")),
        value => value.to_string(),
    }
}

/// The name of a field as a part of where it is.
pub(crate) fn part(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        Json::from(name).to_string()
    }
}

/// Stands behind the type of an object that refuses fields which it does not know.
pub(crate) const CLOSED: &str = ", closed";

/// What is told in words, by where a field is, or not at all.
const SAID: [&str; 17] = [
    "$defs",
    "$schema",
    "additionalProperties",
    "const",
    "default",
    "deprecated",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "properties",
    "readOnly",
    "required",
    "title",
    "type",
    "writeOnly",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_told_with_its_place_and_its_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "format": "uuid" },
                "total": { "$ref": "#/$defs/Money" },
                "note": { "type": ["string", "null"], "default": null },
                "refund": { "anyOf": [{ "$ref": "#/$defs/Money" }, { "type": "null" }] },
                "items": { "type": "array", "items": { "type": "integer", "format": "uint32", "minimum": 0 } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "state": { "type": "string", "enum": ["open", "closed"] },
                "how": { "oneOf": [{ "type": "object", "title": "Card" }, { "const": "cash" }] },
                "odd.name": true,
                "tree": { "$ref": "#/$defs/Tree" },
            },
            "required": ["id", "total"],
            "additionalProperties": false,
            "$defs": {
                "Money": {
                    "type": "object",
                    "properties": { "amount": { "type": "number", "minimum": 0.5 } },
                    "required": ["amount"],
                },
                "Tree": {
                    "type": "object",
                    "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/Tree" } } },
                },
            },
        });

        let lines: Vec<String> = fields(&schema)
            .iter()
            .map(|(at, field)| format!("{at}{}: {}", if field.is_required { "" } else { "?" }, field.kind))
            .collect();

        assert_eq!(
            lines,
            [
                "\"odd.name\"?: anything",
                "$: object, closed",
                "how?: anything, with {\"oneOf\":[{\"type\":\"object\"},{\"const\":\"cash\"}]}",
                "id: string (uuid)",
                "items?: array",
                "items[]: integer (uint32)",
                "labels?: object",
                "labels{}: string",
                "note?: string or null",
                "refund?: object or null",
                "refund.amount: number, with {\"minimum\":0.5}",
                "state?: string, one of \"closed\" \"open\"",
                "total: object",
                "total.amount: number, with {\"minimum\":0.5}",
                "tree?: object",
                "tree.children?: array",
                "tree.children[]: Tree, as around it",
            ]
        );
    }
}
