//! What stands in an attribute's parentheses: `key`, `key = value` and `key(..)`, parted by commas.
//!
//! [`Args::parse`] reads the list; each macro then takes the keys that it knows, by the kind of
//! value that it expects, and [`Args::finish`] complains about what is left. A mistake in one key
//! does not hide another.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Expr, ExprLit, Lit, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    spanned::Spanned as _,
};

use crate::{errors::Errors, pattern, units};

/// Keys that may stand there several times.
const REPEATED: &[&str] = &["from"];

/// The keys of one attribute, as far as they can be read.
pub(crate) struct Args {
    attribute: &'static str,
    known: &'static [&'static str],
    entries: Vec<Entry>,
    broken: bool,
}

struct Entry {
    key: Ident,
    value: Value,
    first: bool,
}

/// What follows a key.
enum Value {
    /// Nothing.
    Flag,
    /// `= expression`.
    Expr(Expr),
    /// `(tokens)`.
    List(Span, TokenStream),
}

impl Value {
    fn span(&self, key: &Ident) -> TokenStream {
        match self {
            Self::Flag => key.to_token_stream(),
            Self::Expr(expr) => expr.to_token_stream(),
            Self::List(span, _) => {
                let mut group = proc_macro2::Group::new(Delimiter::Parenthesis, TokenStream::new());
                group.set_span(*span);
                TokenTree::Group(group).to_token_stream()
            }
        }
    }
}

