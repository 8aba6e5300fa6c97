//! `podlink leaks`: what has no living owner, with the evidence.

use std::process::ExitCode;

use inventory::{Dead, Survey, Verdict};
use lexopt::{Arg, Parser};
use serde::Serialize;

use crate::command::{self, Failure};
use crate::survey::{self, Finding, Options};

pub(crate) const USAGE: &str = concat!(
    "\
podlink leaks: addresses, interfaces and rules without an owner

  podlink leaks [--json]

Lists what is dead by two proofs, which `podlink gc` removes, and what may be, which it leaves alone, each with the evidence. The exit
code is 1 when there is anything that nothing speaks for. Nothing is changed.

",
    survey::places_usage!(),
    "      --json           for programs\n"
);

/// What is printed for programs.
#[derive(Serialize)]
struct Report<'a> {
    dead: Vec<Finding<'a>>,
    suspected: Vec<Finding<'a>>,
    problems: &'a [String],
}

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long(name) => {
                let name = name.to_owned();
                if options.read(&name, &mut arguments)?.is_none() {
                    return Err(command::other(Arg::Long(&name)));
                }
            }
            argument => return Err(command::other(argument)),
        }
    }
    let seen = options.survey()?;
    let (dead, suspected) = (seen.with_verdict(Verdict::Dead), suspected(&seen));
    if options.json {
        let findings = |all| -> Vec<Finding<'_>> { <[Dead]>::iter(all).map(|one| Finding::new(one, None)).collect() };
        let report = Report { dead: findings(&dead), suspected: findings(&suspected), problems: &seen.problems };
        survey::print_json(&report)?;
    } else {
        for (verdict, found) in [("dead", &dead), ("unknown", &suspected)] {
            for one in found {
                command::print(format_args!("{verdict:<7} {}\n", survey::line(one)));
            }
        }
        let rest = if dead.is_empty() { "" } else { "; `podlink gc` removes what is dead" };
        command::print(format_args!("{} dead, {} unknown{rest}\n", dead.len(), suspected.len()));
    }
    let is_leak = |one: &Dead| one.judgement.signs.is_empty();
    Ok(if dead.iter().chain(&suspected).any(is_leak) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What at least one observation speaks against.
fn suspected(survey: &Survey) -> Vec<Dead> {
    let mut unknown = survey.with_verdict(Verdict::Unknown);
    unknown.retain(|one| !one.judgement.proofs.is_empty());
    unknown
}
