//! Asks a server binary for its version.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::environment;
use crate::run_as::RunAs;
use crate::server::Server;
use crate::version::Version;

/// Starts a binary with `--version`, as the user who will run it.
pub(crate) fn version_of(server: Server, path: &Path, run_as: Option<&RunAs>) -> Result<Version, String> {
    let ask = |program: &Path| {
        let mut command = Command::new(program);
        command.arg("--version").current_dir("/").stdin(Stdio::null());
        environment::of_server(&mut command, run_as.map(|user| user.home.as_path()));
        if let Some(user) = run_as {
            user.apply(&mut command);
        }
        let output = command.output().map_err(|error| match run_as {
            Some(user) => format!("user {} cannot start it: {error}", user.name),
            None => format!("cannot be started: {error}"),
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        Version::parse(&text).filter(|_| output.status.success()).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("--version says {:?} ({})", text.trim(), complaint.trim())
        })
    };
    if server == Server::Postgres {
        ask(&path.with_file_name("initdb")).map_err(|reason| format!("initdb beside it: {reason}"))?;
    }
    ask(path)
}
