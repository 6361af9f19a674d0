//! The body of an event, whether it is a struct or a variant of an event set.
//!
//! serde writes a variant of an enum under the variant's name (`{"Placed": {"id": 1}}`). On the
//! wire an event is told by its type, and its body is the variant's own content (`{"id": 1}`), the
//! same bytes as a struct with those fields. [`Payload::write_variant`] and
//! [`Payload::read_variant`] put an adaptor between the enum's own serde implementation and the
//! wire's serializer, so that every serde attribute works as it does anywhere else.

use std::fmt;

use serde::{
    Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IgnoredAny, IntoDeserializer, VariantAccess,
        Visitor,
    },
    ser::{self, Impossible, SerializeMap as _},
};

use crate::event::EventKind;

/// What can be the body of a message: whatever serde writes and reads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the body of a message",
    label = "needs `Serialize` and `Deserialize`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to `{Self}`"
)]
pub trait Payload: Sized {
    /// Writes the value.
    ///
    /// # Errors
    ///
    /// Whatever the serializer or the value refuses.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// Whatever the deserializer or the type refuses.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// Writes the content of the variant that the value is, without the variant's name.
    ///
    /// # Errors
    ///
    /// Whatever the serializer or the value refuses, and a value that is no variant with content
    /// of its own (serde's `tag` and `untagged`).
    fn write_variant<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the content of the variant that stands at `index` in the enum.
    ///
    /// # Errors
    ///
    /// Whatever the deserializer or the type refuses.
    fn read_variant<'de, D: Deserializer<'de>>(index: u32, deserializer: D) -> Result<Self, D::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Payload for T {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer)
    }

    fn write_variant<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(WriteContent(serializer))
    }

    fn read_variant<'de, D: Deserializer<'de>>(index: u32, deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(ReadContent { index, content: deserializer })
    }
}

/// Where the event of this name stands among the kinds of a type.
#[must_use]
pub fn kind_index(kinds: &[EventKind], name: &str) -> Option<usize> {
    kinds.iter().position(|kind| kind.name == name)
}

/// The error for a name that no kind has.
pub fn unknown_event<E: de::Error>(kinds: &[EventKind], name: &str) -> E {
    let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    E::custom(format_args!("{name:?} is not one of the events {}", known.join(", ")))
}

/// Takes a variant and hands its content on.
struct WriteContent<S>(S);

fn not_a_variant<E: ser::Error>() -> E {
    E::custom("an event set has to serialize as an externally tagged enum, serde's default")
}

macro_rules! refuse {
    ($($method:ident($($type:ty),*);)+) => {$(
        fn $method(self, $(_: $type),*) -> Result<S::Ok, S::Error> {
            Err(not_a_variant())
        }
    )+};
}

