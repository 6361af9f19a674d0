//! Reads `#[event]` and the item under it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident};
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, ExprPath, Fields, Lit, LitStr, Member, Meta,
    ext::IdentExt as _, spanned::Spanned as _,
};

use super::{
    key::{SaidKey, field},
    model::{Content, Kind, Model, Shape, Unroutable, Variant},
    serde_attrs::SerdeAttrs,
};
use crate::{
    args::{Args, Constant},
    errors::Errors,
    exchange::{ExchangeName, take_exchange},
    pattern,
    private::{Private, is_type},
};

const STRUCT_KEYS: &[&str] = &[
    "aggregate",
    "name",
    "key",
    "version",
    "exchange",
    "aggregate_id",
    "headers",
    "priority",
    "ttl",
    "transient",
    "mandatory",
    "optional",
    "payload",
    "view",
    "bus",
    "crate",
];
const SET_KEYS: &[&str] = &[
    "aggregate",
    "version",
    "exchange",
    "aggregate_id",
    "headers",
    "priority",
    "ttl",
    "transient",
    "mandatory",
    "optional",
    "payload",
    "view",
    "bus",
    "crate",
];
const VARIANT_KEYS: &[&str] = &[
    "aggregate",
    "name",
    "key",
    "version",
    "exchange",
    "aggregate_id",
    "headers",
    "priority",
    "ttl",
    "transient",
    "mandatory",
    "optional",
    "payload",
];

/// The fields of the envelope, which stand beside the event's own in a flat body.
const RESERVED: &[&str] = &[
    "event_id",
    "event_type",
    "event_version",
    "occurred_at",
    "aggregate_id",
    "aggregate_type",
    "aggregate_version",
    "tenant_id",
    "actor_id",
    "correlation_id",
    "causation_id",
    "metadata",
];

/// Reads the attribute and the item; `None` when there is nothing to write beside the item.
pub(crate) fn parse(args: TokenStream, item: &TokenStream, errors: &mut Errors) -> Option<Model> {
    let mut input: DeriveInput = match syn::parse2(item.clone()) {
        Ok(input) => input,
        Err(_) => {
            not_a_type(item, errors);
            return None;
        }
    };
    let stripped = strip_event_attributes(&mut input, errors);
    let item = if stripped.any { input.to_token_stream() } else { item.clone() };

    let is_set = matches!(input.data, Data::Enum(_));
    let mut args = Args::parse("#[event]", if is_set { SET_KEYS } else { STRUCT_KEYS }, args, errors);
    let says_aggregate = args.is_meant("aggregate") || args.is_meant("key") || args.is_broken();
    let private = Private::new(args.path("crate", "my_es_bus", errors).as_ref());
    let bus = args.name("bus", "bus", "default", errors);
    let view = args.flag("view", errors);
    let said = Said::take(&mut args, errors);
    args.finish(if is_set { elsewhere_of_set } else { elsewhere }, errors);

    if !input.generics.params.is_empty() {
        errors.over(&input.generics, "an event cannot be generic: it has one routing key");
        return None;
    }
    let shape = match &input.data {
        Data::Struct(data) => {
            Some(Shape::Struct(parse_struct(&input, &data.fields, said, says_aggregate, errors)))
        }
        Data::Enum(data) if data.variants.is_empty() => {
            errors
                .at(input.ident.span(), "an event set needs at least one variant, each an event of its own");
            None
        }
        Data::Enum(data) => Some(parse_set(&input, data, said, stripped.of_variants, says_aggregate, errors)),
        Data::Union(data) => {
            errors.at(data.union_token.span, "an event is a struct, or an enum of events, never a union");
            return None;
        }
    };
    Some(Model {
        private,
        item,
        cfgs: input.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect(),
        ident: input.ident,
        bus: bus.map_or_else(|| "default".to_owned(), |bus| bus.value()),
        view,
        shape: if errors.is_empty() { shape } else { None },
    })
}

/// Says that the attribute stands on the wrong item; a type that cannot be read has its syntax
/// error from rustc already.
fn not_a_type(item: &TokenStream, errors: &mut Errors) {
    if !is_type(item) {
        errors
            .at(Span::call_site(), "`#[event]` belongs on a struct, or on an enum whose variants are events");
    }
}

struct Stripped {
    any: bool,
    /// Those of each variant, in order.
    of_variants: Vec<Vec<Attribute>>,
}

