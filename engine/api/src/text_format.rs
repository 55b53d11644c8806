//! The two text formats of metrics: OpenMetrics, and the older one of Prometheus for readers that know no other.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(crate) const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns true unless the client names the older format and nothing that OpenMetrics is.
pub(crate) fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    let named = |kind: &str| accept.contains(kind);
    named("application/openmetrics-text") || named("*/*") || !named("text/plain")
}

/// The same in the older format: there the type of a counter stands under the name of its series, an info is a gauge, and
/// units and the end are not said.
pub(crate) fn to_plain_text(open_metrics: &str) -> String {
    let of_type = |kind: &'static str| -> BTreeSet<&str> {
        let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.strip_suffix(kind)).collect()
    };
    let (counters, infos) = (of_type(" counter"), of_type(" info"));
    let mut plain = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let described = line
            .strip_prefix("# HELP ")
            .map(|rest| ("# HELP ", rest))
            .or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest)));
        match described.and_then(|(word, rest)| Some((word, rest.split_once(' ')?))) {
            Some((word, (family, rest))) => {
                let is_info = infos.contains(family);
                let suffix = if counters.contains(family) { "_total" } else { "" };
                let suffix = if is_info { "_info" } else { suffix };
                let rest = if is_info && word == "# TYPE " { "gauge" } else { rest };
                plain.extend([word, family, suffix, " ", rest, "\n"]);
            }
            None if line.starts_with('#') => {}
            None => plain.extend([line, "\n"]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_given_unless_only_the_older_format_is_taken() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let cases = [
            ("", true),
            ("*/*", true),
            (prometheus, true),
            ("text/html, */*", true),
            ("text/plain", false),
            ("text/plain;version=0.0.4", false),
        ];
        for (accept, open) in cases {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(takes_open_metrics(&headers), open, "{accept}");
        }
    }

    #[test]
    fn older_format_names_counters_as_their_series() {
        let open = "# HELP redress_build It.\n# TYPE redress_build info\nredress_build_info{version=\"1\"} 1\n\
                    # HELP redress_pruned Rows.\n# TYPE redress_pruned counter\nredress_pruned_total 3\n\
                    # HELP redress_age_seconds Age.\n# TYPE redress_age_seconds gauge\n# UNIT redress_age_seconds seconds\n\
                    redress_age_seconds 4\n# EOF\n";
        insta::assert_snapshot!(to_plain_text(open), @r#"
        # HELP redress_build_info It.
        # TYPE redress_build_info gauge
        redress_build_info{version="1"} 1
        # HELP redress_pruned_total Rows.
        # TYPE redress_pruned_total counter
        redress_pruned_total 3
        # HELP redress_age_seconds Age.
        # TYPE redress_age_seconds gauge
        redress_age_seconds 4
        "#);
    }
}
