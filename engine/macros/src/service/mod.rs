//! `#[service("..")]`: an `impl` whose marked methods are the handlers of a service.
//!
//! The methods stay as they are, without their marks. [`handler`] reads each of them, [`pairs`] holds actions and
//! compensations against each other, [`output`] writes the traits that call them. Where something is wrong the methods
//! stay, too, so that the compiler complains of nothing else.

mod called;
mod handler;
mod kind;
mod output;
mod pairs;
mod roots;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, ImplItem, ItemImpl, LitStr, Path, Result, Token};

use crate::keys::Problems;
use crate::{keys, name};
use called::{By, Called};
use handler::Handler;
use roots::Roots;

/// `#[service("payment", calls(ChargeCard), crate = ::redress)]`.
pub(crate) struct Arguments {
    service: LitStr,
    root: Option<Path>,
    called: Vec<Called>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let service: LitStr = input.parse().map_err(|error| {
            Error::new(
                error.span(),
                "the name of the service must stand here: write `#[service(\"payment\")]`",
            )
        })?;
        let (mut root, mut calls, mut undoes) = (None, None, None);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
            keys::each(input, |key, input| match key.to_string().as_str() {
                "crate" => keys::once(key, &mut root, keys::root(key, input)?),
                "calls" => keys::once(key, &mut calls, Called::list(By::CallOut, key, input)?),
                "undoes_by_call" => keys::once(key, &mut undoes, Called::list(By::UndoByCall, key, input)?),
                _ => Err(Error::new(
                    key.span(),
                    format!(
                        "`{key}` is no key of `#[service(..)]`; behind the name there are `calls(..)`, `undoes_by_call(..)` and `crate`"
                    ),
                )),
            })?;
        }
        name::checked("service", &service)?;
        let called = calls.into_iter().chain(undoes).flatten().collect();
        Ok(Self { service, root, called })
    }
}

/// The `impl` and the traits that call its methods, or the `impl` and errors.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut item: ItemImpl = match syn::parse2(item.clone()) {
        Ok(item) => item,
        Err(error) => {
            let error =
                Error::new(error.span(), "`#[service(..)]` stands above the `impl` that holds the handlers");
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut problems = Problems::default();
    if let Some((_, path, _)) = &item.trait_ {
        problems
            .add(path.span(), "`#[service(..)]` stands above an `impl` of the type itself, not of a trait");
    }
    let handlers = handlers(&mut item, &mut problems);
    let arguments = problems.noted(syn::parse2::<Arguments>(arguments));
    if let Some(Arguments { called, .. }) = &arguments
        && problems.is_empty()
    {
        pairs::check(&handlers, called, &mut problems);
    }
    let traits = match arguments {
        Some(Arguments { service, root, called }) if problems.is_empty() => {
            output::traits(&item, &service, &Roots::from(root), &handlers, &called)
        }
        Some(Arguments { service, root, .. }) if item.trait_.is_none() => {
            output::registration(&item, &service, &Roots::from(root), &[], &[])
        }
        Some(_) | None => TokenStream::new(),
    };
    let errors = problems.into_compile_errors();
    let item = item.into_token_stream();
    quote!(#item #traits #errors)
}

/// Takes the marks off the methods and reads what they are above.
fn handlers(item: &mut ItemImpl, problems: &mut Problems) -> Vec<Handler> {
    let mut handlers = Vec::new();
    for part in &mut item.items {
        if let ImplItem::Fn(method) = part {
            let read = Handler::take(method);
            handlers.extend(problems.noted(read).flatten());
        }
    }
    handlers
}