/// Takes every inner `#[event]` off the item: they are this macro's to read.
fn strip_event_attributes(input: &mut DeriveInput, errors: &mut Errors) -> Stripped {
    let mut stripped = Stripped { any: false, of_variants: Vec::new() };
    let mut fields_of = |fields: &mut Fields, any: &mut bool| {
        for field in fields {
            for attr in take_event_attributes(&mut field.attrs) {
                *any = true;
                errors.over(
                    attr,
                    "`#[event]` does not belong on a field; for the id of the aggregate write \
                     `aggregate_id = field` in the `#[event]` of the type or variant",
                );
            }
        }
    };
    match &mut input.data {
        Data::Struct(data) => fields_of(&mut data.fields, &mut stripped.any),
        Data::Enum(data) => {
            for variant in &mut data.variants {
                let attrs = take_event_attributes(&mut variant.attrs);
                stripped.any |= !attrs.is_empty();
                stripped.of_variants.push(attrs);
                fields_of(&mut variant.fields, &mut stripped.any);
            }
        }
        Data::Union(_) => {}
    }
    stripped
}

fn take_event_attributes(attrs: &mut Vec<Attribute>) -> Vec<Attribute> {
    let is_event =
        |attr: &Attribute| attr.path().segments.last().is_some_and(|segment| segment.ident == "event");
    let taken = attrs.iter().filter(|attr| is_event(attr)).cloned().collect();
    attrs.retain(|attr| !is_event(attr));
    taken
}

/// What an attribute says of an event, each as it was written.
#[derive(Default)]
struct Said {
    aggregate: Option<LitStr>,
    name: Option<LitStr>,
    key: Option<SaidKey>,
    version: Option<u64>,
    exchange: Option<ExchangeName>,
    aggregate_id: Option<(Member, Span)>,
    headers: Vec<(String, Constant)>,
    priority: Option<u64>,
    ttl_ms: Option<u64>,
    transient: bool,
    unroutable: Option<Unroutable>,
    nested: Option<bool>,
    /// The first key that only an event declared here can have.
    own: Option<(&'static str, Span)>,
}

impl Said {
    fn take(args: &mut Args, errors: &mut Errors) -> Self {
        let own = VARIANT_KEYS
            .iter()
            .filter(|key| **key != "aggregate")
            .find_map(|key| args.key_span(key).map(|span| (*key, span)));
        let aggregate = args.text("aggregate", "Order", errors);
        if let Some(aggregate) = &aggregate {
            pattern::check_aggregate(aggregate, errors);
        }
        let name = args.text("name", "OrderPlaced", errors);
        if let Some(name) = &name {
            pattern::check_event_name(name, errors);
        }
        let key = args.text("key", "orders.placed", errors);
        let key = key.map(|key| SaidKey::read(&key, errors));
        let exchange = take_exchange(args, "exchange", "#[event]", errors);
        let headers = args.constants("headers", "region = \"eu\", \"x-team\" = \"orders\"", errors);
        for (header, value) in &headers {
            if is_ours(header) {
                errors.over(
                    value,
                    format!("header `{header}` is written by es-bus itself; choose another name"),
                );
            }
        }
        let mandatory_at = args.key_span("mandatory");
        let unroutable = match (args.flag("mandatory", errors), args.flag("optional", errors)) {
            (true, true) => {
                errors.at(
                    mandatory_at.unwrap_or_else(Span::call_site),
                    "`mandatory` and `optional` exclude each other: reaching no queue is an error, or it is not",
                );
                None
            }
            (true, false) => Some(Unroutable::Mandatory),
            (false, true) => Some(Unroutable::Optional),
            (false, false) => None,
        };
        Self {
            aggregate,
            name,
            key,
            version: args.number("version", 1, u64::from(u32::MAX), "", errors),
            exchange,
            aggregate_id: take_field(args, errors),
            headers,
            priority: args.number("priority", 0, 255, "", errors),
            ttl_ms: args.duration("ttl", "1ms", "49d", "", errors).map(|(_, ms)| ms),
            transient: args.flag("transient", errors),
            unroutable,
            nested: args
                .word("payload", &["nested", "flat"], &[], errors)
                .map(|word| word.value() == "nested"),
            own,
        }
    }

