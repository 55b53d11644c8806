//! The results as a chart, in SVG: charges that were lost and doubled on the left, latencies on the right.
//!
//! All texts are ours and the numbers are numbers, so nothing in it needs an escape. The colours can be told apart by
//! those who do not see red and green, and lines have marks of different forms besides.

use std::fmt::Write as _;

use super::args::Experiment;
use super::books::money;
use super::guarantee::Guarantee;
use super::report::percent;
use super::timings::Latencies;
use super::trial::Outcome;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;
/// Top and bottom of the drawing areas.
const TOP: f64 = 96.0;
const BOTTOM: f64 = 330.0;
/// Left and right edge of the bars, and of the lines.
const BARS: (f64, f64) = (60.0, 450.0);
const LINES: (f64, f64) = (540.0, 930.0);
const BAR_WIDTH: f64 = 38.0;
const LOST: &str = "#d55e00";
const DOUBLED: &str = "#0072b2";
/// Lines across a drawing area.
const GRID_LINES: u32 = 4;

/// What the chart shows of one guarantee.
#[derive(Clone, Debug)]
struct Series {
    guarantee: Guarantee,
    lost: usize,
    doubled: usize,
    expected_cents: i64,
    found_cents: i64,
    latencies_ms: Vec<f64>,
}

impl Series {
    fn of(outcome: &Outcome) -> Self {
        let Outcome { guarantee, books, latencies, .. } = outcome;
        Self {
            guarantee: *guarantee,
            lost: books.lost().len(),
            doubled: books.doubled().len(),
            expected_cents: books.expected_cents(),
            found_cents: books.found_cents(),
            latencies_ms: Latencies::PERCENTILES.iter().map(|(_, at)| latencies.ms(*at)).collect(),
        }
    }
}

/// The chart of an experiment.
pub(super) fn svg(experiment: &Experiment, outcomes: &[Outcome]) -> String {
    let series: Vec<Series> = outcomes.iter().map(Series::of).collect();
    let Experiment { charges, faults, .. } = experiment;
    let network = format!(
        "{charges} charges with each; {} of the messages lost, {} twice, {} ms under way; seed {}",
        percent(faults.loss),
        percent(faults.duplication),
        faults.latency.as_millis(),
        faults.seed,
    );
    draw(&network, &series)
}

