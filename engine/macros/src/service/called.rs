//! Commands whose handlers call third parties: `calls(ChargeCard)`, `undoes_by_call(RefundCard)`.
//!
//! Such a handler has several parts, so it is a trait that is written out beside the `impl`, and named here.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Result, Token, Type, parenthesized, token};

/// How the command is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// An action, by `CallOut`.
    CallOut,
    /// A compensation, by `UndoByCall`.
    UndoByCall,
}

/// A command whose handler calls a third party.
pub(crate) struct Called {
    pub(crate) by: By,
    pub(crate) command: Type,
}

impl Called {
    /// The types in the parentheses behind the key.
    pub(crate) fn list(by: By, key: &Ident, input: ParseStream<'_>) -> Result<Vec<Self>> {
        if !input.peek(token::Paren) {
            let message = format!("`{key}` needs commands, as in `{key}(ChargeCard)`");
            return Err(Error::new(key.span(), message));
        }
        let list;
        parenthesized!(list in input);
        let commands: Punctuated<Type, Token![,]> = list.call(Punctuated::parse_terminated)?;
        Ok(commands.into_iter().map(|command| Self { by, command }).collect())
    }

    /// Returns true if it is the action that a compensation names by its type.
    pub(crate) fn is_action_named(&self, name: &Ident) -> bool {
        self.by == By::CallOut && self.command.to_token_stream().to_string() == *name.to_string()
    }

    /// Its registration.
    pub(crate) fn registered(&self) -> TokenStream {
        let command = &self.command;
        match self.by {
            By::CallOut => quote!(.call_out::<#command>()),
            By::UndoByCall => quote!(.undo_by_call::<#command>()),
        }
    }
}