impl Args {
    /// Reads the list; `attribute` is how messages call it, `known` the keys that it may have.
    pub(crate) fn parse(
        attribute: &'static str,
        known: &'static [&'static str],
        tokens: TokenStream,
        errors: &mut Errors,
    ) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut broken = false;
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                match parse_entry(input) {
                    Ok((key, value)) => {
                        let first = !entries.iter().any(|entry| entry.key == key);
                        entries.push(Entry { key, value, first });
                    }
                    Err(error) => {
                        errors.absorb(error);
                        broken = true;
                        // The next key may still be readable.
                        while !input.is_empty() && !input.peek(Token![,]) {
                            input.parse::<TokenTree>()?;
                        }
                    }
                }
                if !input.is_empty()
                    && let Err(error) = input.parse::<Token![,]>()
                {
                    errors.absorb(error);
                    broken = true;
                    while !input.is_empty() && !input.peek(Token![,]) {
                        input.parse::<TokenTree>()?;
                    }
                    input.parse::<Option<Token![,]>>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = parser.parse2(tokens) {
            errors.absorb(error);
            broken = true;
        }
        for entry in &entries {
            if !entry.first
                && !REPEATED.contains(&&*entry.key.to_string())
                && known.iter().any(|key| entry.key == key)
            {
                errors.at(entry.key.span(), format!("`{}` is given twice", entry.key));
            }
        }
        Self { attribute, known, entries, broken }
    }

    /// Whether some of the list could not be read, so that a key may be missing for that reason.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Notes that the list could not be read.
    pub(crate) fn mark_broken(&mut self) {
        self.broken = true;
    }

    /// Where the key stands, when it is there.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.key.span())
    }

    /// Whether a key was meant to be this one, so that it is not missing beside that mistake.
    pub(crate) fn is_meant(&self, key: &str) -> bool {
        self.key_span(key).is_some()
            || self.entries.iter().any(|entry| {
                let name = entry.key.to_string();
                !self.known.contains(&name.as_str()) && nearest(&name, self.known) == Some(key)
            })
    }

    /// Complains about every key that nobody took. `elsewhere` explains a key that has its place
    /// in another attribute or in a later version; others are unknown, with the nearest known one.
    pub(crate) fn finish(self, elsewhere: impl Fn(&str) -> Option<String>, errors: &mut Errors) {
        for Entry { key, .. } in self.entries {
            let name = key.unraw().to_string();
            if self.known.contains(&name.as_str()) {
                continue;
            }
            if let Some(message) = elsewhere(&name) {
                errors.at(key.span(), message);
                continue;
            }
            let list = self.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            errors.at(
                key.span(),
                match nearest(&name, self.known) {
                    Some(near) => {
                        format!("unknown key `{name}`, did you mean `{near}`? (known keys: {list})")
                    }
                    None => format!("unknown key `{name}`, expected one of {list}"),
                },
            );
        }
    }

    fn take(&mut self, key: &str) -> Option<(Ident, Value)> {
        if !self.known.contains(&key) {
            return None;
        }
        let at = self.entries.iter().position(|entry| entry.key == key && entry.first)?;
        let entry = self.entries.remove(at);
        Some((entry.key, entry.value))
    }

    fn wrong(&self, key: &Ident, value: &Value, takes: &str, errors: &mut Errors) {
        errors.over(value.span(key), format!("`{key}` of `{}` takes {takes}", self.attribute));
    }

    /// A key without a value.
    pub(crate) fn flag(&mut self, key: &str, errors: &mut Errors) -> bool {
        let Some((key, value)) = self.take(key) else { return false };
        if !matches!(value, Value::Flag) {
            self.wrong(&key, &value, &format!("no value: write `{key}` alone"), errors);
        }
        true
    }

    /// A truth value; the key alone says true.
    pub(crate) fn boolean(&mut self, key: &str, errors: &mut Errors) -> Option<bool> {
        let (key, value) = self.take(key)?;
        if let Some(Lit::Bool(literal)) = as_literal(&value) {
            return Some(literal.value);
        }
        if !matches!(value, Value::Flag) {
            self.wrong(&key, &value, &format!("true or false: `{key} = true`, or `{key}` alone"), errors);
            return None;
        }
        Some(true)
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str, example: &str, errors: &mut Errors) -> Option<LitStr> {
        let (key, value) = self.take(key)?;
        let text = as_text(&value);
        if text.is_none() {
            self.wrong(&key, &value, &format!("a text: `{key} = \"{example}\"`"), errors);
        }
        text
    }

    /// A text that is the name of something, checked.
    pub(crate) fn name(
        &mut self,
        key: &str,
        what: &str,
        example: &str,
        errors: &mut Errors,
    ) -> Option<LitStr> {
        let name = self.text(key, example, errors)?;
        pattern::check_name(what, &name, errors);
        Some(name)
    }

    /// One of a closed list of words.
    pub(crate) fn word(
        &mut self,
        key: &str,
        words: &[&str],
        later: &[&str],
        errors: &mut Errors,
    ) -> Option<LitStr> {
        let text = self.text(key, words[0], errors)?;
        let word = text.value();
        if later.contains(&word.as_str()) {
            errors.at(text.span(), format!("`{key} = \"{word}\"` comes in a later version of es-bus"));
        } else if !words.contains(&word.as_str()) {
            let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            errors.at(
                text.span(),
                match nearest(&word, words) {
                    Some(near) => {
                        format!("`{key}` cannot be `{word}`, did you mean `{near}`? (known: {list})")
                    }
                    None => format!("`{key}` cannot be `{word}`, expected one of {list}"),
                },
            );
        }
        Some(text)
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &mut self,
        key: &str,
        low: u64,
        high: u64,
        because: &str,
        errors: &mut Errors,
    ) -> Option<u64> {
        let (key, value) = self.take(key)?;
        let Some(Lit::Int(literal)) = as_literal(&value) else {
            self.wrong(&key, &value, &format!("a whole number: `{key} = {}`", low.max(1)), errors);
            return None;
        };
        match literal.base10_parse::<u64>() {
            Ok(number) if (low..=high).contains(&number) && literal.suffix().is_empty() => Some(number),
            _ => {
                let because = if because.is_empty() { String::new() } else { format!(" ({because})") };
                errors.at(literal.span(), format!("`{key}` is a number from {low} to {high}{because}"));
                None
            }
        }
    }

    /// A whole number in a range, or `"none"`.
    pub(crate) fn number_or_none(
        &mut self,
        key: &str,
        low: u64,
        high: u64,
        errors: &mut Errors,
    ) -> Option<String> {
        let entry = self.entries.iter().find(|entry| entry.key == key && entry.first);
        let text = entry.and_then(|entry| as_literal(&entry.value));
        if let Some(Lit::Str(text)) = text {
            let is_none = text.value() == "none";
            let (key, value) = self.take(key)?;
            if !is_none {
                let takes = format!("a whole number or `\"none\"`: `{key} = {}`", low.max(1));
                self.wrong(&key, &value, &takes, errors);
            }
            return is_none.then(|| "none".to_owned());
        }
        self.number(key, low, high, "or `\"none\"`", errors).map(|number| number.to_string())
    }

    /// A fraction from 0 to 1, as it is written.
    pub(crate) fn fraction(&mut self, key: &str, errors: &mut Errors) -> Option<String> {
        let (key, value) = self.take(key)?;
        let digits = match as_literal(&value) {
            Some(Lit::Int(literal)) => literal.base10_digits().to_owned(),
            Some(Lit::Float(literal)) => literal.base10_digits().to_owned(),
            _ => {
                self.wrong(&key, &value, &format!("a number from 0 to 1: `{key} = 0.1`"), errors);
                return None;
            }
        };
        if digits.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)) {
            return Some(digits);
        }
        errors.over(value.span(&key), format!("`{key}` is a number from 0 to 1: 0.1 is ten percent"));
        None
    }

    /// A duration, with what it comes to in milliseconds.
    pub(crate) fn duration(
        &mut self,
        key: &str,
        low: &str,
        high: &str,
        because: &str,
        errors: &mut Errors,
    ) -> Option<(LitStr, u64)> {
        let (key, value) = self.take(key)?;
        let Some(text) = as_text(&value) else {
            self.wrong(&key, &value, &format!("a duration: `{key} = \"30s\"`"), errors);
            return None;
        };
        check_duration(&key.to_string(), &text, low, high, because, errors).map(|ms| (text, ms))
    }

    /// A duration, or `none`.
    pub(crate) fn duration_or_none(
        &mut self,
        key: &str,
        low: &str,
        high: &str,
        errors: &mut Errors,
    ) -> Option<LitStr> {
        let (key, value) = self.take(key)?;
        match as_text(&value) {
            None => {
                self.wrong(&key, &value, &format!("a duration, or \"none\": `{key} = \"1s\"`"), errors);
                None
            }
            Some(text) if text.value() == "none" => Some(text),
            Some(text) => {
                check_duration(&key.to_string(), &text, low, high, "`none` for never", errors).map(|_ms| text)
            }
        }
    }

    /// A size in bytes.
    pub(crate) fn size(&mut self, key: &str, errors: &mut Errors) -> Option<LitStr> {
        let (key, value) = self.take(key)?;
        let Some(text) = as_text(&value) else {
            self.wrong(&key, &value, &format!("a size: `{key} = \"64 MiB\"`"), errors);
            return None;
        };
        match units::size(&text.value()) {
            Ok(0) => errors.at(text.span(), format!("`{key}` cannot be nothing")),
            Ok(_) => {}
            Err(fault) => errors.at(text.span(), format!("size {:?} {fault}", text.value())),
        }
        Some(text)
    }

    /// A list of texts, or one.
    pub(crate) fn texts(&mut self, key: &str, example: &str, errors: &mut Errors) -> Option<Vec<LitStr>> {
        let (key, value) = self.take(key)?;
        let mut texts = Vec::new();
        for element in elements(&value) {
            match element {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => texts.push(text.clone()),
                other => errors.over(other, format!("`{key}` takes texts: `{key} = [\"{example}\"]`")),
            }
        }
        if !matches!(value, Value::Expr(_)) {
            self.wrong(&key, &value, &format!("a list of texts: `{key} = [\"{example}\"]`"), errors);
        }
        Some(texts)
    }

    /// An expression.
    pub(crate) fn expr(&mut self, key: &str, takes: &str, errors: &mut Errors) -> Option<Expr> {
        let (key, value) = self.take(key)?;
        match value {
            Value::Expr(expr) => Some(expr),
            value => {
                self.wrong(&key, &value, takes, errors);
                None
            }
        }
    }

    /// A path, as in `crate = other_name`.
    pub(crate) fn path(&mut self, key: &str, example: &str, errors: &mut Errors) -> Option<Path> {
        let (key, value) = self.take(key)?;
        match &value {
            Value::Expr(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            value => {
                self.wrong(&key, value, &format!("a path: `{key} = {example}`"), errors);
                None
            }
        }
    }

    /// A list of its own keys, as in `backoff(base = "1s")`.
    pub(crate) fn list(
        &mut self,
        key: &str,
        attribute: &'static str,
        known: &'static [&'static str],
        example: &str,
        errors: &mut Errors,
    ) -> Option<Args> {
        let (key, value) = self.take(key)?;
        match value {
            Value::List(_, tokens) => Some(Args::parse(attribute, known, tokens, errors)),
            value => {
                self.wrong(&key, &value, &format!("a list: `{key}({example})`"), errors);
                None
            }
        }
    }

    /// A table of values that may be texts, whole numbers or truth values, each with where its name
    /// stands, as in `arguments("x-queue-mode" = "lazy", "x-team" = 7)`.
    pub(crate) fn values(
        &mut self,
        key: &str,
        example: &str,
        errors: &mut Errors,
    ) -> Option<Vec<(String, Span, Lit)>> {
        let (key, value) = self.take(key)?;
        let Value::List(_, tokens) = value else {
            self.wrong(&key, &value, &format!("a list: `{key}({example})`"), errors);
            return None;
        };
        let mut values: Vec<(String, Span, Lit)> = Vec::new();
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                let name: LitStr = input
                    .parse()
                    .map_err(|error| syn::Error::new(error.span(), format!("expected `{example}`")))?;
                input.parse::<Token![=]>()?;
                let minus = input.parse::<Option<Token![-]>>()?;
                let mut value: Lit = input.parse()?;
                if let (Some(minus), Lit::Int(number)) = (minus, &value) {
                    value = Lit::Int(syn::LitInt::new(&format!("-{}", number.base10_digits()), minus.span()));
                }
                values.push((name.value(), name.span(), value));
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = parser.parse2(tokens) {
            errors.absorb(error);
        }
        Some(values)
    }

    /// A table of constants, as in `headers(region = "eu", pages = 3, draft = false)`.
    pub(crate) fn constants(
        &mut self,
        key: &str,
        example: &str,
        errors: &mut Errors,
    ) -> Vec<(String, Constant)> {
        let Some((key, value)) = self.take(key) else { return Vec::new() };
        let Value::List(_, tokens) = value else {
            self.wrong(&key, &value, &format!("a list: `{key}({example})`"), errors);
            return Vec::new();
        };
        table(tokens, errors)
    }

    /// The tokens between the parentheses of a key that may be repeated, each with where they stand.
    pub(crate) fn lists(&mut self, key: &str, takes: &str, errors: &mut Errors) -> Vec<(Span, TokenStream)> {
        let mut lists = Vec::new();
        while let Some(at) = self.entries.iter().position(|entry| entry.key == key) {
            let entry = self.entries.remove(at);
            match entry.value {
                Value::List(span, tokens) => lists.push((span, tokens)),
                value => self.wrong(&entry.key, &value, takes, errors),
            }
        }
        lists
    }

    /// The tokens between the parentheses of a key, or its expression.
    pub(crate) fn list_or_expr(&mut self, key: &str, takes: &str, errors: &mut Errors) -> Option<ListOrExpr> {
        let (key, value) = self.take(key)?;
        match value {
            Value::Expr(expr) => Some(ListOrExpr::Expr(expr)),
            Value::List(span, tokens) => Some(ListOrExpr::List(span, tokens)),
            Value::Flag => {
                self.wrong(&key, &value, takes, errors);
                None
            }
        }
    }
}

