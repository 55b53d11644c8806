//! `redress new`: writes a project to begin with.
//!
//! The files are those of `templates/`; `tests/users/new_project.rs` makes a project of them, builds it and runs its tests. All
//! of them are written into a hidden folder beside the project's place, which is renamed once it is whole: a project is
//! there with all of its files or not at all. The hidden folder is removed whatever happens, short of a kill.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use redress_core::Name;
use serde_json::json;
use thiserror::Error;

use crate::args::Output;
use crate::failure::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Name of the project: of its folder, which is made here, of its package and its binary.
    pub(crate) name: String,
    /// Depend on a checkout of Redress instead of the released crates.
    #[arg(long, value_name = "CHECKOUT")]
    pub(crate) path: Option<PathBuf>,
}

/// The files of a project by their path in it. `{{name}}`, `{{redress}}` and `{{testkit}}` are filled in; a file whose
/// name means something to Cargo or Git has another name where it waits.
const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("../../templates/Cargo.toml.template")),
    (".gitignore", include_str!("../../templates/gitignore.template")),
    ("README.md", include_str!("../../templates/README.md.template")),
    ("build.rs", include_str!("../../templates/build.rs")),
    ("docker-compose.yml", include_str!("../../templates/docker-compose.yml")),
    ("migrations/0001_warehouse.sql", include_str!("../../templates/migrations/0001_warehouse.sql")),
    ("src/main.rs", include_str!("../../templates/main.rs")),
    ("src/contracts.rs", include_str!("../../templates/contracts.rs")),
    ("src/saga.rs", include_str!("../../templates/saga.rs")),
    ("src/service.rs", include_str!("../../templates/service.rs")),
];

/// Names that Cargo refuses for a package, or that a package of the project has already.
const RESERVED: [&str; 54] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "use",
];

/// A project could not be made. Nothing of it is there.
#[derive(Debug, Error)]
enum NewError {
    #[error(transparent)]
    Name(<Name as FromStr>::Err),
    #[error("Cargo takes no package named `{0}`: the word has a meaning of its own")]
    Reserved(String),
    #[error("`{0}` is a crate that the project depends on")]
    Dependency(String),
    #[error("`{0}` exists already")]
    Exists(String),
    #[error("`{checkout}` is no checkout of Redress: it has no `{missing}`")]
    Checkout { checkout: String, missing: &'static str },
    #[error("the path of the checkout is not UTF-8, and a Cargo.toml is")]
    Encoding,
    #[error("`{0}` could not be written")]
    Write(String, #[source] io::Error),
}

impl NewError {
    /// With its exit code and its remedy.
    fn into_failure(self) -> Failure {
        let (code, remedy) = match &self {
            Self::Name(_) => return Failure::new(2, self),
            Self::Reserved(_) | Self::Dependency(_) => (2, "another name"),
            Self::Exists(_) => (6, "another name, or move it away"),
            Self::Checkout { .. } => (2, "--path with the folder that holds README.md and engine"),
            Self::Encoding => (2, "move the checkout"),
            Self::Write(..) => (1, "look at the folder's rights, and at the room on its disk"),
        };
        Failure::new(code, self).remedy(remedy)
    }
}

pub(crate) fn run(args: &NewArgs, output: Output) -> Result<Exit, Failure> {
    let project = Project::of(args).map_err(NewError::into_failure)?;
    project.write(Path::new("."), &FILES).map_err(NewError::into_failure)?;
    let name = &project.name;
    render::print(output, &json!({ "project": name.as_str() }), |_| {
        format!("{name} is written\n\n  cd {name}\n  cargo test\n  cargo run -- demo --exit")
    });
    Ok(Exit::Ok)
}

/// A project that is decided on and not written yet.
#[derive(Debug)]
struct Project {
    name: Name,
    /// What stands behind `redress =` and `redress-testkit =` in its manifest.
    redress: String,
    testkit: String,
}

impl Project {
    fn of(args: &NewArgs) -> Result<Self, NewError> {
        let name = Name::new(&args.name).map_err(NewError::Name)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(NewError::Reserved(args.name.clone()));
        }
        let dependency =
            |manifest: &str| manifest.lines().any(|line| line.starts_with(&format!("{name} = ")));
        if dependency(FILES[0].1) {
            return Err(NewError::Dependency(args.name.clone()));
        }
        let (redress, testkit) = match &args.path {
            None => (released(), released()),
            Some(checkout) => (crate_in(checkout, "engine")?, crate_in(checkout, "engine/testkit")?),
        };
        Ok(Self { name, redress, testkit })
    }

    /// Writes its files below `place`, all or none.
    fn write(&self, place: &Path, files: &[(&str, &str)]) -> Result<(), NewError> {
        let name = self.name.as_str();
        let target = place.join(name);
        let exists = || NewError::Exists(name.to_owned());
        let failed = |error| NewError::Write(name.to_owned(), error);
        // A link that leads nowhere is something, too.
        if fs::symlink_metadata(&target).is_ok() {
            return Err(exists());
        }
        let hidden =
            tempfile::Builder::new().prefix(&format!(".{name}.")).tempdir_in(place).map_err(failed)?;
        let whole = hidden.path().join(name);
        for (file, text) in files {
            let path = whole.join(file);
            let folder = path.parent().expect("a file of a project stands in a folder");
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, self.fill(text)));
            written.map_err(|error| NewError::Write(format!("{name}/{file}"), error))?;
        }
        fs::rename(&whole, &target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => exists(),
            _ => failed(error),
        })
    }

    fn fill(&self, text: &str) -> String {
        let name = text.replace("{{name}}", &self.name);
        name.replace("{{redress}}", &self.redress).replace("{{testkit}}", &self.testkit)
    }
}

