//! The code that stands beside the user's `impl`: traits that call its methods, their registration, and checks.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemImpl, LitStr, Type};

use super::called::Called;
use super::handler::{Handler, Limits};
use super::pairs;
use super::roots::Roots;
use crate::keys;

/// Everything that the macro adds.
pub(crate) fn traits(
    item: &ItemImpl,
    service: &LitStr,
    roots: &Roots,
    handlers: &[Handler],
    called: &[Called],
) -> TokenStream {
    let calls = handlers.iter().map(|handler| call(item, roots, handler));
    let registration = registration(item, service, roots, handlers, called);
    let checks = checks(service, roots, handlers, called);
    quote!(#(#calls)* #registration #checks)
}

/// The trait of one handler, which calls the method.
fn call(item: &ItemImpl, roots: &Roots, handler: &Handler) -> TokenStream {
    let Handler { kind, method, command, answer, give_up, .. } = handler;
    let (on, takes, answers) = kind.traits(roots, command);
    let name = kind.register();
    let (generics, _, conditions) = item.generics.split_for_impl();
    let (this, participant) = (&item.self_ty, &roots.participant);
    let core = &roots.core;
    let give_up = give_up.as_ref().map(|give_up| {
        let body = quote_spanned!(give_up.span().resolved_at(Span::call_site())=> Self::#give_up(self, tx, key).await);
        quote! {
            async fn give_up(
                &self,
                tx: &mut #participant::Tx<'_>,
                key: &#core::IdempotencyKey,
            ) -> ::core::result::Result<#participant::GiveUp<<#command as #core::Command>::Reply>, #participant::HandlerError> {
                #body
            }
        }
    });
    // An answer of another type is shown where the method says it.
    let (context, of_context) = kind.context_parameter(roots);
    let body =
        quote_spanned!(answer.resolved_at(Span::call_site())=> Self::#method(self, #context, command).await);
    quote! {
        #[automatically_derived]
        impl #generics #on<#command> for #this #conditions {
            async fn #name(&self, #context: #of_context, command: #takes) -> #answers {
                #body
            }

            #give_up
        }
    }
}

/// The name of the service and the list of its handlers.
pub(crate) fn registration(
    item: &ItemImpl,
    service: &LitStr,
    roots: &Roots,
    handlers: &[Handler],
    called: &[Called],
) -> TokenStream {
    let registered = handlers.iter().map(|Handler { kind, command, limits, .. }| {
        let register = kind.register();
        let limits = limited(command, limits, roots);
        quote!(.#register::<#command>() #limits)
    });
    let calls = called.iter().map(Called::registered);
    let (generics, _, conditions) = item.generics.split_for_impl();
    let (this, participant) = (&item.self_ty, &roots.participant);
    quote! {
        #[automatically_derived]
        impl #generics #participant::ServiceHandlers for #this #conditions {
            const SERVICE: &'static str = #service;

            fn register(participant: #participant::Participant<Self>) -> #participant::Participant<Self> {
                participant #(#registered)* #(#calls)*
            }
        }
    }
}

/// The registration of limits, if there are any.
fn limited(command: &Type, limits: &Limits, roots: &Roots) -> TokenStream {
    let participant = &roots.participant;
    let concurrency =
        limits.concurrency.map(|number| quote!(concurrency: ::core::option::Option::Some(#number as usize),));
    let time_max = limits.time_max_s.map(|s| {
        let s = u64::from(s);
        quote!(handler_time_max: ::core::option::Option::Some(::core::time::Duration::from_secs(#s)),)
    });
    if concurrency.is_none() && time_max.is_none() {
        return TokenStream::new();
    }
    quote!(.limits::<#command>(#participant::CommandLimits { #concurrency #time_max ..::core::default::Default::default() }))
}

/// Checks that need the types: each command's service, different names, and a compensation for its own action.
fn checks(service: &LitStr, roots: &Roots, handlers: &[Handler], called: &[Called]) -> TokenStream {
    let commands = || {
        let called = called.iter().map(|called| &called.command);
        handlers.iter().map(|handler| &handler.command).chain(called)
    };
    let of_service = commands().map(|command| of_service(command, service, roots));
    let at = service.span().resolved_at(Span::call_site());
    let core = keys::located(&roots.core, at);
    let commands = commands();
    let named_apart = quote_spanned! {at=>
        const _: () = #core::checks::different_texts(&[#(<#commands as #core::Command>::NAME),*])
            .expect("two handlers of this service are for commands of the same name: one of them would never be called");
    };
    let pairs =
        pairs::of(handlers).map(|(action, compensation)| pair(&action.command, &compensation.command, roots));
    let of_called = handlers.iter().flat_map(|compensation| {
        let named = move |action: &&Called| compensation.of.iter().any(|name| action.is_action_named(name));
        let pairs = called.iter().filter(named);
        pairs.map(|action| pair(&action.command, &compensation.command, roots))
    });
    quote!(#(#of_service)* #named_apart #(#pairs)* #(#of_called)*)
}

fn of_service(command: &Type, service: &LitStr, roots: &Roots) -> TokenStream {
    let at = command.span().resolved_at(Span::call_site());
    let core = keys::located(&roots.core, at);
    quote_spanned! {at=>
        const _: () = #core::checks::same_text(<#command as #core::Command>::SERVICE, #service)
            .expect("this is a command of another service: handle it there, or correct the name in `#[service(..)]`");
    }
}

fn pair(action: &Type, compensation: &Type, roots: &Roots) -> TokenStream {
    let at = compensation.span().resolved_at(Span::call_site());
    let core = keys::located(&roots.core, at);
    quote_spanned! {at=>
        const _: fn() = || {
            fn compensates<K: #core::Compensates<A>, A: #core::Command>() {}
            compensates::<#compensation, #action>();
        };
    }
}
