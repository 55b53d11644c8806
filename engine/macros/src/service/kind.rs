//! The kinds of handlers, and the names that go with each.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, Path, Type};

use super::roots::Roots;

/// A kind of handler, as its mark says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Action,
    Actions,
    Compensation,
    Compensations,
    /// An action whose answer may come later.
    LaterAction,
    /// A compensation whose answer may come later.
    LaterCompensation,
    /// An action that may be handled again, without an inbox.
    RepeatedAction,
}

impl Kind {
    /// The kind that an attribute marks, as long as its parentheses say nothing else; other attributes are none of ours.
    pub(crate) fn of(attribute: &Path) -> Option<Self> {
        let all = [Self::Action, Self::Actions, Self::Compensation, Self::Compensations];
        all.into_iter().find(|kind| attribute.is_ident(kind.mark()))
    }

    /// The attribute.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Action | Self::LaterAction | Self::RepeatedAction => "action",
            Self::Actions => "actions",
            Self::Compensation | Self::LaterCompensation => "compensation",
            Self::Compensations => "compensations",
        }
    }

    pub(crate) const fn is_action(self) -> bool {
        matches!(self, Self::Action | Self::Actions | Self::LaterAction | Self::RepeatedAction)
    }

    pub(crate) const fn is_set(self) -> bool {
        matches!(self, Self::Actions | Self::Compensations)
    }

    /// The mark of the same, for one command instead of a set, or the other way round.
    pub(crate) const fn counterpart(self) -> Self {
        match self {
            Self::Action | Self::LaterAction | Self::RepeatedAction => Self::Actions,
            Self::Actions => Self::Action,
            Self::Compensation | Self::LaterCompensation => Self::Compensations,
            Self::Compensations => Self::Compensation,
        }
    }

    /// The kind of the same whose answer may come later; a set has none.
    pub(crate) const fn later(self) -> Self {
        match self {
            Self::Action => Self::LaterAction,
            Self::Compensation => Self::LaterCompensation,
            Self::Actions
            | Self::Compensations
            | Self::LaterAction
            | Self::LaterCompensation
            | Self::RepeatedAction => self,
        }
    }

    /// The type behind `&` or `&mut` of what a handler takes before the command: the transaction, or what came with the
    /// command.
    pub(crate) const fn context(self) -> &'static str {
        match self {
            Self::RepeatedAction => "Received",
            Self::Action
            | Self::Actions
            | Self::Compensation
            | Self::Compensations
            | Self::LaterAction
            | Self::LaterCompensation => "Tx",
        }
    }

    /// The parameter before the command.
    pub(crate) fn context_parameter(self, roots: &Roots) -> (Ident, TokenStream) {
        let participant = &roots.participant;
        let named = |name: &str| Ident::new(name, proc_macro2::Span::call_site());
        match self.context() {
            "Received" => (named("received"), quote!(&#participant::Received)),
            _ => (named("tx"), quote!(&mut #participant::Tx<'_>)),
        }
    }

    /// The signature that a handler of this kind has, for errors.
    pub(crate) const fn signature(self) -> &'static str {
        match self {
            Self::Action => "async fn name(&self, tx: &mut Tx<'_>, command: C) -> Answer<R>",
            Self::Actions => {
                "async fn name(&self, tx: &mut Tx<'_>, commands: Vec<Keyed<C>>) \
                 -> Result<Vec<HandlerOutcome<R>>, HandlerError>"
            }
            Self::RepeatedAction => "async fn name(&self, received: &Received, command: C) -> Answer<R>",
            Self::Compensation => "async fn name(&self, tx: &mut Tx<'_>, command: C) -> Undone<R>",
            Self::LaterAction => "async fn name(&self, tx: &mut Tx<'_>, command: C) -> AnswerOrLater<R>",
            Self::LaterCompensation => {
                "async fn name(&self, tx: &mut Tx<'_>, command: C) -> UndoneOrLater<R>"
            }
            Self::Compensations => {
                "async fn name(&self, tx: &mut Tx<'_>, commands: Vec<Keyed<C>>) -> Result<Vec<R>, HandlerError>"
            }
        }
    }

    /// The method of `Participant` that registers a handler of this kind; the trait's is named alike.
    pub(crate) fn register(self) -> Ident {
        let name = match self {
            Self::Action => "handle",
            Self::Actions => "handle_all",
            Self::Compensation => "compensate",
            Self::Compensations => "compensate_all",
            Self::LaterAction => "handle_later",
            Self::LaterCompensation => "compensate_later",
            Self::RepeatedAction => "handle_at_least_once",
        };
        Ident::new(name, proc_macro2::Span::call_site())
    }

    /// The trait, the parameter for the command or the set, and the answer.
    pub(crate) fn traits(self, roots: &Roots, command: &Type) -> (TokenStream, TokenStream, TokenStream) {
        let Roots { core, participant } = roots;
        let reply = quote!(<#command as #core::Command>::Reply);
        let one = quote!(#command);
        let set = quote!(::std::vec::Vec<#participant::Keyed<#command>>);
        let all = |answer: TokenStream| quote!(::core::result::Result<::std::vec::Vec<#answer>, #participant::HandlerError>);
        match self {
            Self::Action => (quote!(#participant::Handle), one, quote!(#participant::Answer<#reply>)),
            Self::Actions => {
                (quote!(#participant::HandleAll), set, all(quote!(#participant::HandlerOutcome<#reply>)))
            }
            Self::Compensation => {
                (quote!(#participant::Compensate), one, quote!(#participant::Undone<#reply>))
            }
            Self::Compensations => (quote!(#participant::CompensateAll), set, all(reply)),
            Self::LaterAction => {
                (quote!(#participant::HandleLater), one, quote!(#participant::AnswerOrLater<#reply>))
            }
            Self::RepeatedAction => {
                (quote!(#participant::HandleAtLeastOnce), one, quote!(#participant::Answer<#reply>))
            }
            Self::LaterCompensation => {
                (quote!(#participant::CompensateLater), one, quote!(#participant::UndoneOrLater<#reply>))
            }
        }
    }
}
