//! One marked method: its mark, and the command in its signature.
//!
//! The signature is read as it is written, since a macro knows no types: the transaction is a `&mut Tx`, a set is a
//! `Vec<Keyed<C>>`. Types that only look right are found by the compiler in the code that is generated.

use proc_macro2::Span;
use quote::ToTokens;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, GenericParam, Ident, ImplItemFn, Meta, PathArguments, Receiver,
    Result, ReturnType, Signature, Token, Type, bracketed, token,
};

use super::kind::Kind;
use crate::keys;

/// A method that handles a command.
pub(crate) struct Handler {
    pub(crate) kind: Kind,
    pub(crate) method: Ident,
    pub(crate) command: Type,
    /// Where the answer's type stands: a wrong one is shown there.
    pub(crate) answer: Span,
    /// Where the mark stands.
    pub(crate) mark: Span,
    /// Of an action: the word that says that nothing undoes it.
    pub(crate) no_compensation: Option<Ident>,
    /// Of a compensation: the methods that it undoes.
    pub(crate) of: Vec<Ident>,
    /// Of an action whose answer may come later: the method that gives up its open question.
    pub(crate) give_up: Option<Ident>,
    pub(crate) limits: Limits,
}

/// Limits of the command that are not those of its service.
#[derive(Default)]
pub(crate) struct Limits {
    /// Commands that run at the same time, each in a transaction of its own.
    pub(crate) concurrency: Option<u32>,
    /// The longest that one call may take, in seconds.
    pub(crate) time_max_s: Option<u32>,
}

/// The words in a mark's parentheses.
#[derive(Default)]
struct Marked {
    no_compensation: Option<Ident>,
    of: Option<Vec<Ident>>,
    later: Option<Ident>,
    give_up: Option<Ident>,
    at_least_once: Option<Ident>,
    limits: Limits,
}

impl Handler {
    /// Takes the mark off a method and reads it; a method without a mark is no handler.
    pub(crate) fn take(method: &mut ImplItemFn) -> Result<Option<Self>> {
        let is_mark = |attribute: &mut Attribute| Kind::of(attribute.path()).is_some();
        let marks: Vec<Attribute> = method.attrs.extract_if(.., is_mark).collect();
        let Some(mark) = marks.first() else { return Ok(None) };
        let Some(kind) = Kind::of(mark.path()) else { return Ok(None) };
        if let Some(second) = marks.get(1) {
            let message = format!("`{}` has two marks: a handler has one", method.sig.ident);
            return Err(Error::new(second.path().span(), message));
        }
        if let Some(cfg) = method.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            let message =
                "a handler has no `#[cfg(..)]` of its own: a service knows the same commands in every build";
            return Err(Error::new(cfg.path().span(), message));
        }
        let Marked { no_compensation, of, later, give_up, at_least_once, limits } = marked(kind, mark)?;
        check_later(kind, later.as_ref(), give_up.as_ref())?;
        if let (Some(_), Some(later)) = (&at_least_once, &later) {
            let message =
                "an action that is handled at least once answers at once: nothing would keep its question";
            return Err(Error::new(later.span(), message));
        }
        let kind = match (&later, &at_least_once) {
            (Some(_), _) => kind.later(),
            (None, Some(_)) => Kind::RepeatedAction,
            (None, None) => kind,
        };
        // Nobody knows whether it happened, so nothing undoes it.
        let no_compensation = no_compensation.or(at_least_once);
        let command = command(kind, &method.sig)?;
        Ok(Some(Self {
            kind,
            method: method.sig.ident.clone(),
            command,
            answer: match &method.sig.output {
                ReturnType::Type(_, answer) => answer.span(),
                ReturnType::Default => method.sig.ident.span(),
            },
            mark: mark.path().span(),
            no_compensation,
            of: of.unwrap_or_default(),
            give_up,
            limits,
        }))
    }

    /// The command as it is written, to compare.
    pub(crate) fn command_text(&self) -> String {
        self.command.to_token_stream().to_string()
    }
}

/// The words in the mark's parentheses.
fn marked(kind: Kind, mark: &Attribute) -> Result<Marked> {
    let mut marked = Marked::default();
    let mut take = |key: &Ident, input: ParseStream<'_>| match key.to_string().as_str() {
        "no_compensation" if kind.is_action() => keys::once(key, &mut marked.no_compensation, key.clone()),
        "of" if !kind.is_action() => keys::once(key, &mut marked.of, actions(key, input)?),
        "later" if !kind.is_set() => keys::once(key, &mut marked.later, key.clone()),
        "give_up" if kind.is_action() && !kind.is_set() => {
            keys::once(key, &mut marked.give_up, keys::value(key, input, "withdraw")?)
        }
        "at_least_once" if kind.is_action() && !kind.is_set() => {
            keys::once(key, &mut marked.at_least_once, key.clone())
        }
        "concurrency" => keys::once(key, &mut marked.limits.concurrency, keys::number(key, input, "4")?),
        "time_max_s" => keys::once(key, &mut marked.limits.time_max_s, keys::number(key, input, "120")?),
        _ => {
            let known = match (kind.is_action(), kind.is_set()) {
                (true, true) => "`no_compensation`",
                (true, false) => "`no_compensation`, `at_least_once`, `later`, `give_up = ..`",
                (false, true) => "`of = ..`",
                (false, false) => "`of = ..`, `later`",
            };
            let message = format!(
                "`{key}` is no key of `#[{}(..)]`; there are {known}, `concurrency = ..` and `time_max_s = ..`",
                kind.mark()
            );
            Err(Error::new(key.span(), message))
        }
    };
    if !matches!(mark.meta, Meta::Path(_)) {
        mark.parse_args_with(|input: ParseStream<'_>| keys::each(input, &mut take))?;
    }
    Ok(marked)
}

