//! The routing key that `key` says: a text, or one in which fields stand for words.

use proc_macro2::Span;
use quote::ToTokens as _;
use syn::{Fields, Ident, LitStr, Member, ext::IdentExt as _};

use super::model::Word;
use crate::{args::nearest, errors::Errors, pattern, rules};

/// What an attribute says for `key`.
#[derive(Clone)]
pub(crate) struct SaidKey {
    /// What the key looks like: `*` stands for a field.
    pub(crate) pattern: String,
    /// Its words, when fields are among them.
    words: Vec<SaidWord>,
    /// Where it stands.
    pub(crate) at: Span,
}

#[derive(Clone)]
enum SaidWord {
    Text(String),
    Field(String),
}

impl SaidKey {
    /// Reads a key, in which `{field}` takes a whole word.
    pub(crate) fn read(literal: &LitStr, errors: &mut Errors) -> Self {
        let (text, at) = (literal.value(), literal.span());
        if !text.contains(['{', '}']) {
            pattern::check_routing_key(literal, errors);
            return Self { pattern: text, words: Vec::new(), at };
        }
        let mut words = Vec::new();
        for word in text.split('.') {
            let inner = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
            match inner {
                Some(field) if !field.is_empty() && !field.contains(['{', '}', ':']) => {
                    words.push(SaidWord::Field(field.trim_start_matches("r#").to_owned()));
                }
                None if !word.contains(['{', '}']) => words.push(SaidWord::Text(word.to_owned())),
                Some(_) | None => {
                    errors.at(
                        at,
                        format!(
                            "in `{text}` a field has to be a whole word, and nothing but its name: \
                             `order.created.{{region}}`"
                        ),
                    );
                    return Self { pattern: text, words: Vec::new(), at };
                }
            }
        }
        let filled = |stand_in: &str| {
            let words = words.iter().map(|word| match word {
                SaidWord::Text(text) => text,
                SaidWord::Field(_) => stand_in,
            });
            words.collect::<Vec<_>>().join(".")
        };
        let example = filled("x");
        if let Some(fault) = rules::routing_key_fault("routing key", &example) {
            errors.at(at, fault.replacen(&example, &text, 1));
        }
        Self { pattern: filled("*"), words, at }
    }

    /// The aggregate, for one that says it by its first word.
    pub(crate) fn aggregate(&self, errors: &mut Errors) -> String {
        if let Some(SaidWord::Field(field)) = self.words.first() {
            errors.at(
                self.at,
                format!(
                    "missing `aggregate`: the first word of the key is the field `{field}`, which names none"
                ),
            );
        }
        self.pattern.split('.').next().unwrap_or_default().to_owned()
    }

    /// The words, each field found among those of the type; none for a key without fields.
    pub(crate) fn words(&self, ident: &Ident, fields: &Fields, errors: &mut Errors) -> Vec<Word> {
        let mut words = Vec::new();
        for word in &self.words {
            match word {
                SaidWord::Text(text) => words.push(Word::Text(text.clone())),
                SaidWord::Field(wanted) => {
                    words.extend(field(wanted, self.at, ident, fields, errors).map(Word::Field));
                }
            }
        }
        words
    }
}

/// The field of a name.
pub(crate) fn field(
    wanted: &str,
    at: Span,
    ident: &Ident,
    fields: &Fields,
    errors: &mut Errors,
) -> Option<Member> {
    let known: Vec<Member> = fields.members().collect();
    let name = |member: &Member| match member {
        Member::Named(ident) => ident.unraw().to_string(),
        Member::Unnamed(_) => member.to_token_stream().to_string(),
    };
    if let Some(member) = known.iter().find(|member| name(member) == wanted) {
        return Some(member.clone());
    }
    let names: Vec<String> = known.iter().map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = nearest(wanted, &names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    errors.at(at, format!("`{ident}` has no field `{wanted}`{near}"));
    None
}