impl<S: Serializer> Serializer for WriteContent<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Impossible<S::Ok, S::Error>;
    type SerializeStructVariant = Content<S::SerializeStruct>;

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<S::Ok, S::Error> {
        self.0.serialize_map(Some(0))?.end()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self.0)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.0.serialize_struct(variant, len).map(Content)
    }

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Err(not_a_variant())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, S::Error> {
        Err(not_a_variant())
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// The fields of a variant, written as those of a struct.
struct Content<S>(S);

impl<S: ser::SerializeStruct> ser::SerializeStructVariant for Content<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.0.serialize_field(key, value)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
        self.0.skip_field(key)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Presents content as the variant at an index.
///
/// serde's derive knows a variant by its place as well as by its name, and aliases and renames do
/// not move it.
struct ReadContent<D> {
    index: u32,
    content: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ReadContent<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(de::Error::custom(
            "an event set has to deserialize as an externally tagged enum, serde's default",
        ))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        self.content.is_human_readable()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for ReadContent<D> {
    type Error = D::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), D::Error> {
        let index = IntoDeserializer::<D::Error>::into_deserializer(self.index);
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for ReadContent<D> {
    type Error = D::Error;

    fn unit_variant(self) -> Result<(), D::Error> {
        // What else the body holds is nobody's, and has to be read past.
        self.content.deserialize_any(IgnoredAny).map(|IgnoredAny| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, D::Error> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.content.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.content.deserialize_struct("variant", fields, visitor)
    }
}

/// What can name an aggregate: anything that prints.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the id of an aggregate",
    label = "needs `Display`",
    note = "an aggregate id is a text: a `String`, a number, a `Uuid`, or a type of your own that implements `Display`"
)]
pub trait AggregateId {
    /// The id as text.
    fn aggregate_id(&self) -> std::borrow::Cow<'_, str>;
}

#[diagnostic::do_not_recommend]
impl<T: fmt::Display + 'static> AggregateId for T {
    fn aggregate_id(&self) -> std::borrow::Cow<'_, str> {
        match (self as &dyn std::any::Any).downcast_ref::<String>() {
            Some(text) => text.as_str().into(),
            None => self.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn written<T: Payload>(value: &T) -> Value {
        value.write_variant(serde_json::value::Serializer).expect("an externally tagged enum")
    }

    #[track_caller]
    fn there_and_back<T: Payload + PartialEq + fmt::Debug>(index: u32, value: &T, content: Value) {
        assert_eq!(written(value), content);
        assert_eq!(&T::read_variant(index, content).expect("what was written"), value);
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Plain {
        Placed { id: u64, note: Option<String> },
        Paid(BTreeMap<String, u64>),
        Forgotten,
    }

    #[test]
    fn a_variant_is_its_content() {
        there_and_back(0, &Plain::Placed { id: 1, note: None }, json!({"id": 1, "note": null}));
        there_and_back(1, &Plain::Paid(BTreeMap::from([("total".to_owned(), 3)])), json!({"total": 3}));
        there_and_back(2, &Plain::Forgotten, json!({}));
    }

    #[test]
    fn a_unit_variant_reads_past_fields_of_others() {
        assert_eq!(Plain::read_variant(2, json!({"added": {"later": 1}})).expect("read"), Plain::Forgotten);
    }

    #[test]
    fn the_text_is_that_of_a_struct_with_the_same_fields() {
        #[derive(Serialize)]
        struct Placed {
            id: u64,
            note: Option<String>,
        }

        let mut text = Vec::new();
        Plain::Placed { id: 1, note: None }
            .write_variant(&mut serde_json::Serializer::new(&mut text))
            .expect("written");

        assert_eq!(text, serde_json::to_vec(&Placed { id: 1, note: None }).expect("written"));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
    enum Renamed {
        #[serde(alias = "ordered", alias = "aa")]
        OrderPlaced {
            order_id: u64,
            #[serde(rename = "n")]
            note: String,
        },
        #[serde(rename = "x", rename_all = "UPPERCASE")]
        Paid { total: u64 },
    }

    #[test]
    fn renames_and_aliases_hold() {
        there_and_back(
            0,
            &Renamed::OrderPlaced { order_id: 1, note: "n".to_owned() },
            json!({"orderId": 1, "n": "n"}),
        );
        there_and_back(1, &Renamed::Paid { total: 3 }, json!({"TOTAL": 3}));
    }

    fn no_zero(n: &u64) -> bool {
        *n == 0
    }

    mod hex {
        use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

        #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
        pub(super) fn serialize<S: Serializer>(n: &u64, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&format!("{n:x}"))
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
            u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(D::Error::custom)
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Address {
        street: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Attributes {
        Defaulted {
            #[serde(default, skip_serializing_if = "no_zero")]
            total: u64,
            #[serde(skip)]
            cache: u64,
        },
        With {
            #[serde(with = "hex")]
            total: u64,
        },
        Flattened {
            id: u64,
            #[serde(flatten)]
            address: Address,
        },
        FlattenedRest {
            id: u64,
            #[serde(flatten)]
            rest: BTreeMap<String, Value>,
        },
    }

    #[test]
    fn field_attributes_hold() {
        there_and_back(0, &Attributes::Defaulted { total: 0, cache: 0 }, json!({}));
        there_and_back(0, &Attributes::Defaulted { total: 2, cache: 0 }, json!({"total": 2}));
        there_and_back(1, &Attributes::With { total: 255 }, json!({"total": "ff"}));
        there_and_back(
            2,
            &Attributes::Flattened { id: 1, address: Address { street: "Main".to_owned() } },
            json!({"id": 1, "street": "Main"}),
        );
        there_and_back(
            3,
            &Attributes::FlattenedRest { id: 1, rest: BTreeMap::from([("more".to_owned(), json!([1]))]) },
            json!({"id": 1, "more": [1]}),
        );
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    enum Strict {
        Placed { id: u64 },
    }

    #[test]
    fn unknown_fields_are_denied_when_the_type_says_so() {
        there_and_back(0, &Strict::Placed { id: 1 }, json!({"id": 1}));

        let error = Strict::read_variant(0, json!({"id": 1, "more": 2})).expect_err("an unknown field");

        assert!(error.to_string().contains("unknown field `more`"), "{error}");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Placed { id: u64 },
    }

    #[test]
    fn another_tagging_is_refused_with_the_reason() {
        let error = Tagged::Placed { id: 1 }.write_variant(serde_json::value::Serializer).expect_err("a tag");
        assert!(error.to_string().contains("externally tagged"), "{error}");

        let error = Tagged::read_variant(0, json!({"id": 1})).expect_err("a tag");
        assert!(error.to_string().contains("externally tagged"), "{error}");
    }

    #[test]
    fn the_id_of_an_aggregate_is_what_it_prints() {
        assert_eq!("7", 7_u64.aggregate_id());
        assert!(matches!("o-1".to_owned().aggregate_id(), std::borrow::Cow::Borrowed("o-1")));
    }
}