    /// What a variant says, and for the rest what its set says.
    fn or(self, set: &Self) -> Self {
        Self {
            aggregate: self.aggregate.or_else(|| set.aggregate.clone()),
            name: self.name,
            key: self.key,
            version: self.version.or(set.version),
            exchange: self.exchange.or_else(|| set.exchange.clone()),
            aggregate_id: self.aggregate_id.or_else(|| set.aggregate_id.clone()),
            headers: {
                let mut headers = self.headers;
                for (name, value) in &set.headers {
                    if !headers.iter().any(|(own, _)| own == name) {
                        headers.push((name.clone(), value.clone()));
                    }
                }
                headers
            },
            priority: self.priority.or(set.priority),
            ttl_ms: self.ttl_ms.or(set.ttl_ms),
            transient: self.transient || set.transient,
            unroutable: self.unroutable.or(set.unroutable),
            nested: self.nested.or(set.nested),
            own: self.own,
        }
    }

    /// The event that this says.
    fn kind(self, ident: &Ident, fields: &Fields, missing: Option<&str>, errors: &mut Errors) -> Kind {
        let name = self.name.as_ref().map_or_else(|| ident.unraw().to_string(), LitStr::value);
        let aggregate = match (&self.aggregate, &self.key) {
            (Some(aggregate), _) => aggregate.value(),
            // The seeds' keys begin with the aggregate, so that a whole key says it as well.
            (None, Some(key)) => key.aggregate(errors),
            (None, None) => {
                if let Some(missing) = missing {
                    errors.at(Span::call_site(), missing);
                }
                String::new()
            }
        };
        let key = self.key.as_ref().map_or_else(|| format!("{aggregate}.{name}"), |key| key.pattern.clone());
        let words = self.key.as_ref().map(|key| key.words(ident, fields, errors)).unwrap_or_default();
        if key.len() > 255 && self.key.is_none() {
            errors.at(
                ident.span(),
                format!("routing key `{key}` has {} bytes; AMQP carries at most 255", key.len()),
            );
        } else if self.key.is_none() && self.name.is_none() {
            pattern::check_event_type(ident, errors);
        }
        let aggregate_id = self.aggregate_id.and_then(|(member, span)| {
            let wanted = match &member {
                Member::Named(ident) => ident.unraw().to_string(),
                Member::Unnamed(_) => member.to_token_stream().to_string(),
            };
            // As it was written, so that an error about its type stands there.
            field(&wanted, span, ident, fields, errors).map(|_| member)
        });
        Kind {
            name,
            aggregate,
            key,
            words,
            key_at: self.key.as_ref().map(|key| key.at),
            version: self.version.and_then(|version| u32::try_from(version).ok()).unwrap_or(1),
            exchange: self.exchange,
            headers: self.headers,
            priority: self.priority.and_then(|priority| u8::try_from(priority).ok()),
            ttl_ms: self.ttl_ms,
            transient: self.transient,
            unroutable: self.unroutable,
            nested: self.nested.unwrap_or(false),
            aggregate_id,
        }
    }
}

/// Whether es-bus writes a header of that name itself.
fn is_ours(header: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "es-delay",
        "x-es-",
        "x-dlq-",
        "x-death",
        "x-retry-",
        "x-delivery-",
        "x-first-death-",
        "x-last-death-",
    ];
    const NAMES: &[&str] = &["x-last-retry-at", "x-original-routing-key", "x-replayed-from-dlq", "CC", "BCC"];
    RESERVED.contains(&header)
        || NAMES.contains(&header)
        || PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

fn take_field(args: &mut Args, errors: &mut Errors) -> Option<(Member, Span)> {
    let takes = "the name of a field: `aggregate_id = order_id`";
    match args.expr("aggregate_id", takes, errors)? {
        Expr::Path(ExprPath { path, .. }) if path.get_ident().is_some() => {
            let field = path.get_ident()?.clone();
            let span = field.span();
            Some((Member::Named(field), span))
        }
        Expr::Lit(ExprLit { lit: Lit::Int(index), .. }) => {
            let span = index.span();
            Some((Member::Unnamed(syn::Index { index: index.base10_parse().ok()?, span }), span))
        }
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            errors.at(
                text.span(),
                format!("`aggregate_id` takes {takes}, without quotes: `aggregate_id = {}`", text.value())
                    .replace(": `aggregate_id = order_id`", ""),
            );
            None
        }
        other => {
            errors.over(other, format!("`aggregate_id` takes {takes}"));
            None
        }
    }
}