/// An open question of an action can be given up, and nothing else is.
fn check_later(kind: Kind, later: Option<&Ident>, give_up: Option<&Ident>) -> Result<()> {
    match (later, give_up) {
        (Some(later), None) if kind.is_action() => Err(Error::new(
            later.span(),
            "an action that answers later names the method that gives its open question up: write \
             `#[action(later, give_up = withdraw)]`, and \
             `async fn withdraw(&self, tx: &mut Tx<'_>, key: &IdempotencyKey) -> Result<GiveUp<R>, HandlerError>`",
        )),
        (None, Some(give_up)) => Err(Error::new(
            give_up.span(),
            "only an action that answers later leaves a question open that can be given up: write \
             `#[action(later, give_up = ..)]`, or leave `give_up` out",
        )),
        (Some(_) | None, _) => Ok(()),
    }
}

/// `of = charge`, or `of = [charge, charge_card]`.
fn actions(key: &Ident, input: ParseStream<'_>) -> Result<Vec<Ident>> {
    if input.peek(Token![=]) && input.peek2(token::Bracket) {
        input.parse::<Token![=]>()?;
        let list;
        bracketed!(list in input);
        let names: Punctuated<Ident, Token![,]> = list.call(Punctuated::parse_terminated)?;
        return Ok(names.into_iter().collect());
    }
    Ok(vec![keys::value(key, input, "charge")?])
}

/// The command that a handler takes, if its signature is that of a handler.
fn command(kind: Kind, signature: &Signature) -> Result<Type> {
    let wrong = |span: Span, problem: &str| {
        let mark = kind.mark();
        Error::new(span, format!("{problem}; `#[{mark}]` stands above `{}`", kind.signature()))
    };
    if signature.asyncness.is_none() {
        return Err(wrong(signature.fn_token.span, "a handler is an `async fn`"));
    }
    let is_lifetime = |parameter: &GenericParam| matches!(parameter, GenericParam::Lifetime(_));
    if let Some(parameter) = signature.generics.params.iter().find(|parameter| !is_lifetime(parameter)) {
        return Err(wrong(
            parameter.span(),
            "a handler has no type parameters, since it handles one command",
        ));
    }
    let at_parentheses = signature.paren_token.span.join();
    let mut arguments = signature.inputs.iter();
    let receiver = arguments.next();
    if !receiver.is_some_and(is_shared_self) {
        let span = receiver.map_or(at_parentheses, Spanned::span);
        return Err(wrong(
            span,
            "a handler takes `&self` first, since a service handles many commands at once",
        ));
    }
    let context = arguments.next();
    if !context.is_some_and(|argument| typed(argument).is_some_and(|of| is_context(of, kind))) {
        let span = context.map_or(at_parentheses, Spanned::span);
        let problem = match kind {
            Kind::RepeatedAction => {
                "a handler that may run again has no transaction: it takes what came with the command second, as \
                 `received: &Received`"
            }
            _ => "a handler takes the transaction second, as `tx: &mut Tx<'_>`",
        };
        return Err(wrong(span, problem));
    }
    let Some(taken) = arguments.next().and_then(typed) else {
        let before = if kind == Kind::RepeatedAction { "what came with it" } else { "the transaction" };
        return Err(wrong(at_parentheses, &format!("a handler takes a command after {before}")));
    };
    if let Some(surplus) = arguments.next() {
        return Err(wrong(surplus.span(), "a handler takes nothing after the command"));
    }
    if matches!(signature.output, ReturnType::Default) {
        return Err(wrong(signature.ident.span(), "a handler says what became of the command"));
    }
    let of_set = argument_of(taken, "Vec").and_then(|member| argument_of(member, "Keyed"));
    match (kind.is_set(), of_set) {
        (true, Some(command)) => Ok(command.clone()),
        (false, None) => Ok(taken.clone()),
        (is_set, _) => {
            let takes = if is_set { "a set, as `Vec<Keyed<C>>`" } else { "one command" };
            let (mark, other) = (kind.mark(), kind.counterpart().mark());
            Err(wrong(taken.span(), &format!("`#[{mark}]` takes {takes}; the mark for this is `#[{other}]`")))
        }
    }
}

fn is_shared_self(argument: &FnArg) -> bool {
    matches!(argument, FnArg::Receiver(Receiver { reference: Some(_), mutability: None, .. }))
}

fn typed(argument: &FnArg) -> Option<&Type> {
    match argument {
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}

/// Returns true if a handler of this kind takes such a thing before the command.
fn is_context(of: &Type, kind: Kind) -> bool {
    let Type::Reference(reference) = of else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    let is_shared = kind == Kind::RepeatedAction;
    reference.mutability.is_some() != is_shared
        && path.path.segments.last().is_some_and(|last| last.ident == kind.context())
}

/// `C` of a type that is written as `wrapper<C>`.
fn argument_of<'t>(of: &'t Type, wrapper: &str) -> Option<&'t Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(argument)) if arguments.args.len() == 1 => Some(argument),
        _ => None,
    }
}
