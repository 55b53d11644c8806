//! A workspace that looks like this one and has one member more: a package of a user's.
//!
//! Its other members are links to those of the checkout, and it is built where the workspace is, so that what is built
//! already is not built again. A workspace of its own, which the package is for its users, would build the engine once
//! more; so would a package that asks for fewer features of a shared crate than all members together. One more member
//! asks for all of them, and the package depends on it without knowing any of its crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Entries of the checkout that such a workspace has no link to: its own ones, and the style of our sources.
const OWN: [&str; 5] = ["target", ".git", "Cargo.toml", "Cargo.lock", ".rustfmt.toml"];

/// The member that asks for all features.
const FEATURES: &str = "features-of-all-members";

/// Held by the one workspace that may be built: they share a target folder, in which the crates of each replace those of
/// the others.
static BUILDING: Mutex<()> = Mutex::new(());

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace").to_owned()
}

/// The workspace; it is removed with this.
pub(crate) struct Lookalike {
    folder: tempfile::TempDir,
    member: &'static str,
    _building: MutexGuard<'static, ()>,
}

impl Lookalike {
    /// A workspace with this member, whose files are still to be written.
    pub(crate) fn with(member: &'static str) -> Self {
        let building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path();
        // A private Postgres of root runs as another user, who must come to its data.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        for entry in fs::read_dir(root()).expect("a readable folder").flatten() {
            let name = entry.file_name();
            if !OWN.iter().any(|other| name == *other) {
                symlink(entry.path(), place.join(name)).expect("a link");
            }
        }
        let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
        let members = format!("\nmembers = [\"{member}\", \"{FEATURES}\", ");
        let manifest = replaced(&manifest, "\nmembers = [", &members);
        fs::write(place.join("Cargo.toml"), manifest).expect("a file");
        fs::copy(root().join("Cargo.lock"), place.join("Cargo.lock")).expect("the lock file");
        fs::create_dir_all(place.join(FEATURES).join("src")).expect("a folder");
        fs::write(place.join(FEATURES).join("src/lib.rs"), "").expect("a file");
        fs::write(place.join(FEATURES).join("Cargo.toml"), all_features()).expect("a file");
        Self { folder, member, _building: building }
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The member's folder.
    pub(crate) fn member(&self) -> PathBuf {
        self.folder().join(self.member)
    }

    /// The manifest of a package that is a workspace of its own, as that of a member.
    pub(crate) fn adopted(manifest: &str) -> String {
        let manifest = replaced(manifest, "\n[workspace]\n", "\n");
        let with_features = format!("\n[dependencies]\n{FEATURES} = {{ path = \"../{FEATURES}\" }}\n");
        replaced(&manifest, "\n[dependencies]\n", &with_features)
    }

    /// Runs commands in the member's folder: offline, and with what was built already.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_redress")).parent().expect("a folder of the profile");
        let mut bash = Command::new("bash");
        bash.current_dir(self.member()).args(["-euo", "pipefail", "-c", script]);
        // Some build scripts run anew if these change, and Cargo sets them for the test that this is.
        let of_test = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        for (name, _) in std::env::vars().filter(|(name, _)| of_test.iter().any(|it| name.starts_with(it))) {
            bash.env_remove(name);
        }
        bash.env("CARGO_TARGET_DIR", built.parent().expect("the target folder"));
        bash.env("CARGO_NET_OFFLINE", "true");
        bash
    }
}

/// The manifest of a package that depends on all that any member depends on, in its tests too.
fn all_features() -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let metadata: Value = serde_json::from_str(&succeed(&mut cargo)).expect("JSON");
    let members = metadata["packages"].as_array().expect("the members");
    let all = members.iter().flat_map(|member| member["dependencies"].as_array().expect("a list"));
    let mut crates: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
    // Members of ours among them bring nothing that is not listed anyway.
    for asked in all.filter(|asked| asked["path"].is_null()) {
        let of_crate = format!("{} = {{ version = {}", asked["name"], asked["req"]);
        let (with_default, features) = crates.entry(of_crate).or_default();
        *with_default |= asked["uses_default_features"].as_bool().expect("yes or no");
        features.extend(asked["features"].as_array().expect("a list").iter().map(Value::to_string));
    }
    let head =
        format!("[package]\nname = \"{FEATURES}\"\nedition = \"2024\"\npublish = false\n[dependencies]\n");
    let lines = crates.into_iter().map(|(of_crate, (with_default, features))| {
        let features = features.into_iter().collect::<Vec<_>>().join(", ");
        format!("{of_crate}, default-features = {with_default}, features = [{features}] }}\n")
    });
    std::iter::once(head).chain(lines).collect()
}

/// The text with one part replaced, which must be there.
fn replaced(text: &str, part: &str, by: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "{part}");
    text.replacen(part, by, 1)
}

/// Runs a command, which must go well, and gives its output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{said}\n{errors}");
    said.into_owned()
}
