//! What serde's attributes say about names and shape, as far as `#[event]` has to know.
//!
//! Whatever cannot be read is left to serde, which has its own errors for it.

use proc_macro2::Span;
use syn::{Attribute, LitStr, Token, ext::IdentExt as _, meta::ParseNestedMeta};

/// The attributes of one container, variant or field.
#[derive(Default)]
pub(crate) struct SerdeAttrs {
    words: Vec<(String, Span)>,
    rename: Vec<LitStr>,
    rename_all: Vec<LitStr>,
    rename_all_fields: Vec<LitStr>,
    /// The field that `tag` adds.
    pub(crate) tag: Option<LitStr>,
}

impl SerdeAttrs {
    /// Reads `#[serde(..)]`.
    pub(crate) fn read(attrs: &[Attribute]) -> Self {
        let mut read = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
            // What serde does not like, serde reports.
            let _ = attr.parse_nested_meta(|meta| read.read_one(&meta));
        }
        read
    }

    fn read_one(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let Some(word) = meta.path.get_ident().map(|ident| ident.unraw().to_string()) else {
            return skip_value(meta);
        };
        self.words.push((word.clone(), meta.path.segments[0].ident.span()));
        let target = match word.as_str() {
            "rename" => &mut self.rename,
            "rename_all" => &mut self.rename_all,
            "rename_all_fields" => &mut self.rename_all_fields,
            "tag" => {
                self.tag = Some(meta.value()?.parse()?);
                return Ok(());
            }
            _ => return skip_value(meta),
        };
        if meta.input.peek(Token![=]) {
            target.push(meta.value()?.parse()?);
            return Ok(());
        }
        // `rename(serialize = "a", deserialize = "b")`
        meta.parse_nested_meta(|side| {
            target.push(side.value()?.parse()?);
            Ok(())
        })
    }

    /// Where one of these words stands.
    pub(crate) fn find(&self, words: &[&str]) -> Option<(&str, Span)> {
        let (word, span) = self.words.iter().find(|(word, _)| words.contains(&word.as_str()))?;
        Some((word, *span))
    }

    /// Whether the word stands there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.find(&[word]).is_some()
    }

    /// The names that serde gives to a field, with the place of the text when it is renamed.
    pub(crate) fn names_of(&self, field: &str, rules: &[LitStr]) -> Vec<(String, Option<Span>)> {
        if !self.rename.is_empty() {
            return self.rename.iter().map(|name| (name.value(), Some(name.span()))).collect();
        }
        if rules.is_empty() {
            return vec![(field.to_owned(), None)];
        }
        rules.iter().map(|rule| (apply(&rule.value(), field), None)).collect()
    }

    /// The rule for the fields of a struct, or of the variant that carries it.
    pub(crate) fn field_rules(&self) -> &[LitStr] {
        &self.rename_all
    }

    /// The rule that an enum gives to the fields of all its variants.
    pub(crate) fn variant_field_rules(&self) -> &[LitStr] {
        &self.rename_all_fields
    }
}

fn skip_value(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<syn::Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| skip_value(&inner))?;
    }
    Ok(())
}

/// A field's name under one of serde's rules.
fn apply(rule: &str, field: &str) -> String {
    let pascal = || -> String {
        field
            .split('_')
            .map(|word| {
                let mut chars = word.chars();
                chars
                    .next()
                    .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
            })
            .collect()
    };
    match rule {
        "UPPERCASE" | "SCREAMING_SNAKE_CASE" => field.to_ascii_uppercase(),
        "PascalCase" => pascal(),
        "camelCase" => {
            let pascal = pascal();
            let mut chars = pascal.chars();
            chars
                .next()
                .map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
        }
        "kebab-case" => field.replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => field.to_ascii_uppercase().replace('_', "-"),
        _ => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_as_serde_does() {
        for (rule, name) in [
            ("camelCase", "eventId"),
            ("PascalCase", "EventId"),
            ("kebab-case", "event-id"),
            ("SCREAMING_SNAKE_CASE", "EVENT_ID"),
            ("snake_case", "event_id"),
            ("lowercase", "event_id"),
        ] {
            assert_eq!(apply(rule, "event_id"), name, "{rule}");
        }
    }

    #[test]
    fn reads_names_beside_attributes_that_it_does_not_know() {
        let field: syn::ItemStruct = syn::parse_quote! {
            #[serde(bound(serialize = "T: A"), default = "f", rename(serialize = "a", deserialize = "b"), crate = "x::y")]
            struct S;
        };

        let read = SerdeAttrs::read(&field.attrs);

        let names: Vec<_> = read.names_of("x", &[]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(read.has("crate"));
    }
}
