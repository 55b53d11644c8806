//! The addresses of the servers, and the credentials of this program.
//!
//! `NATS_URL` may name several servers of one cluster, separated by commas. The credentials are taken out of the
//! addresses before the client library sees them: it writes addresses to the log as they are.

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};

use crate::connect_error::ConnectError;

/// Servers of one cluster, and the credentials for all of them.
#[derive(Clone)]
pub(crate) struct Servers {
    addresses: Vec<ServerAddr>,
    credentials: Credentials,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Credentials {
    None,
    Token(String),
    Password { user: String, password: String },
}

/// Without the credentials.
impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.addresses.iter().map(ServerAddr::as_url_str)).finish()
    }
}

impl Servers {
    /// Reads `nats://user:password@one:4222,nats://user:password@other:4222`; an address without credentials uses those
    /// of the others.
    pub(crate) fn read(text: &str) -> Result<Self, ConnectError> {
        let (mut addresses, mut credentials) = (Vec::new(), Credentials::None);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let address: ServerAddr = part.parse().map_err(|_| ConnectError::Url)?;
            let own = match (address.username(), address.password()) {
                (Some(user), Some(password)) => {
                    Credentials::Password { user: decoded(user), password: decoded(password) }
                }
                (Some(token), None) => Credentials::Token(decoded(token)),
                (None, _) => Credentials::None,
            };
            if own != Credentials::None {
                if credentials != Credentials::None && credentials != own {
                    return Err(ConnectError::DifferentCredentials);
                }
                credentials = own;
            }
            let mut url = address.into_inner();
            if url.host_str().is_none_or(str::is_empty) {
                return Err(ConnectError::Url);
            }
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| ConnectError::Url)?;
            addresses.push(ServerAddr::from_url(url).map_err(|_| ConnectError::Url)?);
        }
        if addresses.is_empty() { Err(ConnectError::Url) } else { Ok(Self { addresses, credentials }) }
    }

    pub(crate) fn addresses(&self) -> Vec<ServerAddr> {
        self.addresses.clone()
    }

    pub(crate) fn sign_in(&self, options: ConnectOptions) -> ConnectOptions {
        match self.credentials.clone() {
            Credentials::None => options,
            Credentials::Token(token) => options.token(token),
            Credentials::Password { user, password } => options.user_and_password(user, password),
        }
    }
}

/// Percent-encoding undone, as credentials in a URL are encoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = if first == b'%' { tail.get(..2).and_then(hex) } else { None };
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded() {
        for (text, plain) in [("user", "user"), ("p%40ss%2fw", "p@ss/w"), ("100%", "100%"), ("%zz", "%zz")] {
            assert_eq!(decoded(text), plain);
        }
    }

    #[test]
    fn server_list_is_read_without_credentials() {
        let servers = Servers::read("nats://me:p%40ss@one:4222, tls://me:p%40ss@two:4333,three").unwrap();
        let password = Credentials::Password { user: "me".to_owned(), password: "p@ss".to_owned() };
        assert_eq!(servers.credentials, password);
        let shown = format!("{servers:?}");
        assert_eq!(shown, r#"["nats://one:4222", "tls://two:4333", "nats://three"]"#);
        let servers = Servers::read("nats://t0ken@one").unwrap();
        assert_eq!(servers.credentials, Credentials::Token("t0ken".to_owned()));
    }

    #[test]
    fn unusable_url_is_refused_without_its_secrets() {
        for (text, wanted) in [
            ("", "unusable"),
            (",", "unusable"),
            ("nats://[", "unusable"),
            ("http://me:secret@one", "unusable"),
            ("nats://me:secret@one,nats://you:secret@two", "different credentials"),
        ] {
            let error = Servers::read(text).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
