//! The findings on private servers for `redress doctor`.

use crate::cache;
use crate::discover::{CheckResult, Subject, Verdict, search};
use crate::install;
use crate::run_as::unprivileged;
use crate::server::Server;

/// Looks at everything that a private stack would need, and changes nothing.
///
/// Starts each server binary that it finds with `--version`, so it takes some ten milliseconds and blocks.
/// A server without a finding of [`Verdict::Used`] would be installed at the first start.
pub fn inspect() -> Vec<CheckResult> {
    let cache = cache::directory();
    let run_as = unprivileged();
    let user = run_as.as_ref().ok().and_then(Option::as_ref);

    let mut findings = Vec::new();
    for server in [Server::Postgres, Server::Nats] {
        findings.extend(search(server, user, cache.as_deref().map_err(String::as_str)).findings);
    }
    findings.push(match &cache {
        Ok(dir) => {
            finding(Subject::Cache, &dir.display().to_string(), Verdict::Used, "for installed servers")
        }
        Err(reason) => finding(Subject::Cache, cache::VARIABLE, Verdict::Absent, reason),
    });
    findings.push(match install::python() {
        Ok(python) => {
            let pins = [Server::Postgres, Server::Nats]
                .map(|server| format!("{server} {}", install::pin(server).version));
            let detail = format!("would install {}", pins.join(" or "));
            finding(Subject::Installer, &format!("{python} -m pip"), Verdict::Used, &detail)
        }
        Err(reason) => finding(Subject::Installer, "pip", Verdict::Absent, &reason),
    });
    findings.push(match &run_as {
        Ok(Some(user)) => {
            finding(Subject::User, &user.name, Verdict::Used, "runs Postgres, which refuses root")
        }
        Ok(None) => finding(Subject::User, "the current user", Verdict::Used, "runs Postgres"),
        Err(error) => finding(Subject::User, "root", Verdict::Broken, &error.to_string()),
    });
    findings
}

fn finding(subject: Subject, place: &str, verdict: Verdict, detail: &str) -> CheckResult {
    CheckResult { subject, place: place.to_owned(), verdict, detail: detail.to_owned() }
}
