//! What the results are held to: targets, which BENCHMARKS.md shows, and limits, at which CI fails.
//!
//! A limit is a target with room for a busy machine. None is of a time: those differ from machine to machine.

use serde_json::Value;

use crate::row::{Rows, Side};

/// One line of limits.json.
#[derive(Debug)]
pub struct Target {
    /// A [`crate::row::Row::key`].
    row: String,
    /// What it is a multiple of: `reference`, `floor`, our median of another row, or a unit.
    to: String,
    target: Option<f64>,
    limit: Option<f64>,
}

/// A target and what was measured.
#[derive(Debug)]
pub struct Verdict {
    pub what: String,
    pub at_most: f64,
    pub measured: f64,
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        self.measured <= self.at_most
    }
}

/// The targets in a file's text.
pub fn parse(text: &str) -> Result<Vec<Target>, String> {
    let lines: Vec<Value> = serde_json::from_str(text).map_err(|e| format!("the limits are not a JSON array: {e}"))?;
    let target = |line: &Value| {
        let word = |key: &str| line[key].as_str().map(str::to_owned).ok_or_else(|| format!("no {key:?} in {line}"));
        let number = |key: &str| line[key].as_f64();
        Ok(Target { row: word("row")?, to: word("to")?, target: number("target"), limit: number("limit") })
    };
    lines.iter().map(target).collect()
}

/// What was measured of the targets.
pub fn targets(all: &[Target], rows: &Rows) -> Vec<Verdict> {
    all.iter().filter_map(|of| of.verdict(of.target?, rows)).collect()
}

/// The rows that have a limit and were not measured.
pub fn unmeasured<'a>(all: &'a [Target], rows: &Rows) -> Vec<&'a str> {
    let unmeasured = |of: &&Target| of.limit.is_some_and(|limit| of.verdict(limit, rows).is_none());
    all.iter().filter(unmeasured).map(|of| of.row.as_str()).collect()
}

/// What was measured of the limits.
pub fn limits(all: &[Target], rows: &Rows) -> Vec<Verdict> {
    all.iter().filter_map(|of| of.verdict(of.limit?, rows)).collect()
}

impl Target {
    /// `None` for a row that was not measured.
    fn verdict(&self, at_most: f64, rows: &Rows) -> Option<Verdict> {
        let row = rows.find(&self.row)?;
        let (measured, of) = match self.to.as_str() {
            "reference" => (row.ratio(Side::Reference)?, "of the reference".to_owned()),
            "floor" => (row.ratio(Side::Floor)?, "times the floor".to_owned()),
            unit if unit == row.measure.unit() => (row.median(Side::Ours)?, unit.to_owned()),
            other => (row.median(Side::Ours)? / rows.find(other)?.median(Side::Ours)?, format!("times our {other}")),
        };
        Some(Verdict { what: format!("{}, {of}", self.row), at_most, measured })
    }
}
