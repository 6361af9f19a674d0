//! Arguments of a queue that es-bus gives no meaning to: `x-queue-mode`, a plugin's own.
//!
//! One text form serves attributes, the file and the environment: `x-queue-mode = "lazy", x-team = 7`.

use std::{fmt, str::FromStr};

use crate::message::{Headers, Value};

/// Raw arguments: names and texts, whole numbers or truth values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments(Vec<(String, Value)>);

/// Why a text is no list of arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidArguments {
    /// Not as arguments are written.
    #[error("{0:?} is no argument, write `x-queue-mode = \"lazy\"`, several parted by commas")]
    Form(String),
    /// An argument twice.
    #[error("{0} is said twice")]
    Twice(String),
    /// A setting has this name on the broker.
    #[error("{name} is not set by hand: {instead}")]
    Owned {
        /// The argument.
        name: String,
        /// What to write instead.
        instead: &'static str,
    },
}

/// The arguments that es-bus sets itself, and what sets them.
const OWNED: [(&str, &str); 13] = [
    ("x-queue-type", "`kind` sets it"),
    ("x-dead-letter-exchange", "`dlx` sets it"),
    ("x-dead-letter-routing-key", "`dlq_key` sets it"),
    ("x-dead-letter-strategy", "a quorum queue has it, unless `overflow` is \"drop-head\""),
    ("x-message-ttl", "`message_ttl` sets it"),
    ("x-expires", "`expires` sets it"),
    ("x-max-length", "`max_length` sets it"),
    ("x-max-length-bytes", "`max_length_bytes` sets it"),
    ("x-max-age", "`max_age` sets it"),
    ("x-overflow", "`overflow` sets it"),
    ("x-max-priority", "`max_priority` sets it"),
    ("x-single-active-consumer", "`single_active_consumer` sets it"),
    ("x-delivery-limit", "es-bus sets it so high that the broker never gives a message up by itself"),
];

impl Arguments {
    /// As the table of a declaration.
    #[must_use]
    pub fn to_headers(&self) -> Headers {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Arguments {
    type Err = InvalidArguments;

    fn from_str(text: &str) -> Result<Self, InvalidArguments> {
        let mut arguments: Vec<(String, Value)> = Vec::new();
        if text == "none" {
            return Ok(Self(arguments));
        }
        for part in parts(text) {
            let form = || InvalidArguments::Form(part.trim().to_owned());
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            let name = name.trim().trim_matches('"');
            if name.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(form());
            }
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name) {
                return Err(InvalidArguments::Owned { name: name.to_owned(), instead });
            }
            if arguments.iter().any(|(known, _)| known == name) {
                return Err(InvalidArguments::Twice(name.to_owned()));
            }
            arguments.push((name.to_owned(), value_of(value.trim()).ok_or_else(form)?));
        }
        Ok(Self(arguments))
    }
}

/// Parts a list at the commas that stand outside of quotes.
fn parts(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
}

/// What is written without quotes is a number or a truth value where it looks like one.
fn value_of(text: &str) -> Option<Value> {
    match text.strip_prefix('"') {
        Some(rest) => {
            let inner = rest.strip_suffix('"').filter(|inner| !inner.contains('"'))?;
            Some(Value::from(inner))
        }
        None if text.is_empty() || text.contains(['"', '=']) => None,
        None => Some(match (text.parse::<i64>(), text) {
            (Ok(number), _) => Value::I64(number),
            (_, "true") => Value::Bool(true),
            (_, "false") => Value::Bool(false),
            (_, text) => Value::from(text),
        }),
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match (value, value.as_int(), value.as_str()) {
                (Value::Bool(value), ..) => write!(f, "{name} = {value}")?,
                (Value::I64(number), ..) => write!(f, "{name} = {number}")?,
                (_, _, text) => write!(f, "{name} = \"{}\"", text.unwrap_or_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_texts_numbers_and_truth_values_and_prints_them_back() {
        let text = r#"x-queue-mode = "lazy", x-team = 7, x-on = true, x-digits = "7", x-list = "a, b""#;

        let arguments: Arguments = text.parse().unwrap();

        let table = arguments.to_headers();
        assert_eq!(table.get_str("x-queue-mode"), Some("lazy"));
        assert_eq!(table.get("x-team"), Some(&Value::I64(7)));
        assert_eq!(table.get("x-on"), Some(&Value::Bool(true)));
        assert_eq!(table.get("x-digits"), Some(&Value::from("7")));
        assert_eq!(table.get_str("x-list"), Some("a, b"));
        assert_eq!(arguments.to_string(), text);
        assert_eq!("x-queue-mode=lazy".parse(), "x-queue-mode = \"lazy\"".parse::<Arguments>());
        assert_eq!("none".parse(), Ok(Arguments::default()));
    }

    #[test]
    fn refuses_what_a_setting_says_and_names_it() {
        let error = "x-max-priority = 10".parse::<Arguments>().unwrap_err();

        assert_eq!(error.to_string(), "x-max-priority is not set by hand: `max_priority` sets it");
    }

    #[test]
    fn refuses_what_is_no_list_of_arguments() {
        for text in ["x", "x =", "= 1", "x = \"a", "x = a\"b", "x = 1,", "x = 1, x = 2", "ü = 1"] {
            assert!(text.parse::<Arguments>().is_err(), "{text}");
        }
    }
}
