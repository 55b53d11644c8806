//! Which database, where, and as which user: everything of a URL but its password.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

use crate::error::{DatabaseError, Fault};
use crate::location::Location;
use crate::sessions::Sessions;

/// A database that is to be used.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) options: PgConnectOptions,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`DatabaseError`] if it is none. The text of the URL is not repeated: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, DatabaseError> {
        let unknown = || Location { database: "?".to_owned(), server: "?".to_owned(), user: "?".to_owned() };
        let options = PgConnectOptions::from_str(url)
            .map_err(|source| DatabaseError::new(Fault::Url, unknown(), Some(source)))?;
        Ok(Self { options })
    }

    /// The address as a message may show it.
    pub fn location(&self) -> Location {
        let user = self.options.get_username().to_owned();
        let server = match self.options.get_socket() {
            Some(socket) => format!("{}, port {}", socket.display(), self.options.get_port()),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        };
        // As the server does it.
        let database = self.options.get_database().unwrap_or(&user).to_owned();
        Location { database, server, user }
    }

    /// The same server and user, another database.
    pub(crate) fn beside(&self, database: &str) -> Self {
        Self { options: self.options.clone().database(database) }
    }

    /// The options to connect with these settings, which last as long as a session: not those that the URL itself
    /// gives, and none at all if others use the session too.
    pub fn connect_options(&self, sessions: Sessions, settings: &[(&str, &str)]) -> PgConnectOptions {
        match sessions {
            Sessions::Own => {
                let given = self.options.get_options().unwrap_or_default().to_owned();
                let ours = settings.iter().filter(|(name, _)| !given.contains(&format!("{name}=")));
                self.options.clone().options(ours.map(|(name, value)| (*name, *value)))
            }
            // A pooler may refuse settings that it does not track; we read no floats as text.
            Sessions::Shared => self.options.clone().extra_float_digits(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_names_all_but_password() {
        let target =
            Target::parse("postgres://app:s3cret@db.example:6543/my%20shop?sslmode=disable").unwrap();
        assert_eq!(
            target.location().to_string(),
            "database `my shop` at db.example:6543 as user `app`",
            "decoded, and without the password"
        );
        let wrong = Target::parse("postgres://app:s3cret@db.example:port/x").unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("s3cret"), "{wrong:?}");
    }

    #[test]
    fn url_setting_wins_over_ours() {
        let target = Target::parse("postgres://app@h/x?options=-c%20jit%3Don").unwrap();
        let options = target.connect_options(Sessions::Own, &[("jit", "off"), ("enable_seqscan", "off")]);
        assert_eq!(options.get_options(), Some("-c jit=on -c enable_seqscan=off"));
        let shared = target.connect_options(Sessions::Shared, &[("enable_seqscan", "off")]);
        assert_eq!(shared.get_options(), Some("-c jit=on"));
    }
}
