//! The directory that installed servers live in.
//!
//! It is shared by all projects and processes of a user. As root it lies outside `/root`, because the user
//! who runs Postgres must be able to read it.

use std::env;
use std::path::{Path, PathBuf};

use crate::run_as::is_root;

/// The variable that names the cache directory.
pub(crate) const VARIABLE: &str = "REDRESS_CACHE";

/// Where installed servers live; the error says why there is no such place.
pub(crate) fn directory() -> Result<PathBuf, String> {
    choose(is_root(), |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn choose(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, String> {
    if let Some(dir) = variable(VARIABLE) {
        return std::path::absolute(&dir).map_err(|error| format!("{VARIABLE}={}: {error}", dir.display()));
    }
    if root {
        return Ok(Path::new("/var/cache/redress").to_owned());
    }
    // The XDG specification has relative paths ignored.
    let absolute = |name| variable(name).filter(|dir: &PathBuf| dir.is_absolute());
    absolute("XDG_CACHE_HOME")
        .map(|dir| dir.join("redress"))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/redress")))
        .ok_or_else(|| format!("no cache directory: none of {VARIABLE}, XDG_CACHE_HOME and HOME is set"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::choose;

    fn chosen(root: bool, set: &[(&str, &str)]) -> Result<String, String> {
        choose(root, |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
            .map(|dir| dir.display().to_string())
    }

    #[test]
    fn cache_directory_is_variable_then_root_then_xdg_then_home() {
        let xdg = ("XDG_CACHE_HOME", "/x");
        let home = ("HOME", "/home/ada");
        assert_eq!(chosen(false, &[("REDRESS_CACHE", "/c"), xdg, home]).unwrap(), "/c");
        assert_eq!(chosen(true, &[xdg, home]).unwrap(), "/var/cache/redress");
        assert_eq!(chosen(false, &[xdg, home]).unwrap(), "/x/redress");
        assert_eq!(
            chosen(false, &[("XDG_CACHE_HOME", "relative"), home]).unwrap(),
            "/home/ada/.cache/redress"
        );
        assert!(chosen(false, &[]).unwrap_err().contains("HOME"));
    }
}
