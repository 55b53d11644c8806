//! The version that a server binary reports of itself.
//!
//! `postgres --version` and `nats-server --version` are authoritative; file and package names are not read.

use std::fmt;

/// Three numbers, compared from left to right.
///
/// Postgres has two of them (`15.18`); its third is zero and is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, which decides if data can be read.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// The patch level; zero where a server has none.
    pub patch: u32,
}

impl Version {
    /// A version from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    /// Reads the first version in `text`, the output of a server for `--version`.
    ///
    /// `None` when no word of it begins like a version. Suffixes such as `beta1` or `-RC.2` are cut off.
    pub fn parse(text: &str) -> Option<Version> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
            let mut numbers = word[..end].split('.');
            let major = numbers.next()?.parse().ok()?;
            let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
            Some(Version { major, minor: next(), patch: next() })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 { write!(f, ".{}", self.patch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn version_is_parsed_from_server_output() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(Version::new(15, 18, 0))),
            ("postgres (PostgreSQL) 19beta1", Some(Version::new(19, 0, 0))),
            ("nats-server: v2.15.1\n", Some(Version::new(2, 15, 1))),
            ("nats-server: v2.12.0-RC.2", Some(Version::new(2, 12, 0))),
            ("command not found", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(Version::parse(text), version, "{text:?}");
        }
    }

    #[test]
    fn version_is_compared_by_number_not_by_text() {
        assert!(Version::new(2, 10, 0) > Version::new(2, 9, 25));
        assert_eq!(Version::new(15, 18, 0).to_string(), "15.18");
        assert_eq!(Version::new(2, 15, 1).to_string(), "2.15.1");
    }
}
