//! The schema of one event: of its own fields, and of the body that carries them.

use serde_json::{Map, Value as Json, json};

use crate::{
    event::{EventKind, PayloadStyle},
    registry::{EventDef, Registry},
    wire::ENVELOPE_FIELDS,
};

/// What the bodies of one event look like, in JSON Schema 2020-12. [`Registry::schemas`] gives them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventSchema {
    /// The event.
    pub event: EventKind,
    /// Its own fields, as they are read: what has a default is not required.
    pub payload: Json,
    /// The body of its messages, as es-bus and eventsource-py write it: the fields of the envelope, and its own beside
    /// them, or under `payload` for an event that says `payload = "nested"`.
    pub body: Json,
}

impl Registry {
    /// The schemas of the events whose types derive `schemars::JsonSchema` (1.x), by exchange, routing key and name. Without
    /// the feature `schema` there are none.
    ///
    /// An event that a registry made by hand knows by its handlers alone has none: put it in ([`Registry::event`]).
    /// Of an event set, those variants have one that serde writes under the name of their event. A second view of an
    /// event (`view`) has none beside that of the event.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{Registry, event};
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[event(aggregate = "Order", aggregate_id = order_id)]
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct OrderPlaced {
    ///     order_id: String,
    ///     total: f64,
    /// }
    ///
    /// let schemas = Registry::new().event::<OrderPlaced>().schemas();
    ///
    /// assert_eq!(schemas[0].payload["properties"]["total"]["type"], "number");
    /// assert_eq!(schemas[0].body["properties"]["event_type"]["const"], "OrderPlaced");
    /// ```
    #[must_use]
    pub fn schemas(&self) -> Vec<EventSchema> {
        self.kinds().into_iter().filter_map(|kind| schema_of(self, kind)).collect()
    }
}

/// The schema of an event, if its type has one.
pub(crate) fn schema_of(registry: &Registry, kind: &EventKind) -> Option<EventSchema> {
    let declares = |def: &&&EventDef| !def.view && def.kinds.contains(kind);
    let def = registry.events().iter().find(declares)?;
    let payload = (def.schema)().and_then(|of_type| match def.is_set {
        false => Some(of_type),
        true => of_variant(&of_type, kind.name),
    })?;
    Some(EventSchema { event: *kind, body: body(kind, &payload), payload })
}

/// The schema of the body of an event, as far as it is known: of the envelope at least.
pub(crate) fn body_of(registry: &Registry, kind: &EventKind) -> Json {
    schema_of(registry, kind).map_or_else(|| body(kind, &json!({ "type": "object" })), |schema| schema.body)
}

/// What a set says of one of its variants, which serde writes as `{"OrderPlaced": {..}}`.
fn of_variant(of_set: &Json, name: &str) -> Option<Json> {
    let is_unit = |variant: &Json| {
        variant.get("const").is_some_and(|it| it == name)
            || variant.get("enum").and_then(Json::as_array).is_some_and(|all| all.iter().any(|it| it == name))
    };
    let variants =
        of_set.get("oneOf").and_then(Json::as_array).map_or(std::slice::from_ref(of_set), Vec::as_slice);
    let own =
        variants.iter().find_map(|variant| match variant.get("properties").and_then(|it| it.get(name)) {
            Some(content) => Some(content.clone()),
            None if is_unit(variant) => Some(json!({ "type": "object" })),
            None => None,
        })?;
    let mut schema = Map::new();
    for word in ["$schema", "$defs"] {
        schema.extend(of_set.get(word).map(|value| (word.to_owned(), value.clone())));
    }
    schema.insert("title".to_owned(), name.into());
    schema.extend(own.as_object()?.clone());
    Some(Json::Object(schema))
}

/// The body of a message: the envelope and the event's own fields.
fn body(kind: &EventKind, payload: &Json) -> Json {
    let mut schema = json!({
        "$schema": payload.get("$schema").cloned().unwrap_or_else(|| DIALECT.into()),
        "title": format!("{} on the wire", kind.name),
        "type": "object",
        "properties": envelope(kind),
    });
    let mut required: Vec<Json> = ENVELOPE_FIELDS
        .into_iter()
        // Absent, and never null, when there is none.
        .filter(|field| *field != "correlation_id")
        .map(Json::from)
        .collect();
    let mut own = payload.as_object().cloned().unwrap_or_default();
    own.remove("$schema");
    if let Some(defs) = own.remove("$defs") {
        schema["$defs"] = defs;
    }
    match kind.payload {
        PayloadStyle::Nested => {
            schema["properties"]["payload"] = Json::Object(own);
            required.push("payload".into());
        }
        PayloadStyle::Flat => {
            own.remove("title");
            // The envelope's fields stand beside those that the type knows.
            own.remove("additionalProperties");
            if let Some(description) = own.remove("description") {
                schema["description"] = description;
            }
            own.remove("type");
            if let (Some(Json::Object(fields)), Some(all)) =
                (own.remove("properties"), schema["properties"].as_object_mut())
            {
                all.extend(fields);
            }
            if let Some(Json::Array(fields)) = own.remove("required") {
                required.extend(fields);
            }
            // Whatever else there is: flattened enums, references to a definition, rules over fields.
            if !own.is_empty() {
                schema["allOf"] = json!([own]);
            }
        }
    }
    schema["required"] = required.into();
    schema
}

fn envelope(kind: &EventKind) -> Json {
    let id = json!({ "type": "string", "format": "uuid" });
    let optional_id = json!({ "type": ["string", "null"], "format": "uuid" });
    let version = json!({ "type": "integer", "minimum": 1 });
    json!({
        "event_id": id,
        "event_type": { "const": kind.name },
        "event_version": { "const": kind.version.max(1) },
        "occurred_at": { "type": "string", "format": "date-time" },
        "aggregate_id": id,
        "aggregate_type": { "const": kind.aggregate },
        "aggregate_version": version,
        "tenant_id": optional_id,
        "actor_id": { "type": ["string", "null"] },
        "correlation_id": id,
        "causation_id": optional_id,
        "metadata": { "type": "object" },
    })
}

/// What schemars writes, too.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[cfg(test)]
mod tests {
    use super::*;