fn draw(network: &str, series: &[Series]) -> String {
    let title = "Three delivery guarantees on the same network";
    let mut svg = String::new();
    let size = format!(r#"xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}""#);
    let font = r##"font-family="system-ui, sans-serif" font-size="13" fill="#222""##;
    put(&mut svg, &format!(r#"<svg {size} role="img" aria-labelledby="title desc" {font}>"#));
    put(&mut svg, &format!(r#"<title id="title">{title}</title>"#));
    put(&mut svg, &format!(r#"<desc id="desc">{}</desc>"#, described(series)));
    put(&mut svg, &format!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##));
    put(&mut svg, &format!(r#"<text x="60" y="34" font-size="18" font-weight="600">{title}</text>"#));
    put(&mut svg, &format!(r##"<text x="60" y="56" fill="#555">{network}</text>"##));
    bars(&mut svg, series);
    lines(&mut svg, series);
    svg.push_str("</svg>\n");
    svg
}

/// The chart in words, for those who do not see it.
fn described(series: &[Series]) -> String {
    let words = |it: &Series| {
        let (found, expected) = (money(it.found_cents), money(it.expected_cents));
        format!(
            "{}: {} lost, {} doubled, balance {found} of {expected}",
            it.guarantee.words(),
            it.lost,
            it.doubled
        )
    };
    series.iter().map(words).collect::<Vec<_>>().join("; ")
}

fn bars(svg: &mut String, series: &[Series]) {
    let most = series.iter().map(|it| it.lost.max(it.doubled)).max().unwrap_or_default();
    let top = round_up(most as f64);
    grid(svg, BARS, top, "charges");
    let share = (BARS.1 - BARS.0) / series.len().max(1) as f64;
    for (index, it) in series.iter().enumerate() {
        let middle = BARS.0 + share * (index as f64 + 0.5);
        for (left, count, colour) in
            [(middle - BAR_WIDTH - 3.0, it.lost, LOST), (middle + 3.0, it.doubled, DOUBLED)]
        {
            let y = height_of(count as f64, top);
            let label = left + BAR_WIDTH / 2.0;
            put(
                svg,
                &format!(
                    r#"<rect x="{left:.1}" y="{y:.1}" width="{BAR_WIDTH}" height="{:.1}" fill="{colour}"/>
<text x="{label:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                    BOTTOM - y,
                    y - 6.0,
                ),
            );
        }
        let found = money(it.found_cents);
        put(
            svg,
            &format!(
                r##"<text x="{middle:.1}" y="352" text-anchor="middle" font-weight="600">{}</text>
<text x="{middle:.1}" y="370" text-anchor="middle" fill="#555">balance {found}</text>"##,
                it.guarantee.words(),
            ),
        );
    }
    for (x, colour, word) in [(60.0, LOST, "lost"), (140.0, DOUBLED, "doubled")] {
        put(
            svg,
            &format!(
                r#"<rect x="{x}" y="392" width="12" height="12" fill="{colour}"/><text x="{}" y="403">{word}</text>"#,
                x + 18.0,
            ),
        );
    }
    if let Some(first) = series.first() {
        let expected = money(first.expected_cents);
        put(svg, &format!(r##"<text x="230" y="403" fill="#555">expected balance: {expected}</text>"##));
    }
}

fn lines(svg: &mut String, series: &[Series]) {
    let longest = series.iter().flat_map(|it| &it.latencies_ms).copied().fold(0.0, f64::max);
    let top = round_up(longest);
    grid(svg, LINES, top, "ms until charged");
    let last = (Latencies::PERCENTILES.len() - 1) as f64;
    let x_of = |index: usize| LINES.0 + 20.0 + (LINES.1 - LINES.0 - 40.0) * index as f64 / last;
    for (index, (name, _)) in Latencies::PERCENTILES.iter().enumerate() {
        put(svg, &format!(r#"<text x="{:.1}" y="352" text-anchor="middle">{name}</text>"#, x_of(index)));
    }
    for (index, it) in series.iter().enumerate() {
        let (colour, dashes) = look(it.guarantee);
        let points: Vec<(f64, f64)> =
            it.latencies_ms.iter().enumerate().map(|(at, ms)| (x_of(at), height_of(*ms, top))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let line = format!(r#"fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}""#);
        put(svg, &format!(r#"<polyline points="{}" {line}/>"#, path.join(" ")));
        for (x, y) in points {
            put(svg, &format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#));
        }
        let x = LINES.0 + 130.0 * index as f64;
        put(
            svg,
            &format!(
                r#"<path d="M{x} 398h24" {line}/><text x="{}" y="403">{}</text>"#,
                x + 32.0,
                it.guarantee.words(),
            ),
        );
    }
}

/// Colour and dashes of a guarantee's line.
const fn look(guarantee: Guarantee) -> (&'static str, &'static str) {
    match guarantee {
        Guarantee::AtMostOnce => (LOST, "2 5"),
        Guarantee::AtLeastOnce => (DOUBLED, "9 5"),
        Guarantee::ExactlyOnce => ("#009e73", "none"),
    }
}

/// Lines across an area, with the numbers that they stand for.
fn grid(svg: &mut String, (left, right): (f64, f64), top: f64, unit: &str) {
    put(svg, &format!(r##"<text x="{left}" y="82" fill="#555">{unit}</text>"##));
    for line in 0..=GRID_LINES {
        let number = top * f64::from(line) / f64::from(GRID_LINES);
        let y = height_of(number, top);
        put(
            svg,
            &format!(
                r##"<path d="M{left} {y:.1}H{right}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end" fill="#555">{number}</text>"##,
                left - 8.0,
                y + 4.0,
            ),
        );
    }
}

/// Where a number stands in an area whose top stands for `top`.
fn height_of(number: f64, top: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * number / top
}

/// The top of an area: at least `most`, and divided by its lines into round numbers.
fn round_up(most: f64) -> f64 {
    let lines = f64::from(GRID_LINES);
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if step * lines >= most {
            break;
        }
        step *= factor;
    }
    step * lines
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("writing to a string");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(guarantee: Guarantee, lost: usize, doubled: usize) -> Series {
        Series {
            guarantee,
            lost,
            doubled,
            expected_cents: 0,
            found_cents: lost as i64 * 100 - doubled as i64 * 100,
            latencies_ms: vec![60.0, 70.0, 90.0, 200.0, 1_300.0, 2_100.0],
        }
    }

    fn all() -> [Series; 3] {
        [
            series(Guarantee::AtMostOnce, 11, 0),
            series(Guarantee::AtLeastOnce, 0, 17),
            series(Guarantee::ExactlyOnce, 0, 0),
        ]
    }

    #[test]
    fn top_of_an_area_is_round_and_high_enough() {
        let tops = [0.0, 1.0, 4.0, 5.0, 8.0, 17.0, 21.0, 2_100.0].map(round_up);
        assert_eq!(tops, [4.0, 4.0, 4.0, 8.0, 8.0, 20.0, 40.0, 4_000.0]);
    }

    #[test]
    fn chart_is_described_in_words() {
        insta::assert_snapshot!(
            described(&all()).replace("; ", "\n"),
            @"
        at most once: 11 lost, 0 doubled, balance 11.00 of 0.00
        at least once: 0 lost, 17 doubled, balance -17.00 of 0.00
        exactly once: 0 lost, 0 doubled, balance 0.00 of 0.00
        "
        );
    }

    #[test]
    fn everything_that_is_drawn_is_inside_the_picture() {
        let svg = draw("a network", &all());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for (attribute, most) in [("x", WIDTH), ("y", HEIGHT), ("cx", WIDTH), ("cy", HEIGHT)] {
            for value in svg.split(&format!(" {attribute}=\"")).skip(1) {
                let number: f64 = value.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=most).contains(&number), "{attribute}={number}");
            }
        }
        let opened = svg.matches('<').count();
        assert_eq!(opened, svg.matches('>').count(), "each element is closed");
    }
}
