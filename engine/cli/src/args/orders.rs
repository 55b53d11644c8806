//! Arguments of the operator's verbs.

use clap::Args;
use redress_core::{Name, SagaId};

use super::ApiArgs;

/// What every order says.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// The saga.
    pub(crate) id: SagaId,
    /// Why; goes into the history and the audit log.
    #[arg(long, default_value = "no reason given")]
    pub(crate) reason: String,
    /// Who; goes there too. Whoever is logged in here if not given.
    #[arg(long, env = "REDRESS_ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only if the saga still has this revision; the one that it has now if not given.
    #[arg(long)]
    pub(crate) revision: Option<i64>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

impl OrderArgs {
    /// Who gives the order: as was said, or the name of the login, or `cli` where nobody is logged in, as in a job.
    pub(crate) fn actor(&self) -> String {
        let login = || {
            ["USER", "LOGNAME"]
                .iter()
                .filter_map(|name| std::env::var(name).ok())
                .find(|name| !name.is_empty())
        };
        self.actor.clone().or_else(login).unwrap_or_else(|| "cli".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) order: OrderArgs,
    /// Only this step; all that wait or are parked if not given.
    #[arg(long)]
    pub(crate) step: Option<Name>,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    pub(crate) order: OrderArgs,
    /// The step whose outcome is known.
    #[arg(long)]
    pub(crate) step: Name,
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
    /// What the action replied, as JSON; only with --happened.
    #[arg(long, requires = "happened", default_value = "null")]
    pub(crate) reply: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct FindingArgs {
    /// Its action took effect.
    #[arg(long)]
    pub(crate) happened: bool,
    /// Its action took no effect.
    #[arg(long)]
    pub(crate) never_happened: bool,
    /// What it did was undone outside of the saga.
    #[arg(long)]
    pub(crate) compensated: bool,
}

impl FindingArgs {
    /// The word in HTTP.
    pub(crate) const fn as_str(&self) -> &'static str {
        match (self.happened, self.never_happened, self.compensated) {
            (true, _, _) => "happened",
            (_, true, _) => "never-happened",
            (_, _, _) => "compensated",
        }
    }
}
