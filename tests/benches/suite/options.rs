//! What the command line says.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

pub const USAGE: &str = "\
scripts/bench.sh: podlink's plugins against the Go reference, run by run in turns

  --quick            a few cases in under two minutes, for CI
  --reference DIR    the reference's plugins (/usr/lib/cni)
  --rounds N         how often each case is run (40; 15 with --quick)
  --only CASE        only cases with this in their name; may be repeated
  --output DIR       where results.md, results.json and the plots go (target/bench)
  --check FILE       fail when a ratio is above its limit in FILE (tests/benches/limits.json)
  --publish          write BENCHMARKS.md also after --quick, --only or --rounds; a full run always does
";

/// The choices.
#[derive(Debug, Default)]
pub struct Options {
    pub quick: bool,
    pub rounds: Option<usize>,
    pub only: Vec<String>,
    pub output: Option<PathBuf>,
    pub check: Option<PathBuf>,
    pub publish: bool,
}

impl Options {
    /// Reads the arguments. `None` when help was asked for.
    pub fn read() -> Result<Option<Options>, lexopt::Error> {
        let mut options = Options::default();
        let mut arguments = Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("quick") => options.quick = true,
                Arg::Long("rounds") => options.rounds = Some(arguments.value()?.parse()?),
                Arg::Long("only") => options.only.push(arguments.value()?.string()?),
                Arg::Long("output") => options.output = Some(arguments.value()?.into()),
                Arg::Long("check") => options.check = Some(arguments.value()?.into()),
                Arg::Long("publish") => options.publish = true,
                // cargo bench adds it.
                Arg::Long("bench") => {}
                Arg::Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }

    /// Whether to run a case of this name, which is in the quick run if `quick`.
    pub fn wants(&self, case: &str, quick: bool) -> bool {
        match self.only[..] {
            [] => quick || !self.quick,
            _ => self.only.iter().any(|part| case.contains(part.as_str())),
        }
    }

    /// How often a case is run that a full run does `most` times at most.
    pub fn rounds(&self, most: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { 15 } else { 40 }).min(most).max(1)
    }

    /// Whether the results are those that BENCHMARKS.md shows.
    pub fn publishes(&self) -> bool {
        self.publish || (!self.quick && self.only.is_empty() && self.rounds.is_none())
    }
}