/// Explains keys that have their place elsewhere.
fn elsewhere(key: &str) -> Option<String> {
    match key {
        "group" | "bind" | "retries" | "backoff" | "timeout" | "slow_handler" | "partial" | "foreign"
        | "formerly" => {
            Some(format!("`{key}` belongs on a `#[handler]`: an event does not know who handles it"))
        }
        "compat" | "schema" | "kind" => Some(format!("`{key}` comes in a later version of es-bus")),
        "emit" | "emits" => Some(format!(
            "unknown key `{key}`: a handler says by its result what it publishes, `Emit<T>` or `Result<Emit<T>, E>`"
        )),
        "routing_key" => Some("unknown key `routing_key`, did you mean `key`?".to_owned()),
        _ => None,
    }
}

fn elsewhere_of_set(key: &str) -> Option<String> {
    match key {
        "key" | "name" => Some(format!("`{key}` belongs on a variant: each event of a set has its own")),
        other => elsewhere(other),
    }
}

fn elsewhere_of_variant(key: &str) -> Option<String> {
    match key {
        "view" | "bus" | "crate" => Some(format!("`{key}` belongs on the enum: it holds for the whole set")),
        other => elsewhere(other),
    }
}

fn parse_struct(
    input: &DeriveInput,
    fields: &Fields,
    said: Said,
    says_aggregate: bool,
    errors: &mut Errors,
) -> Kind {
    let missing = "missing `aggregate` (or `key`): `#[event(aggregate = \"Order\")]`";
    let kind = said.kind(&input.ident, fields, (!says_aggregate).then_some(missing), errors);
    if !kind.nested {
        let serde = SerdeAttrs::read(&input.attrs);
        if serde.find(&["transparent", "into", "remote"]).is_none() {
            check_object(&input.ident, fields, errors);
            check_reserved(fields, serde.field_rules(), errors);
            if let Some(tag) = &serde.tag
                && RESERVED.contains(&tag.value().as_str())
            {
                errors.at(tag.span(), reserved_message(&tag.value(), &tag.value()));
            }
        }
    }
    kind
}

fn check_object(ident: &Ident, fields: &Fields, errors: &mut Errors) {
    // What a newtype holds is unknown here; the first publish tells.
    if let Fields::Unnamed(fields) = fields
        && fields.unnamed.len() != 1
    {
        errors.at(
            fields.paren_token.span.join(),
            format!(
                "`{ident}` is no JSON object: serde writes a tuple struct as an array; name its fields, or write \
                 `payload = \"nested\"`"
            ),
        );
    }
}

fn check_reserved(fields: &Fields, rules: &[LitStr], errors: &mut Errors) {
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let serde = SerdeAttrs::read(&field.attrs);
        if serde.has("skip")
            || serde.has("flatten")
            || (serde.has("skip_serializing") && serde.has("skip_deserializing"))
        {
            continue;
        }
        let own = ident.unraw().to_string();
        for (name, renamed_at) in serde.names_of(&own, rules) {
            if RESERVED.contains(&name.as_str()) {
                errors.at(renamed_at.unwrap_or_else(|| ident.span()), reserved_message(&own, &name));
                break;
            }
        }
    }
}

fn reserved_message(own: &str, name: &str) -> String {
    let called = if own == name { String::new() } else { format!(", which serde calls `{name}`,") };
    format!(
        "field `{own}`{called} has the name of a field of the envelope, which stands beside it on the wire: rename \
         it, or write `payload = \"nested\"`"
    )
}

fn parse_set(
    input: &DeriveInput,
    data: &syn::DataEnum,
    said: Said,
    attrs: Vec<Vec<Attribute>>,
    says_aggregate: bool,
    errors: &mut Errors,
) -> Shape {
    let serde = SerdeAttrs::read(&input.attrs);
    let mut variants: Vec<Variant> = Vec::new();
    let mut index = 0;
    for (variant, attrs) in data.variants.iter().zip(attrs) {
        if let Some(cfg) = variant.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
            errors.over(cfg, "a variant of an event set cannot depend on `#[cfg]`: put it on the whole enum, or make two sets");
        }
        let of_serde = SerdeAttrs::read(&variant.attrs);
        if let Some(content) =
            parse_variant(variant, &attrs, &of_serde, &said, &serde, index, says_aggregate, errors)
        {
            let place = match &content {
                Content::Wraps(ty) => ty.span(),
                Content::Inline { .. } => variant.ident.span(),
            };
            let at = text_span(&attrs, "key").unwrap_or(place);
            if let Content::Inline { kind, .. } = &content {
                let name_at = text_span(&attrs, "name").unwrap_or(place);
                check_unique(&input.ident, &variants, kind, (at, name_at), errors);
            }
            variants.push(Variant { ident: variant.ident.clone(), at, content });
        }
        if !of_serde.has("skip") && !of_serde.has("skip_deserializing") {
            index += 1;
        }
    }
    let inline = variants.iter().any(|variant| matches!(variant.content, Content::Inline { .. }));
    if inline
        && let Some((word, span)) = serde.find(&["tag", "content", "untagged", "into", "from", "try_from"])
    {
        errors.at(
            span,
            format!(
                "serde's `{word}` has no place on an event set: on the wire a variant is told by the message's type, \
                 and its body is the variant's own content"
            ),
        );
    }
    if !inline
        && !variants.is_empty()
        && let Some((key, span)) = said.own
    {
        errors.at(span, format!("every variant wraps an event that says this itself: drop `{key}`"));
    }
    Shape::Set { aggregate: said.aggregate, variants }
}