/// What follows a key that takes either.
pub(crate) enum ListOrExpr {
    /// `(tokens)`.
    List(Span, TokenStream),
    /// `= expression`.
    Expr(Expr),
}

/// A value that a header or an argument may have.
#[derive(Clone)]
pub(crate) enum Constant {
    /// A text.
    Str(LitStr),
    /// An integer.
    Int(Span, i64),
    /// True or false.
    Bool(syn::LitBool),
}

impl Constant {
    /// The `StaticValue`.
    pub(crate) fn tokens(&self, p: &TokenStream) -> TokenStream {
        match self {
            Self::Str(text) => quote!(#p::StaticValue::Str(#text)),
            Self::Int(_, number) => quote!(#p::StaticValue::Int(#number)),
            Self::Bool(flag) => quote!(#p::StaticValue::Bool(#flag)),
        }
    }

    pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let minus: Option<Token![-]> = input.parse()?;
        let takes = "the value is a text, a whole number, `true` or `false`";
        let (lit, at) = match input.parse::<Lit>() {
            Ok(lit) => (lit.clone(), lit.span()),
            Err(error) => return Err(syn::Error::new(error.span(), takes)),
        };
        match lit {
            Lit::Str(text) if minus.is_none() => Ok(Self::Str(text)),
            Lit::Bool(flag) if minus.is_none() => Ok(Self::Bool(flag)),
            Lit::Int(number) if number.suffix().is_empty() => {
                let sign = if minus.is_some() { "-" } else { "" };
                let number = format!("{sign}{}", number.base10_digits()).parse();
                number
                    .map(|number| Self::Int(at, number))
                    .map_err(|_too_large| syn::Error::new(at, "a whole number has 64 bits here, signed"))
            }
            _ => Err(syn::Error::new(at, takes)),
        }
    }
}

impl ToTokens for Constant {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Str(text) => text.to_tokens(tokens),
            Self::Int(at, number) => {
                let mut literal = proc_macro2::Literal::i64_unsuffixed(*number);
                literal.set_span(*at);
                literal.to_tokens(tokens);
            }
            Self::Bool(flag) => flag.to_tokens(tokens),
        }
    }
}

