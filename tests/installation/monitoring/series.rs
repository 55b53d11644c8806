//! A text of metrics, read; and the selectors of an expression, held against it.

use std::collections::BTreeMap;

use promql_parser::label::Matchers;
use promql_parser::parser::{Expr, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};

/// One line of a text of metrics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Every series of a text, and nothing that is none.
pub(crate) fn read(text: &str) -> Vec<Series> {
    text.lines().filter(|line| !line.starts_with('#')).map(read_line).collect()
}

fn read_line(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("labels have no end: {line}"));
    let labels = labels.split_terminator("\",").map(|label| {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Series { name: name.to_owned(), labels: labels.collect(), value }
}

/// The selectors of an expression as Grafana or Prometheus evaluates it.
pub(crate) fn selectors(expression: &str) -> Vec<VectorSelector> {
    struct Found(Vec<VectorSelector>);
    impl ExprVisitor for Found {
        type Error = std::convert::Infallible;

        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
            match expr {
                Expr::VectorSelector(selector) => self.0.push(selector.clone()),
                Expr::MatrixSelector(matrix) => self.0.push(matrix.vs.clone()),
                _ => {}
            }
            Ok(true)
        }
    }
    let expression = expression
        .replace("$__rate_interval", "1m")
        .replace("$__range", "1h")
        .replace("$saga", ".*")
        .replace("$service", ".*");
    let parsed = parse(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut found = Found(Vec::new());
    walk_expr(&mut found, &parsed).expect("looking does not fail");
    // A walk does not come to the end of a matrix selector twice.
    found.0.dedup_by(|a, b| a == b);
    found.0
}

/// Returns true if the selector finds this series.
pub(crate) fn finds(selector: &VectorSelector, series: &Series) -> bool {
    let Matchers { matchers, or_matchers } = &selector.matchers;
    assert!(or_matchers.is_empty(), "nothing here needs alternatives: {selector}");
    selector.name.as_ref().is_none_or(|name| *name == series.name)
        && matchers.iter().all(|matcher| {
            let value = series.labels.get(&matcher.name).map_or("", String::as_str);
            if matcher.name == "__name__" { matcher.is_match(&series.name) } else { matcher.is_match(value) }
        })
}

#[test]
fn selectors_are_found_wherever_they_stand() {
    let expression =
        r#"sum by (a) (rate(x_total{a="1"}[5m])) > 2 * max(y{b=~"p|q"}) unless on (a) absent(z)"#;
    let names: Vec<_> = selectors(expression).into_iter().filter_map(|selector| selector.name).collect();
    assert_eq!(names, ["x_total", "y", "z"]);
    let all = read("# TYPE y gauge\ny{a=\"1\",b=\"p\"} 3\ny{b=\"pq\"} 4\nz 1\n");
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].labels["b"].as_str(), all[2].labels.len(), all[1].value), ("p", 0, 4.0));
    let y = &selectors(expression)[1];
    assert_eq!(all.iter().map(|series| finds(y, series)).collect::<Vec<_>>(), [true, false, false]);
}
