//! Refuses the requests of clients that may not ask.
//!
//! Without a token the API is for this machine alone: a page in a browser that was led here by a name of its own
//! (DNS rebinding) is told apart by its `Host`, one that asks across sites by `Sec-Fetch-Site` or `Origin`, whatever the
//! method. With a token every request must bear it. Only probes answer strangers, in one word.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{Access, Trust};
use crate::door::Door;
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::routes::is_probe;
use crate::strict;

pub(crate) async fn check(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let refused = strict::check(&request).err().or_else(|| refusal(&door.access, &request));
    let trust = match refused {
        None => Trust::Full,
        Some(problem) if problem.is_of_access() && is_probe(request.uri().path()) => Trust::Stranger,
        Some(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(trust);
    next.run(request).await
}

fn refusal(access: &Access, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    match access {
        Access::Token(token) if bears(headers, token) => {}
        Access::Token(_) => {
            let problem = Problem::new(
                ProblemType::Unauthorized,
                "send `Authorization: Bearer <token>` with the token that the coordinator was started with",
            );
            return Some(
                problem.header(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer")),
            );
        }
        Access::Loopback if is_addressed_here(request) => {}
        Access::Loopback => {
            return Some(Problem::new(ProblemType::ForeignHost, "ask for it as localhost or 127.0.0.1"));
        }
    }
    (is_cross_site(headers) && !is_followed_link(request))
        .then(|| Problem::new(ProblemType::CrossSite, "the request came from a page of another origin"))
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

/// Returns true if its `Host` is this machine, and so is its target if that names one, which counts more then.
fn is_addressed_here(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    is_local(host) && is_local(request.uri().authority().map(|authority| authority.as_str()))
}

/// Returns true if a user has followed a link of another site and looks at the answer in a window of its own, where
/// that site cannot read it.
fn is_followed_link(request: &Request) -> bool {
    let says = |name: &str, word: &str| request.headers().get(name).is_some_and(|value| value == word);
    matches!(*request.method(), Method::GET | Method::HEAD)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
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

    const FOREIGN: (&str, &str) = ("sec-fetch-site", "cross-site");
    const NAVIGATED: (&str, &str) = ("sec-fetch-mode", "navigate");

    #[test]
    fn target_on_another_machine_is_refused() {
        for (target, status) in [("http://localhost:1/v1/sagas", 200), ("http://evil.example/v1/sagas", 421)]
        {
            assert_eq!(asked(&Access::Loopback, "GET", target, &[("host", "localhost")]), status, "{target}");
        }
    }

    #[test]
    fn loopback_access_is_for_this_machine_only() {
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
            ("GET", &[("host", "localhost"), ("sec-fetch-site", "cross-site")], 403),
            ("HEAD", &[("host", "localhost"), ("sec-fetch-site", "same-site")], 403),
            ("OPTIONS", &[("host", "localhost"), ("origin", "https://evil.example")], 403),
            ("GET", &[("host", "localhost"), ("origin", "null")], 403),
            ("GET", &[("host", "localhost"), FOREIGN, NAVIGATED, ("sec-fetch-dest", "document")], 200),
            ("GET", &[("host", "localhost"), FOREIGN, NAVIGATED, ("sec-fetch-dest", "iframe")], 403),
            ("GET", &[("host", "localhost"), FOREIGN, NAVIGATED], 403),
            ("POST", &[("host", "localhost"), FOREIGN, NAVIGATED, ("sec-fetch-dest", "document")], 403),
        ] {
            assert_eq!(
                asked(&Access::Loopback, method, "/v1/sagas", headers),
                status,
                "{method} {headers:?}"
            );
        }
    }

    #[test]
    fn token_is_required_of_every_client() {
        let access = Access::Token("secret".to_owned());
        for (path, header, status) in [
            ("/v1/sagas", "", 401),
            ("/v1/sagas", "Bearer secre", 401),
            ("/v1/sagas", "Bearer secrets", 401),
            ("/v1/sagas", "Basic secret", 401),
            ("/v1/sagas", "Bearer secret", 200),
            ("/v1/sagas", "bearer secret", 200),
            ("/nowhere", "", 401),
        ] {
            assert_eq!(asked(&access, "GET", path, &[("authorization", header)]), status, "{path} {header}");
        }
    }
}