    const PLACED: EventKind = EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced").version(2);

    fn fields(schema: &Json) -> Vec<&str> {
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    }

    #[test]
    fn a_flat_body_has_the_fields_of_the_envelope_and_of_the_event() {
        let payload = json!({
            "$schema": DIALECT,
            "title": "OrderPlaced",
            "description": "An order was placed.",
            "type": "object",
            "properties": { "total": { "$ref": "#/$defs/Money" } },
            "required": ["total"],
            "additionalProperties": false,
            "$defs": { "Money": { "type": "number" } },
        });

        let body = body(&PLACED, &payload);

        let required = fields(&body);
        assert_eq!(required.len(), ENVELOPE_FIELDS.len());
        assert!(required.contains(&"total") && !required.contains(&"correlation_id"), "{required:?}");
        assert_eq!(body["properties"]["total"], json!({ "$ref": "#/$defs/Money" }));
        assert_eq!(body["properties"]["event_version"], json!({ "const": 2 }));
        assert_eq!(body["$defs"], json!({ "Money": { "type": "number" } }));
        assert_eq!(body["description"], "An order was placed.");
        for absent in ["additionalProperties", "allOf"] {
            assert_eq!(body.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_nested_body_has_the_event_under_payload_and_its_definitions_where_references_find_them() {
        let payload =
            json!({ "$schema": DIALECT, "$ref": "#/$defs/Lines", "$defs": { "Lines": { "type": "array" } } });

        let body = body(&PLACED.nested(), &payload);

        assert_eq!(body["properties"]["payload"], json!({ "$ref": "#/$defs/Lines" }));
        assert_eq!(body["$defs"]["Lines"], json!({ "type": "array" }));
        assert!(fields(&body).contains(&"payload"));
    }

    #[test]
    fn what_a_flattened_enum_asks_for_is_kept() {
        let body = body(&PLACED, &json!({ "type": "object", "oneOf": [{ "required": ["card"] }] }));

        assert_eq!(body["allOf"], json!([{ "oneOf": [{ "required": ["card"] }] }]));
    }

    #[test]
    fn a_variant_is_found_by_the_name_that_serde_writes() {
        let set = json!({
            "$schema": DIALECT,
            "oneOf": [
                { "type": "string", "enum": ["Opened", "Closed"] },
                {
                    "type": "object",
                    "properties": { "Renamed": { "type": "object", "properties": { "to": { "type": "string" } } } },
                    "required": ["Renamed"],
                },
            ],
            "$defs": { "Unused": true },
        });

        let renamed = of_variant(&set, "Renamed").unwrap();
        assert_eq!(renamed["properties"], json!({ "to": { "type": "string" } }));
        assert_eq!((&renamed["title"], &renamed["$defs"]), (&json!("Renamed"), &json!({ "Unused": true })));
        assert_eq!(of_variant(&set, "Closed").unwrap()["type"], "object");
        assert_eq!(of_variant(&set, "Moved"), None);
    }
}
