//! `#[derive(Command)]`: service, name, reply, and the action that the command undoes.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, DeriveInput, Error, Ident, LitStr, Path, Result, Type, parse_quote};

use crate::keys::Problems;
use crate::{keys, name};

/// All keys, as an error lists them.
const KEYS: &str = "`service`, `name`, `reply`, `compensates` and `crate`";

/// `#[command(..)]`, as it was written.
#[derive(Default)]
struct Keys {
    service: Option<LitStr>,
    name: Option<LitStr>,
    reply: Option<Type>,
    compensates: Option<Type>,
    root: Option<Path>,
}

impl Keys {
    fn take(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match key.to_string().as_str() {
            "service" => keys::once(key, &mut self.service, keys::text(key, input, "payment")?),
            "name" => keys::once(key, &mut self.name, keys::text(key, input, "charge")?),
            "reply" => keys::once(key, &mut self.reply, keys::value(key, input, "PaymentCharged")?),
            "compensates" => {
                keys::once(key, &mut self.compensates, keys::value(key, input, "ChargePayment")?)
            }
            "crate" => keys::once(key, &mut self.root, keys::root(key, input)?),
            _ => Err(Error::new(
                key.span(),
                format!("`{key}` is no key of `#[command(..)]`; there are {KEYS}"),
            )),
        }
    }
}

/// A contract without a mistake.
struct Contract {
    service: String,
    name: String,
    reply: Type,
    compensates: Option<Type>,
    root: Path,
}

/// The impls for a command, or the errors in its attribute.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut problems = Problems::default();
    if !input.generics.params.is_empty() {
        problems.add(
            input.generics.span(),
            "a command has no parameters: one name stands for one payload; write a struct for each payload",
        );
    }
    let contract = contract(input, &mut problems);
    match contract.filter(|_| problems.is_empty()) {
        Some(contract) => write(&input.ident, &contract),
        None => problems.into_compile_errors(),
    }
}

fn contract(input: &DeriveInput, problems: &mut Problems) -> Option<Contract> {
    let ours = |attribute: &&Attribute| attribute.path().is_ident("command");
    let attributes: Vec<&Attribute> = input.attrs.iter().filter(ours).collect();
    let Some(first) = attributes.first() else {
        problems.add(
            input.ident.span(),
            "a command needs its service and its name: write `#[command(service = \"..\", name = \"..\")]` above it",
        );
        return None;
    };
    let mut keys = Keys::default();
    for attribute in &attributes {
        let read = attribute
            .parse_args_with(|input: ParseStream<'_>| keys::each(input, |key, input| keys.take(key, input)));
        problems.noted(read)?;
    }
    let at = first.path().span();
    let service = problems.noted(named("service", "service", "payment", keys.service.as_ref(), at));
    let name = problems.noted(named("name", "command", "charge", keys.name.as_ref(), at));
    Some(Contract {
        service: service?,
        name: name?,
        reply: keys.reply.unwrap_or_else(|| parse_quote!(())),
        compensates: keys.compensates,
        root: keys.root.unwrap_or_else(|| parse_quote!(::redress_core)),
    })
}

fn named(key: &str, thing: &str, example: &str, literal: Option<&LitStr>, at: Span) -> Result<String> {
    match literal {
        Some(literal) => name::checked(thing, literal),
        None => Err(name::missing(key, example, at)),
    }
}

fn write(command: &Ident, contract: &Contract) -> TokenStream {
    let Contract { service, name, reply, compensates, root } = contract;
    let compensates = compensates.as_ref().map(|action| write_compensates(command, action, root));
    quote! {
        #[automatically_derived]
        impl #root::Command for #command {
            const SERVICE: &'static str = #service;
            const NAME: &'static str = #name;
            type Reply = #reply;
        }
        #compensates
    }
}

fn write_compensates(command: &Ident, action: &Type, root: &Path) -> TokenStream {
    let at = action.span().resolved_at(Span::call_site());
    let root = keys::located(root, at);
    quote_spanned! {at=>
        #[automatically_derived]
        impl #root::Compensates<#action> for #command {}

        const _: () = #root::checks::same_text(
            <#action as #root::Command>::SERVICE,
            <#command as #root::Command>::SERVICE,
        )
        .expect("a compensation must be a command of the same service as its action: a fence in another database is none");
    }
}