/// Reads names and constants, parted by commas.
pub(crate) fn table(tokens: TokenStream, errors: &mut Errors) -> Vec<(String, Constant)> {
    let mut table: Vec<(String, Constant)> = Vec::new();
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let (name, span) = if input.peek(LitStr) {
                let name: LitStr = input.parse()?;
                (name.value(), name.span())
            } else {
                let name = input.call(Ident::parse_any)?;
                (name.unraw().to_string(), name.span())
            };
            input.parse::<Token![=]>()?;
            let value = Constant::parse(input)?;
            if name.is_empty() || name.len() > 128 || !name.is_ascii() {
                errors.at(span, "the name of a header is ASCII, 1 to 128 bytes");
            } else if table.iter().any(|(known, _)| *known == name) {
                errors.at(span, format!("header `{name}` is given twice"));
            }
            table.push((name, value));
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        errors.absorb(error);
    }
    table
}

/// Checks a duration and gives its milliseconds.
pub(crate) fn check_duration(
    key: &str,
    text: &LitStr,
    low: &str,
    high: &str,
    because: &str,
    errors: &mut Errors,
) -> Option<u64> {
    let duration = match units::duration(&text.value()) {
        Ok(duration) => duration,
        Err(fault) => {
            errors.at(text.span(), format!("duration {:?} {fault}", text.value()));
            return None;
        }
    };
    let within = units::duration(low).is_ok_and(|low| low <= duration)
        && units::duration(high).is_ok_and(|high| duration <= high);
    if !within {
        let because = if because.is_empty() { String::new() } else { format!(" ({because})") };
        errors.at(text.span(), format!("`{key}` is a duration from {low} to {high}{because}"));
        return None;
    }
    u64::try_from(duration.as_millis()).ok()
}

