//! The few shapes that the plots are made of.

use std::fmt::Write;

/// Of ours, the reference and the floor.
pub const COLOURS: [&str; 3] = ["#2f6fb2", "#d9822b", "#8a939d"];

/// A drawing on white, so that it can be read on a dark page, too.
#[derive(Debug)]
pub struct Svg(String);

impl Svg {
    pub fn new(width: f64, height: f64, title: &str) -> Svg {
        let mut svg = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n"
        ));
        svg.bar(0.0, 0.0, width, height, "#fff");
        svg.text(14.0, 26.0, "start", title);
        svg
    }

    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        ));
    }

    pub fn line(&mut self, x: f64, y: f64, to_x: f64, to_y: f64, colour: &str) {
        self.put(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" stroke=\"{colour}\"/>"
        ));
    }

    /// Lines from point to point, with a dot at each.
    pub fn path(&mut self, points: &[(f64, f64)], colour: &str) {
        let list = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        self.put(format_args!("<polyline points=\"{list}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for (x, y) in points {
            self.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
    }

    /// `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{text}</text>"));
    }

    pub fn coloured_text(&mut self, x: f64, y: f64, colour: &str, text: &str) {
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{text}</text>"));
    }

    /// Names and colours in one line at the top.
    pub fn legend(&mut self, entries: &[(&str, &str)], x: f64) {
        for (number, (name, colour)) in entries.iter().enumerate() {
            let x = x + number as f64 * 85.0;
            self.bar(x, 17.0, 10.0, 10.0, colour);
            self.text(x + 15.0, 26.0, "start", name);
        }
    }

    pub fn finish(self) -> String {
        self.0 + "</svg>\n"
    }

    fn put(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{shape}");
    }
}
