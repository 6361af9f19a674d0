//! Reads an event's own fields out of a map that holds the envelope's as well.
//!
//! [`Filter`] stands between the JSON and the event's `Deserialize`: what belongs to the envelope is
//! kept in [`Fields`] as it comes by, the rest is handed on. So a body is read once, whatever the
//! order of its fields, and `deny_unknown_fields` sees only the event's own.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
    forward_to_deserialize_any,
};

use super::{
    fields::Fields,
    keys::{Key, KeySeed},
};

/// The entries of a map that are not the envelope's.
pub(super) struct Filter<'a, 'de, A> {
    map: A,
    body: &'de [u8],
    fields: &'a mut Fields,
    key: Option<Cow<'de, str>>,
    failed: &'a mut Option<String>,
}

impl<'a, 'de, A: MapAccess<'de>> Filter<'a, 'de, A> {
    /// Reads `map`, which stands in `body`; what belongs to the envelope goes to `fields`, and the name of a field whose
    /// value could not be read to `failed`.
    pub(super) fn new(
        map: A,
        body: &'de [u8],
        fields: &'a mut Fields,
        failed: &'a mut Option<String>,
    ) -> Self {
        Self { map, body, fields, key: None, failed }
    }

    /// The next key that is not the envelope's.
    pub(super) fn next_own(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        while let Some(key) = self.map.next_key_seed(KeySeed)? {
            match self.fields.read(&key, &mut self.map, self.body) {
                Ok(true) => {}
                Ok(false) => {
                    self.key = Some(key.clone());
                    return Ok(Some(key));
                }
                Err(error) => {
                    *self.failed = Some(key.into_owned());
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Reads whatever the event left, for the envelope's fields among it.
    pub(super) fn drain(&mut self) -> Result<(), A::Error> {
        while self.next_own()?.is_some() {
            self.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Filter<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.next_own()? {
            Some(key) => seed.deserialize(Key::new(&key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed).inspect_err(|_| {
            *self.failed = self.key.take().map(Cow::into_owned);
        })
    }
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for &mut Filter<'_, 'de, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// An event without fields; what a newer publisher added is drained with the rest.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_enum(MapAccessDeserializer::new(self))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple
        tuple_struct map struct identifier
    }
}
