//! One line of the results: a case and a verb, with every sample of ours, the reference and the floor.

use serde_json::{Value, json};

/// Whose samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Reference,
    /// The bare netlink messages.
    Floor,
}

pub const SIDES: [Side; 3] = [Side::Ours, Side::Reference, Side::Floor];

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Reference => "reference",
            Side::Floor => "floor",
        }
    }
}

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Milliseconds.
    Time,
    /// MiB of memory or disk.
    Size,
    /// Processes or system calls.
    Count,
}

impl Measure {
    pub fn unit(self) -> &'static str {
        match self {
            Measure::Time => "ms",
            Measure::Size => "MiB",
            Measure::Count => "",
        }
    }
}

/// A case and a verb.
#[derive(Debug, Clone)]
pub struct Row {
    pub case: String,
    pub verb: String,
    pub measure: Measure,
    samples: [Vec<f64>; 3],
}

impl Row {
    pub fn new(case: &str, verb: &str, measure: Measure) -> Row {
        Row { case: case.to_owned(), verb: verb.to_owned(), measure, samples: Default::default() }
    }

    /// `bridge plain ADD`: how limits.json names it.
    pub fn key(&self) -> String {
        format!("{} {}", self.case, self.verb).trim_end().to_owned()
    }

    pub fn add(&mut self, side: Side, sample: f64) {
        self.samples[side as usize].push(sample);
    }

    /// The value below which `share` of the samples lie; `None` without samples.
    pub fn quantile(&self, side: Side, share: f64) -> Option<f64> {
        let mut sorted = self.samples[side as usize].clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied()
    }

    pub fn median(&self, side: Side) -> Option<f64> {
        self.quantile(side, 0.5)
    }

    /// Our median as a multiple of another side's.
    pub fn ratio(&self, to: Side) -> Option<f64> {
        Some(self.median(Side::Ours)? / self.median(to)?)
    }

    /// For results.json: every sample in the order of the rounds.
    pub fn to_json(&self) -> Value {
        let mut row = json!({ "case": self.case, "verb": self.verb, "unit": self.measure.unit() });
        for side in SIDES {
            let samples = &self.samples[side as usize];
            if !samples.is_empty() {
                row[side.name()] = json!({ "median": self.median(side), "samples": samples });
            }
        }
        row
    }
}

/// The samples of one case as they come in.
#[derive(Debug, Default)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Adds a sample to the row of this case and verb, which is made at its first.
    pub fn add(&mut self, case: &str, verb: &str, measure: Measure, side: Side, sample: f64) {
        let found = self.0.iter().position(|row| row.case == case && row.verb == verb);
        let index = found.unwrap_or_else(|| {
            self.0.push(Row::new(case, verb, measure));
            self.0.len() - 1
        });
        self.0[index].add(side, sample);
    }

    pub fn find(&self, key: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.key() == key)
    }
}
