//! Who may ask.
//!
//! Without a token the API is for this machine alone: a page in a browser that was led here by a name of its own
//! (DNS rebinding) is told apart by its `Host`, one that posts across sites by `Sec-Fetch-Site` or `Origin`. With a
//! token every request but the probes must bear it.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Api;
use crate::problem::Problem;

/// Who may ask.
#[derive(Clone)]
pub enum Access {
    /// Anybody on this machine.
    Loopback,
    /// Whoever bears this token.
    Token(String),
}

/// Without the secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "Loopback",
            Self::Token(_) => "Token(..)",
        })
    }
}

pub(crate) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    match refusal(&api.access, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(access: &Access, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    if matches!(request.uri().path(), "/livez" | "/readyz") {
        return None;
    }
    match access {
        Access::Token(token) if bears(headers, token) => {}
        Access::Token(_) => {
            let problem = Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A token is needed",
                "send `Authorization: Bearer <token>` with the token that the coordinator was started with",
            );
            return Some(
                problem.header(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer")),
            );
        }
        Access::Loopback if is_local(headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?"))) => {}
        Access::Loopback => {
            return Some(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "foreign-host",
                "This API is for this machine",
                "ask for it as localhost or 127.0.0.1",
            ));
        }
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    (!safe && is_cross_site(headers)).then(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "Another site may not change anything here",
            "the request came from a page of another origin",
        )
    })
}

/// Compares in a time that does not tell where the first difference is.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, given)| given);
    let differences = given.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    differences == 0 && given.len() == token.len() && !token.is_empty()
}

fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split("://").nth(1) != Some(host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn asked(access: &Access, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let problem = refusal(access, &request.body(Body::empty()).unwrap());
        problem.map_or(200, |problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn on_loopback_only_this_machine_may_ask() {
        for (method, headers, status) in [
            ("GET", &[("host", "127.0.0.1:8080")][..], 200),
            ("GET", &[("host", "localhost")], 200),
            ("GET", &[("host", "[::1]:80")], 200),
            ("GET", &[("host", "evil.example")], 421),
            ("GET", &[("host", "127.0.0.1.evil.example")], 421),
            ("POST", &[("host", "localhost:1"), ("origin", "http://localhost:1")], 200),
            ("POST", &[("host", "localhost:1"), ("origin", "https://evil.example")], 403),
            ("DELETE", &[("host", "localhost"), ("sec-fetch-site", "cross-site")], 403),
            ("POST", &[("host", "localhost"), ("sec-fetch-site", "same-origin")], 200),
        ] {
            assert_eq!(
                asked(&Access::Loopback, method, "/v1/sagas", headers),
                status,
                "{method} {headers:?}"
            );
        }
    }

    #[test]
    fn with_a_token_everybody_must_bear_it() {
        let access = Access::Token("secret".to_owned());
        for (path, header, status) in [
            ("/v1/sagas", "", 401),
            ("/v1/sagas", "Bearer secre", 401),
            ("/v1/sagas", "Bearer secrets", 401),
            ("/v1/sagas", "Basic secret", 401),
            ("/v1/sagas", "Bearer secret", 200),
            ("/v1/sagas", "bearer secret", 200),
            ("/nowhere", "", 401),
            ("/livez", "", 200),
        ] {
            assert_eq!(asked(&access, "GET", path, &[("authorization", header)]), status, "{path} {header}");
        }
    }
}