/// The elements of a list, or the one expression that stands for a list of one.
pub(crate) fn elements_of(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Array(array) => array.elems.iter().collect(),
        Expr::Group(group) => elements_of(&group.expr),
        other => vec![other],
    }
}

fn elements(value: &Value) -> Vec<&Expr> {
    match value {
        Value::Expr(expr) => elements_of(expr),
        Value::Flag | Value::List(..) => Vec::new(),
    }
}

fn as_literal(value: &Value) -> Option<&Lit> {
    match value {
        Value::Expr(Expr::Lit(literal)) => Some(&literal.lit),
        // A literal that comes out of a `macro_rules` variable.
        Value::Expr(Expr::Group(group)) => match &*group.expr {
            Expr::Lit(literal) => Some(&literal.lit),
            _ => None,
        },
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<LitStr> {
    match as_literal(value) {
        Some(Lit::Str(text)) => Some(text.clone()),
        _ => None,
    }
}

fn parse_entry(input: ParseStream<'_>) -> syn::Result<(Ident, Value)> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        syn::Error::new(error.span(), "expected a key: a word, alone or with `= value` after it")
    })?;
    if input.peek(syn::token::Paren) {
        let content;
        let paren = syn::parenthesized!(content in input);
        return Ok((key, Value::List(paren.span.join(), content.parse()?)));
    }
    if input.peek(Token![=]) {
        let equals: Token![=] = input.parse()?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(syn::Error::new(equals.span(), format!("`{key} =` needs a value")));
        }
        // `crate` is an expression that syn reads as a path.
        return Ok((key, Value::Expr(input.parse()?)));
    }
    Ok((key, Value::Flag))
}

