//! A message as AMQP 0-9-1 knows it: properties, headers, body.
//!
//! Both brokers take and give these types, so that nothing above them names a client library.
//! Header values keep the type they had on the wire: a copy that a retry publishes is the same to
//! the last byte.

use std::borrow::Cow;

use bytes::Bytes;

/// A text that is usually known at compile time.
pub type Text = Cow<'static, str>;

/// One message: what is published and what is delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The properties that AMQP defines.
    pub properties: Properties,
    /// The headers table.
    pub headers: Headers,
    /// The body, uninterpreted.
    pub body: Bytes,
}

/// The properties of a message, as section 4.2.6.1 of the AMQP 0-9-1 specification lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<Text>,
    /// MIME encoding of the body.
    pub content_encoding: Option<Text>,
    /// Whether the broker keeps the message on disk (delivery mode 2).
    pub persistent: bool,
    /// Priority, for queues that declare one.
    pub priority: Option<u8>,
    /// Correlates a reply with its request, or an event with the process it belongs to.
    pub correlation_id: Option<Text>,
    /// Where a reply goes.
    pub reply_to: Option<Text>,
    /// Message TTL in milliseconds, as the decimal text that AMQP asks for.
    pub expiration: Option<Text>,
    /// The id of the message.
    pub message_id: Option<Text>,
    /// When the message was made, in seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// The type of the message (`type` in AMQP).
    pub kind: Option<Text>,
    /// The user that published; RabbitMQ refuses one that is not the login.
    pub user_id: Option<Text>,
    /// The application that published.
    pub app_id: Option<Text>,
}

/// What a consumer is handed, before anybody has interpreted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The exchange that it was published to; empty for the default exchange.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Whether the broker has handed it out before.
    pub redelivered: bool,
}

/// The headers of a message, or the arguments of a declaration: a table of named values.
// In alphabetical order of the names, each once. A message has some eight of them: what is written in
// order is one allocation, and looking one up touches no second line of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(Vec<(Text, Value)>);

/// Up to so many names, looking at each beats halving: most differ in length already.
const FEW: usize = 16;

impl Headers {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty table, with room for so many values.
    #[must_use]
    pub fn with_capacity(values: usize) -> Self {
        Self(Vec::with_capacity(values))
    }

    /// The value under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = if self.0.len() <= FEW {
            self.0.iter().position(|(there, _)| **there == *name)?
        } else {
            self.place(name).ok()?
        };
        Some(&self.0[at].1)
    }

    /// The value under a name, when it is a text.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// The value under a name, when it is an integer of any width, or digits in a text.
    #[must_use]
    pub fn get_int(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::as_int)
    }

    /// Puts a value under a name, and gives back what was there.
    pub fn insert(&mut self, name: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        // What comes in order, as most does, is not looked for.
        if self.0.last().is_none_or(|(last, _)| *last < name) {
            self.0.push((name, value));
            return None;
        }
        match self.place(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes the value under a name out of the table.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.place(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Where a name is, or where it belongs.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(there, _)| (**there).cmp(name))
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names and values, in alphabetical order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Keeps the values for which the predicate holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// How many bytes the table takes on the wire, its own length field included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        4 + self.0.iter().map(|(name, value)| 1 + name.len() + value.wire_len()).sum::<usize>()
    }
}

impl<N: Into<Text>, V: Into<Value>> FromIterator<(N, V)> for Headers {
    /// Of two values under one name the last counts.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        let mut values: Vec<(Text, Value)> =
            values.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if !values.is_sorted_by(|(a, _), (b, _)| a < b) {
            values.sort_by(|(a, _), (b, _)| a.cmp(b));
            values.dedup_by(|later, kept| {
                let is_same = later.0 == kept.0;
                if is_same {
                    std::mem::swap(&mut later.1, &mut kept.1);
                }
                is_same
            });
        }
        Self(values)
    }
}

impl IntoIterator for Headers {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A value in a table, by the types that RabbitMQ writes and reads.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `t`: true or false.
    Bool(bool),
    /// `b`: 8 bits, signed.
    I8(i8),
    /// `B`: 8 bits, unsigned.
    U8(u8),
    /// `s`: 16 bits, signed.
    I16(i16),
    /// `u`: 16 bits, unsigned.
    U16(u16),
    /// `I`: 32 bits, signed.
    I32(i32),
    /// `i`: 32 bits, unsigned.
    U32(u32),
    /// `l`: 64 bits, signed.
    I64(i64),
    /// `f`: single precision.
    F32(f32),
    /// `d`: double precision.
    F64(f64),
    /// `D`: a decimal number, as its scale and its unscaled value.
    Decimal(u8, u32),
    /// `S`: a long string; usually UTF-8, but the protocol does not promise it.
    Str(Bytes),
    /// `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// `A`: values in order.
    Array(Vec<Value>),
    /// `F`: a table in the table.
    Table(Headers),
    /// `x`: bytes.
    Bytes(Bytes),
    /// `V`: no value.
    Void,
}

