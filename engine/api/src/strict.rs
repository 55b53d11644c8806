//! Refuses requests that give a value twice.
//!
//! Two values where one is meant are read by one hop as the first and by the next one as the last: neither is taken.

use std::collections::HashSet;

use axum::extract::Request;
use axum::http::{HeaderName, Version, header};

use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// Headers that hold one value each; of others, several lines are one list.
const SINGLE: [HeaderName; 9] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ORIGIN,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
];

/// Refuses a request that says something twice, or does not say which host it asks.
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if let Some(name) = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        let detail = format!("the header `{name}` is given twice; send it once");
        return Err(Problem::new(ProblemType::AmbiguousHeader, detail));
    }
    // HTTP/1.0 knows no `Host`.
    if request.version() == Version::HTTP_11 && !headers.contains_key(header::HOST) {
        let detail = "HTTP/1.1 wants a `Host` header";
        return Err(Problem::new(ProblemType::MissingHost, detail));
    }
    let mut names = HashSet::new();
    let query = request.uri().query().unwrap_or_default();
    match form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !names.insert(name.clone())) {
        None => Ok(()),
        Some((name, _)) => Err(Problem::new(
            ProblemType::AmbiguousQuery,
            format!(
                "`{}` is given twice; give it once",
                name.chars().take(NAME_CHARS_MAX).collect::<String>()
            ),
        )),
    }
}

/// The longest name of a parameter that is repeated to the client, in characters: a few times that of any of ours.
const NAME_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn checked(uri: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match check(&request.body(Body::empty()).unwrap()) {
            Ok(()) => "fine".to_owned(),
            Err(problem) => serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap().to_owned(),
        }
    }

    #[test]
    fn duplicate_header_or_parameter_is_refused_by_name() {
        let host = ("host", "localhost");
        assert_eq!(checked("/", &[host]), "fine");
        assert_eq!(checked("/?a=1&b=1&c", &[host, ("accept", "a"), ("accept", "b")]), "fine");
        assert_eq!(checked("/", &[host, host]), "the header `host` is given twice; send it once");
        assert_eq!(checked("/", &[]), "HTTP/1.1 wants a `Host` header");
        for name in SINGLE {
            let twice = [host, (name.as_str(), "a"), (name.as_str(), "a")];
            assert_eq!(checked("/", &twice), format!("the header `{name}` is given twice; send it once"));
        }
        assert_eq!(checked("/?q=a&q=a", &[host]), "`q` is given twice; give it once");
        assert_eq!(checked("/?q=a&%71=b", &[host]), "`q` is given twice; give it once");
        assert_eq!(checked("/?verbose&verbose", &[host]), "`verbose` is given twice; give it once");
    }
}
