//! A plot of one verb: for each case a bar of each side's median, with whiskers at the quartiles.

use std::fmt::Write;

use crate::report::short;
use crate::row::{Measure, Row, Rows, SIDES};
use crate::svg::{COLOURS, Svg};

const LEFT: f64 = 230.0;
const WIDTH: f64 = 900.0;
const BAR: f64 = 13.0;

/// The plot; `None` if no case has the verb on more than one side.
pub fn plot(rows: &Rows, verb: &str) -> Option<String> {
    // What spans magnitudes has a plot of its own or only a line in the table.
    let is_call = |row: &&Row| !row.case.starts_with(crate::addresses::CASE) && !row.case.contains("at once");
    let of_verb = |row: &&Row| row.measure == Measure::Time && row.verb == verb;
    let chosen: Vec<&Row> = rows.0.iter().filter(of_verb).filter(is_call).collect();
    let bars: usize = chosen.iter().map(|row| sides(row)).sum();
    if bars <= chosen.len() {
        return None;
    }
    let upper = |row: &&Row| SIDES.iter().filter_map(|side| row.quantile(*side, 0.75)).fold(0.0, f64::max);
    let most = chosen.iter().map(upper).fold(0.0, f64::max);
    let height = 60.0 + bars as f64 * BAR + chosen.len() as f64 * 9.0;
    let mut svg = Svg::new(WIDTH, height, &format!("{verb}: median in ms, whiskers at the quartiles"));
    svg.legend(&SIDES.map(|side| (side.name(), COLOURS[side as usize])), WIDTH - 260.0);
    let at = |value: f64| LEFT + value / most * (WIDTH - LEFT - 70.0);
    let mut y = 50.0;
    for row in chosen {
        let middle = y + sides(row) as f64 * BAR / 2.0 + 4.0;
        svg.text(LEFT - 8.0, middle, "end", &row.case);
        for side in SIDES {
            let [Some(low), Some(median), Some(high)] = [0.25, 0.5, 0.75].map(|share| row.quantile(side, share)) else {
                continue;
            };
            svg.bar(LEFT, y, at(median) - LEFT, BAR - 2.0, COLOURS[side as usize]);
            let centre = y + (BAR - 2.0) / 2.0;
            svg.line(at(low), centre, at(high), centre, "#333");
            for end in [low, high] {
                svg.line(at(end), centre - 3.0, at(end), centre + 3.0, "#333");
            }
            svg.text(at(high) + 5.0, centre + 4.0, "start", &short(median));
            y += BAR;
        }
        y += 9.0;
    }
    Some(svg.finish())
}

fn sides(row: &Row) -> usize {
    SIDES.iter().filter(|side| row.median(**side).is_some()).count()
}

/// A list of the plots in Markdown.
pub fn links(files: &[String], dir: &str) -> String {
    files.iter().fold(String::new(), |mut text, file| {
        let _ = write!(text, "![{file}]({dir}/{file})\n\n");
        text
    })
}