#[expect(clippy::too_many_arguments, reason = "the set's side and the variant's side of each thing")]
fn parse_variant(
    variant: &syn::Variant,
    attrs: &[Attribute],
    of_serde: &SerdeAttrs,
    set: &Said,
    set_serde: &SerdeAttrs,
    index: u32,
    says_aggregate: bool,
    errors: &mut Errors,
) -> Option<Content> {
    if let Fields::Unnamed(fields) = &variant.fields {
        if fields.unnamed.len() != 1 {
            errors.at(
                fields.paren_token.span.join(),
                format!(
                    "variant `{}` has to hold one `#[event]` type, or named fields of its own, or nothing",
                    variant.ident
                ),
            );
            return None;
        }
        for attr in attrs {
            errors.over(
                attr,
                format!(
                    "`{}` wraps an event that says this itself: write it on that type, or name the field to declare \
                     the event here",
                    variant.ident
                ),
            );
        }
        return Some(Content::Wraps(Box::new(fields.unnamed[0].ty.clone())));
    }
    let mut tokens = TokenStream::new();
    for (i, attr) in attrs.iter().enumerate() {
        match &attr.meta {
            _ if i > 0 => errors.over(attr, "`#[event]` is given twice: put all keys into one"),
            Meta::List(list) => tokens = list.tokens.clone(),
            Meta::Path(_) => {}
            Meta::NameValue(pair) => errors.over(pair, "write `#[event(key = value)]`"),
        }
    }
    let mut args = Args::parse("#[event]", VARIANT_KEYS, tokens, errors);
    let says_aggregate =
        says_aggregate || args.is_meant("aggregate") || args.is_meant("key") || args.is_broken();
    let said = Said::take(&mut args, errors).or(set);
    args.finish(elsewhere_of_variant, errors);

    let name = format_ident!("{}", variant.ident, span = variant.ident.span());
    if said.aggregate.is_none() && said.key.is_none() && !says_aggregate {
        errors.at(
            name.span(),
            format!("`{name}` is missing an aggregate: `#[event(aggregate = \"Order\")]` on the enum, or on the variant"),
        );
    }
    if let Some((word, span)) =
        of_serde.find(&["skip", "skip_serializing", "skip_deserializing", "other", "untagged"])
    {
        errors.at(span, format!("serde's `{word}` has no place on an event: it has to be written and read"));
    }
    let kind = said.kind(&variant.ident, &variant.fields, None, errors);
    if !kind.nested {
        let rules = match of_serde.field_rules() {
            [] => set_serde.variant_field_rules(),
            own => own,
        };
        check_reserved(&variant.fields, rules, errors);
    }
    Some(Content::Inline { kind: Box::new(kind), index })
}

/// Where the attribute of a variant says a key.
fn text_span(attrs: &[Attribute], key: &str) -> Option<Span> {
    let Meta::List(list) = &attrs.first()?.meta else { return None };
    let mut ignored = Errors::default();
    let mut args = Args::parse("#[event]", VARIANT_KEYS, list.tokens.clone(), &mut ignored);
    args.text(key, "", &mut ignored).map(|text| text.span())
}

fn check_unique(
    set: &Ident,
    before: &[Variant],
    kind: &Kind,
    (key_at, name_at): (Span, Span),
    errors: &mut Errors,
) {
    for other in before {
        let Content::Inline { kind: other, .. } = &other.content else { continue };
        if other.key == kind.key {
            errors.at(
                key_at,
                format!("routing key `{}` is already used by another variant of `{set}`", kind.key),
            );
            return;
        }
        if other.name == kind.name {
            errors.at(
                name_at,
                format!("event name `{}` is already used by another variant of `{set}`", kind.name),
            );
            return;
        }
    }
}
