//! The lists in our attributes, and the mistakes in them: `key = value, key`, each key at most once.
//!
//! An error is said at the word that is to be mended, with an example. All that are found are shown in one run of the
//! compiler.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitInt, LitStr, Path, Result, Token};

/// Reads the list with a function that takes one key and its value.
pub(crate) fn each(
    input: ParseStream<'_>,
    mut take: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
) -> Result<()> {
    while !input.is_empty() {
        let key = input.call(Ident::parse_any)?;
        take(&key, input)?;
        if input.is_empty() {
            break;
        }
        let between = input.parse::<Token![,]>();
        between.map_err(|error| Error::new(error.span(), format!("a comma must stand behind `{key}`")))?;
    }
    Ok(())
}

/// Fills a place that is filled once.
pub(crate) fn once<T>(key: &Ident, place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(key.span(), format!("`{key}` stands twice: leave one of them out"))),
    }
}

/// The equals sign and the value behind it; `example` shows one.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<T> {
    let wrong = |span: Span| Error::new(span, format!("`{key}` needs a value, as in `{key} = {example}`"));
    input.parse::<Token![=]>().map_err(|_| wrong(key.span()))?;
    let at = if input.is_empty() { key.span() } else { input.span() };
    input.parse().map_err(|_| wrong(at))
}

/// A text, for a name.
pub(crate) fn text(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<LitStr> {
    value(key, input, &format!("\"{example}\""))
}

/// A whole number from 1 on.
pub(crate) fn number(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<u32> {
    let literal: LitInt = value(key, input, example)?;
    match literal.base10_parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => {
            let message =
                format!("`{key}` is a whole number from 1 to {}, as in `{key} = {example}`", u32::MAX);
            Err(Error::new(literal.span(), message))
        }
    }
}

/// The path of the crate in which the generated code finds the engine.
pub(crate) fn root(key: &Ident, input: ParseStream<'_>) -> Result<Path> {
    value(key, input, "::redress")
}

/// A path as if it stood there, so that the compiler shows that place where the generated code is wrong.
pub(crate) fn located(path: &Path, there: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(token.span().located_at(there));
            token
        })
        .collect()
}

/// Errors of ours, each at the place where it is to be mended.
#[derive(Default)]
pub(crate) struct Problems(Vec<Error>);

impl Problems {
    /// One more, at this place.
    pub(crate) fn add(&mut self, span: Span, message: impl Display) {
        self.0.push(Error::new(span, message));
    }

    /// The value, or its error among the others.
    pub(crate) fn noted<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Code that the compiler answers with these errors.
    pub(crate) fn into_compile_errors(self) -> TokenStream {
        let errors = self.0.iter().map(Error::to_compile_error);
        quote!(#(#errors)*)
    }
}
