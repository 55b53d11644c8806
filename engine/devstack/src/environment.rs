//! The environment of our child processes.
//!
//! They get only the variables that they need. The environment of the caller may hold secrets (tokens, `DATABASE_URL`),
//! which are not for another user's process to read, and settings that are meant for other servers (`PGOPTIONS`,
//! `PGDATA`). A server finds its libraries; pip finds its index, its proxy and its certificates.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Where programs and their libraries are, for every child.
const PLACES: &[&str] = &["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "TZ"];
/// The home directory of the user; the child of another user is given that user's home.
const HOME: &str = "HOME";
/// The variables that pip needs besides: writable places, the way out of this network, and trusted certificates.
const OF_PIP: &[&str] = &[
    "TMPDIR",
    "USER",
    "LOGNAME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "NETRC",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "VIRTUAL_ENV",
];
/// Prefixes of pip's and Python's own variables (and of the one that chooses between several Pythons).
const PREFIXES_OF_PIP: &[&str] = &["PIP_", "PYTHON", "PYENV_"];

/// The environment of a server, or of a tool that makes or guards one; `home` is that of another user, if it runs as one.
pub(crate) fn of_server(command: &mut Command, home: Option<&Path>) {
    // Logs are read for known messages, so they are in English.
    pass(command, |name| PLACES.contains(&name)).env("LC_ALL", "C");
    match home {
        Some(home) => command.env(HOME, home),
        None => command.envs(env::var_os(HOME).map(|home| (HOME, home))),
    };
}

/// The environment of pip.
pub(crate) fn of_pip(command: &mut Command) {
    let is_own = |name: &str| PREFIXES_OF_PIP.iter().any(|prefix| name.starts_with(prefix));
    let is_language = |name: &str| name == "LANG" || name.starts_with("LC_");
    pass(command, |name| {
        name == HOME || PLACES.contains(&name) || OF_PIP.contains(&name) || is_own(name) || is_language(name)
    });
}

/// Removes every variable from a command's environment but those that are passed on.
fn pass(command: &mut Command, passes: impl Fn(&str) -> bool) -> &mut Command {
    command.env_clear();
    command.envs(env::vars_os().filter(|(name, _)| OsStr::to_str(name).is_some_and(&passes)))
}

/// The options of the caller's shell for connections of this process, which no address can take back.
pub(crate) fn options_of_connections() -> Option<&'static str> {
    const NAME: &str = "PGOPTIONS";
    env::var_os(NAME).filter(|value| !value.is_empty()).map(|_| NAME)
}
