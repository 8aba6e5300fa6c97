//! `podlink gc`: removes what is dead by two proofs.

use std::process::ExitCode;

use cni::{Attachment, AttachmentCall, Error, ErrorCode, NetworkCall};
use inventory::{Removal, Verdict};
use lexopt::{Arg, Parser};
use serde::Serialize;

use crate::command::{self, Failure};
use crate::plugins;
use crate::survey::{self, Finding, Options};

pub(crate) const USAGE: &str = concat!(
    "\
podlink gc: remove what is proven to be dead

  podlink gc [--dry-run] [--json]

Removes addresses, interfaces and rules whose owner is gone by two independent proofs, checked once more with the network's addresses
locked; says what and why. What may be alive is left alone: see `podlink leaks`.

      --dry-run        only say it
",
    survey::places_usage!(),
    "      --json           for programs\n"
);

/// What is printed for programs.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "dryRun")]
    dry_run: bool,
    dead: Vec<Finding<'a>>,
    problems: &'a [String],
}

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let (mut options, mut dry_run) = (Options::default(), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("dry-run") => dry_run = true,
            Arg::Long(name) => {
                let name = name.to_owned();
                if options.read(&name, &mut arguments)?.is_none() {
                    return Err(command::other(Arg::Long(&name)));
                }
            }
            argument => return Err(command::other(argument)),
        }
    }
    if dry_run {
        let seen = options.survey()?;
        let dead = seen.with_verdict(Verdict::Dead);
        if options.json {
            let dead = dead.iter().map(|one| Finding::new(one, None)).collect();
            survey::print_json(&Report { dry_run, dead, problems: &seen.problems })?;
        } else {
            dead.iter().for_each(|one| command::print(format_args!("would remove {}\n", survey::line(one))));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (removals, problems) =
        inventory::collect(&options.places(), survey::read_pool, &del).map_err(Failure::failed)?;
    survey::tell(&problems);
    if options.json {
        let dead = removals.iter().map(|removal| Finding::new(&removal.dead, Some(&removal.outcome))).collect();
        survey::print_json(&Report { dry_run, dead, problems: &problems })?;
    } else {
        removals.iter().for_each(print);
    }
    let is_done = problems.is_empty() && removals.iter().all(|removal| removal.outcome.is_ok());
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells what became of one.
pub(crate) fn print(removal: &Removal) {
    match &removal.outcome {
        Ok(()) => command::print(format_args!("removed {}\n", survey::line(&removal.dead))),
        Err(why) => command::print(format_args!("left {}: {why}\n", survey::line(&removal.dead))),
    }
}

/// DEL of a plugin for its own rules alone: without an `ipam` section nothing is delegated, and so no address released.
fn del(plugin: &str, network: &str, attachment: &Attachment) -> Result<(), Error> {
    let run = plugins::named(plugin).ok_or_else(|| {
        Error::new(ErrorCode::INTERNAL, format!("plugin {plugin:?} is none of this program's: run its DEL by hand"))
    })?;
    let version = cni::SpecVersion::LATEST.as_str();
    let config = serde_json::json!({ "cniVersion": version, "name": network, "type": plugin });
    let network = NetworkCall::from_parts(config.to_string().into_bytes(), "")?;
    run.del(&AttachmentCall { network, attachment: attachment.clone(), netns: None, interface_is_new: false })
}
