//! host-local over the number of addresses that are taken, both axes logarithmic.

use crate::report::short;
use crate::row::{Rows, Side};
use crate::svg::{COLOURS, Svg};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 610.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 370.0;

/// One line of the plot: a name, a colour, and its points.
type Curve = (String, &'static str, Vec<(f64, f64)>);

/// The plot; `None` with fewer than two sizes.
pub fn plot(rows: &Rows) -> Option<String> {
    let mut curves: Vec<Curve> = Vec::new();
    for (side, verb, colour) in [
        (Side::Reference, "ADD", COLOURS[1]),
        (Side::Reference, "DEL", "#b9805a"),
        (Side::Ours, "ADD", COLOURS[0]),
        (Side::Ours, "DEL", "#7fb2e5"),
        (Side::Ours, "STATUS", "#9aa3ad"),
    ] {
        let of_verb = rows.0.iter().filter(|row| row.verb == verb);
        let points = of_verb.filter_map(|row| {
            let size: f64 = row.case.strip_prefix(crate::addresses::CASE)?.trim().parse().ok()?;
            Some((size, row.median(side)?))
        });
        let points: Vec<_> = points.collect();
        if points.len() > 1 {
            curves.push((format!("{} {verb}", side.name()), colour, points));
        }
    }
    let points = || curves.iter().flat_map(|(_, _, points)| points.iter().copied());
    let x = Axis::over(points().map(|(x, _)| x), LEFT, RIGHT)?;
    let y = Axis::over(points().map(|(_, y)| y), BOTTOM, TOP)?;
    let mut svg = Svg::new(WIDTH, HEIGHT, "host-local: median in ms over the addresses taken");
    for value in x.decades() {
        svg.line(x.at(value), TOP, x.at(value), BOTTOM, "#ddd");
        svg.text(x.at(value), BOTTOM + 18.0, "middle", &short(value));
    }
    for value in y.decades() {
        svg.line(LEFT, y.at(value), RIGHT, y.at(value), "#ddd");
        svg.text(LEFT - 8.0, y.at(value) + 4.0, "end", &short(value));
    }
    let mut labels: Vec<f64> = Vec::new();
    for (name, colour, points) in &curves {
        let places: Vec<_> = points.iter().map(|(size, time)| (x.at(*size), y.at(*time))).collect();
        svg.path(&places, colour);
        let Some((end_x, mut end_y)) = places.last().copied() else { continue };
        // Labels of curves that end together go below one another.
        while labels.iter().any(|taken| (taken - end_y).abs() < 14.0) {
            end_y += 2.0;
        }
        labels.push(end_y);
        svg.coloured_text(end_x + 8.0, end_y + 4.0, colour, name);
    }
    Some(svg.finish())
}

/// A logarithmic axis of whole decades.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Axis> {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        (low > 0.0 && high >= low).then(|| Axis { low: low.log10().floor(), high: high.log10().ceil(), from, to })
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}