/// The known word that an unknown one was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // The rows of the two letters before, and of this one.
    let mut earlier = vec![0; b.len() + 1];
    let mut before: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = before[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(before[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(earlier[j - 2] + 1);
            }
        }
        earlier = std::mem::replace(&mut before, row);
    }
    before[b.len()]
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    const KNOWN: &[&str] = &["group", "bind", "retries"];

    #[test]
    fn proposes_the_nearest_key_and_only_a_near_one() {
        assert_eq!(nearest("grup", KNOWN), Some("group"));
        assert_eq!(nearest("bnd", KNOWN), Some("bind"));
        assert_eq!(nearest("gruop", KNOWN), Some("group"), "two letters swapped are one slip");
        assert_eq!(nearest("retry", KNOWN), None);
        assert_eq!(nearest("colour", KNOWN), None);
    }

    #[test]
    fn reads_what_it_can_of_a_half_typed_list() {
        let mut errors = Errors::default();
        let mut args = Args::parse("#[handler]", KNOWN, quote!(bind = , group = "g", retries), &mut errors);

        assert_eq!(args.text("group", "g", &mut errors).map(|text| text.value()), Some("g".to_owned()));
        assert!(args.is_broken());
        assert_eq!(errors.messages(), ["`bind =` needs a value"]);
    }

    #[test]
    fn reports_duplicates_and_unknown_keys_together() {
        let mut errors = Errors::default();
        let tokens = quote!(group = "a", group = "b", grup = "c");
        let mut args = Args::parse("#[handler]", KNOWN, tokens, &mut errors);
        args.text("group", "g", &mut errors);
        args.finish(|_| None, &mut errors);

        let messages = errors.messages();
        assert_eq!(messages[0], "`group` is given twice");
        assert!(messages[1].starts_with("unknown key `grup`, did you mean `group`?"), "{messages:?}");
    }
}