impl Value {
    /// An integer in the smallest type that holds it, as Python's clients choose it.
    #[must_use]
    pub fn int(n: i64) -> Self {
        if let Ok(n) = i8::try_from(n) {
            Self::I8(n)
        } else if let Ok(n) = i16::try_from(n) {
            Self::I16(n)
        } else if let Ok(n) = u16::try_from(n) {
            Self::U16(n)
        } else if let Ok(n) = i32::try_from(n) {
            Self::I32(n)
        } else if let Ok(n) = u32::try_from(n) {
            Self::U32(n)
        } else {
            Self::I64(n)
        }
    }

    /// The text, when the value is a string of UTF-8 (or bytes that are).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(bytes) | Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The integer, from any integer type or from digits in a text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::I8(n) => Some(i64::from(*n)),
            Self::U8(n) => Some(i64::from(*n)),
            Self::I16(n) => Some(i64::from(*n)),
            Self::U16(n) => Some(i64::from(*n)),
            Self::I32(n) => Some(i64::from(*n)),
            Self::U32(n) => Some(i64::from(*n)),
            Self::I64(n) => Some(*n),
            Self::Timestamp(n) => i64::try_from(*n).ok(),
            Self::Str(_) | Self::Bytes(_) => self.as_str()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whether it is an integer on the wire; a text of digits is not.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::I8(_)
                | Self::U8(_)
                | Self::I16(_)
                | Self::U16(_)
                | Self::I32(_)
                | Self::U32(_)
                | Self::I64(_)
        )
    }

    /// The table, when the value is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Headers> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The array, when the value is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// How many bytes the value takes on the wire, its type octet included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        1 + match self {
            Self::Void => 0,
            Self::Bool(_) | Self::I8(_) | Self::U8(_) => 1,
            Self::I16(_) | Self::U16(_) => 2,
            Self::I32(_) | Self::U32(_) | Self::F32(_) => 4,
            Self::Decimal(..) => 5,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) => 8,
            Self::Str(bytes) | Self::Bytes(bytes) => 4 + bytes.len(),
            Self::Array(values) => 4 + values.iter().map(Self::wire_len).sum::<usize>(),
            Self::Table(table) => table.wire_len(),
        }
    }
}

/// A header's value that an attribute says: what a `const` can hold of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StaticValue {
    /// A text.
    Str(&'static str),
    /// An integer.
    Int(i64),
    /// True or false.
    Bool(bool),
}

impl StaticValue {
    /// Whether the two are the same, where `==` cannot be asked yet: at compile time.
    pub(crate) const fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => crate::topic::is_same(a, b),
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(_) | Self::Int(_) | Self::Bool(_), _) => false,
        }
    }
}

/// As it is written in an attribute: a text in quotes, the others bare.
impl std::fmt::Display for StaticValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Int(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
        }
    }
}

impl From<StaticValue> for Value {
    fn from(value: StaticValue) -> Self {
        match value {
            StaticValue::Str(text) => Self::Str(Bytes::from_static(text.as_bytes())),
            StaticValue::Int(number) => Self::int(number),
            StaticValue::Bool(flag) => Self::Bool(flag),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value.into())
    }
}

impl From<Headers> for Value {
    fn from(value: Headers) -> Self {
        Self::Table(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::Array(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_in_alphabetical_order_and_has_each_name_once() {
        for count in [3, FEW + 1, 100] {
            let names = (0..count).map(|number| format!("n{:03}", number * 7 % count));
            let mut inserted = Headers::new();
            for name in names.clone() {
                assert_eq!(inserted.insert(name, 1_i64), None);
            }

            let collected: Headers =
                names.clone().map(|name| (name, 0_i64)).chain(names.map(|name| (name, 1))).collect();

            assert_eq!(collected, inserted);
            assert!(inserted.iter().map(|(name, _)| name).is_sorted());
            assert_eq!(inserted.insert("n001", 2_i64), Some(Value::I8(1)));
            assert_eq!(inserted.get_int("n001"), Some(2));
            assert_eq!(inserted.get("n"), None);
            assert_eq!(inserted.remove("n001"), Some(Value::I8(2)));
            assert_eq!((inserted.remove("n001"), inserted.len()), (None, count - 1));
        }
    }

    #[test]
    fn an_integer_takes_the_smallest_type_that_holds_it() {
        for (n, value) in [
            (0, Value::I8(0)),
            (127, Value::I8(127)),
            (-128, Value::I8(-128)),
            (128, Value::I16(128)),
            (32_767, Value::I16(32_767)),
            (32_768, Value::U16(32_768)),
            (65_536, Value::I32(65_536)),
            (2_147_483_648, Value::U32(2_147_483_648)),
            (4_294_967_296, Value::I64(4_294_967_296)),
        ] {
            assert_eq!(Value::int(n), value);
            assert_eq!(value.as_int(), Some(n));
        }
    }

    #[test]
    fn reads_an_integer_out_of_a_text_and_nothing_out_of_nonsense() {
        assert_eq!(Value::from("17").as_int(), Some(17));
        assert_eq!(Value::from("many").as_int(), None);
        assert_eq!(Value::Str(Bytes::from_static(b"\xff")).as_int(), None);
        assert_eq!(Value::F64(1.5).as_int(), None);
    }
}