/// The requirement that takes the released crate of this program's version.
fn released() -> String {
    format!("\"{}\"", env!("CARGO_PKG_VERSION"))
}

/// The requirement that takes the crate in a folder of a checkout.
fn crate_in(checkout: &Path, folder: &'static str) -> Result<String, NewError> {
    let shown = || checkout.display().to_string();
    let is_missing = || NewError::Checkout { checkout: shown(), missing: folder };
    let path = std::path::absolute(checkout.join(folder)).map_err(|_| is_missing())?;
    if !path.join("Cargo.toml").is_file() {
        return Err(is_missing());
    }
    // A JSON string is a string of TOML as well.
    Ok(format!("{{ path = {} }}", json!(path.to_str().ok_or(NewError::Encoding)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, checkout: Option<&str>) -> String {
        let args = NewArgs { name: name.to_owned(), path: checkout.map(PathBuf::from) };
        Project::of(&args).expect_err("it is refused").to_string()
    }

    fn project(name: &str) -> Project {
        Project::of(&NewArgs { name: name.to_owned(), path: None }).unwrap()
    }

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn project_name_that_cargo_cannot_take_is_refused() {
        let refusals =
            ["First", "../escape", "", "fn", "std", "redress", "serde"].map(|it| refusal(it, None));
        insta::assert_snapshot!(refusals.join("\n"), @"
        `First` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
        `../escape` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
        `` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
        Cargo takes no package named `fn`: the word has a meaning of its own
        Cargo takes no package named `std`: the word has a meaning of its own
        `redress` is a crate that the project depends on
        `serde` is a crate that the project depends on
        ");
    }

    #[test]
    fn checkout_without_crates_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let said = refusal("mine", empty.path().to_str());
        assert!(said.ends_with("is no checkout of Redress: it has no `engine`"), "{said}");
    }

    #[test]
    fn released_crates_are_those_of_this_version() {
        let manifest = project("mine").fill(FILES[0].1);
        let version = env!("CARGO_PKG_VERSION");
        assert!(manifest.contains(&format!("\nredress = \"{version}\"\n")), "{manifest}");
        assert!(!manifest.contains("{{"), "{manifest}");
    }

    #[test]
    fn existing_entry_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("empty")).unwrap();
        fs::write(place.path().join("file"), "mine").unwrap();
        std::os::unix::fs::symlink("nowhere", place.path().join("link")).unwrap();
        for name in ["empty", "file", "link"] {
            let error = project(name).write(place.path(), &FILES).unwrap_err();
            assert_eq!(error.to_string(), format!("`{name}` exists already"));
        }
        assert_eq!(names(place.path()).len(), 3);
        assert_eq!(names(&place.path().join("empty")), Vec::<String>::new());
        assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "mine");
    }

    #[test]
    fn failed_write_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let impossible = [("Cargo.toml", ""), ("Cargo.toml/below", "")];
        let error = project("mine").write(place.path(), &impossible).unwrap_err();
        assert!(matches!(error, NewError::Write(..)), "{error}");
        assert_eq!(names(place.path()), Vec::<String>::new());
    }
}
