//! Writes an event's own fields into a map that is already open: beside the envelope's.
//!
//! [`Flat`] is the serializer that an event is given. What serializes as a JSON object goes through
//! it entry by entry, without a buffer; anything else, and a field with the name of one of the
//! envelope's, is a [`Fault`].

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{Error, Impossible, SerializeMap, SerializeStruct},
};

use super::{fields::envelope_field, keys};

/// Why an event's fields cannot stand beside the envelope's.
#[derive(Debug)]
pub(super) enum Fault {
    /// A field has the name of one of the envelope's.
    Reserved(&'static str),
    /// The event is no JSON object.
    NotAnObject(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved(field) => write!(f, "field {field:?} is a field of the envelope"),
            Self::NotAnObject(found) => write!(f, "{found} is not a JSON object"),
        }
    }
}

/// A serializer that writes entries into an open map.
pub(super) struct Flat<'a, M> {
    map: &'a mut M,
    fault: &'a mut Option<Fault>,
}

impl<'a, M: SerializeMap> Flat<'a, M> {
    /// Writes into `map`; what is wrong, when serde's error alone would not tell, stands in `fault`.
    pub(super) fn new(map: &'a mut M, fault: &'a mut Option<Fault>) -> Self {
        Self { map, fault }
    }

    fn check(&mut self, field: Option<&'static str>) -> Result<(), M::Error> {
        field.map_or(Ok(()), |field| Err(self.fail(Fault::Reserved(field))))
    }

    fn fail(&mut self, fault: Fault) -> M::Error {
        let error = M::Error::custom(&fault);
        *self.fault = Some(fault);
        error
    }

    fn refuse<T>(mut self, found: &'static str) -> Result<T, M::Error> {
        Err(self.fail(Fault::NotAnObject(found)))
    }
}

macro_rules! refuse {
    ($($method:ident($type:ty): $found:literal;)*) => {
        $(fn $method(self, _: $type) -> Result<(), M::Error> {
            self.refuse($found)
        })*
    };
}

impl<'a, M: SerializeMap> Serializer for Flat<'a, M> {
    type Ok = ();
    type Error = M::Error;
    type SerializeSeq = Impossible<(), M::Error>;
    type SerializeTuple = Impossible<(), M::Error>;
    type SerializeTupleStruct = Impossible<(), M::Error>;
    type SerializeTupleVariant = Impossible<(), M::Error>;
    type SerializeStructVariant = Impossible<(), M::Error>;
    type SerializeMap = Self;
    type SerializeStruct = Self;

    fn serialize_map(self, _: Option<usize>) -> Result<Self, M::Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, M::Error> {
        Ok(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), M::Error> {
        value.serialize(self)
    }

    /// An event without fields.
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), M::Error> {
        Ok(())
    }

    /// An event without fields.
    fn serialize_unit(self) -> Result<(), M::Error> {
        Ok(())
    }

    refuse! {
        serialize_bool(bool): "a boolean";
        serialize_i8(i8): "a number";
        serialize_i16(i16): "a number";
        serialize_i32(i32): "a number";
        serialize_i64(i64): "a number";
        serialize_i128(i128): "a number";
        serialize_u8(u8): "a number";
        serialize_u16(u16): "a number";
        serialize_u32(u32): "a number";
        serialize_u64(u64): "a number";
        serialize_u128(u128): "a number";
        serialize_f32(f32): "a number";
        serialize_f64(f64): "a number";
        serialize_char(char): "a string";
        serialize_str(&str): "a string";
        serialize_bytes(&[u8]): "an array";
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), M::Error> {
        self.refuse("a string")
    }

    fn serialize_none(self) -> Result<(), M::Error> {
        self.refuse("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), M::Error> {
        self.refuse("a string")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), M::Error> {
        self.refuse("an enum under the name of its variant")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, M::Error> {
        self.refuse("an array")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, M::Error> {
        self.refuse("an array")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, M::Error> {
        self.refuse("an array")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, M::Error> {
        self.refuse("an enum under the name of its variant")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, M::Error> {
        self.refuse("an enum under the name of its variant")
    }
}

impl<M: SerializeMap> SerializeStruct for Flat<'_, M> {
    type Ok = ();
    type Error = M::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.check(envelope_field(key))?;
        self.map.serialize_entry(key, value)
    }

    fn end(self) -> Result<(), M::Error> {
        Ok(())
    }
}

impl<M: SerializeMap> SerializeMap for Flat<'_, M> {
    type Ok = ();
    type Error = M::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), M::Error> {
        // The key is looked at and then written as it is, so that integer keys become text the way
        // JSON does it.
        self.check(keys::envelope_field_of(key))?;
        self.map.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), M::Error> {
        self.map.serialize_value(value)
    }

    fn end(self) -> Result<(), M::Error> {
        Ok(())
    }
}
