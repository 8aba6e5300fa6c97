//! `podlink ipam`: who holds which address, for an operator.

use std::process::ExitCode;

use inventory::{Held, Network, RangeUse, Removal, Selector, Survey, Verdict};
use lexopt::{Arg, Parser};
use serde::Serialize;

use crate::command::{self, Failure};
use crate::gc;
use crate::survey::{self, Finding, Options};

pub(crate) const USAGE: &str = concat!(
    "\
podlink ipam: who holds which address

  podlink ipam ls [--network NAME]                 how full each range is
  podlink ipam show [NETWORK|ADDRESS|CONTAINER]    each address: holder, age, alive or dead, and why
  podlink ipam free NETWORK                        how many are left, and the next ones
  podlink ipam release NETWORK ADDRESS|CONTAINER[/IFNAME] [--force]
                                                   give it back; one that may be alive only with --force

",
    survey::places_usage!(),
    "      --json           for programs\n"
);

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let (mut options, mut words, mut network, mut force) = (Options::default(), Vec::new(), None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Value(value) => words.push(value.to_string_lossy().into_owned()),
            Arg::Long("network") => network = Some(arguments.value()?.to_string_lossy().into_owned()),
            Arg::Long("force") => force = true,
            Arg::Long(name) => {
                let name = name.to_owned();
                if options.read(&name, &mut arguments)?.is_none() {
                    return Err(command::other(Arg::Long(&name)));
                }
            }
            argument => return Err(command::other(argument)),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if force && words.first() != Some(&"release") {
        return Err(Failure::Usage("--force is for release only".to_owned()));
    }
    if network.is_some() && words.first() != Some(&"ls") {
        return Err(Failure::Usage("--network is for ls only".to_owned()));
    }
    match words[..] {
        ["ls"] => ls(&options, network.as_deref()),
        ["show"] => show(&options, None),
        ["show", what] => show(&options, Some(what)),
        ["free", network] => free(&options, network),
        ["release", network, which] => release(&options, network, which, force),
        ["release", ..] => Err(Failure::Usage("release NETWORK ADDRESS|CONTAINER[/IFNAME]".to_owned())),
        ["free", ..] => Err(Failure::Usage("free NETWORK".to_owned())),
        [] => Err(Failure::Usage("one of ls, show, free, release is needed".to_owned())),
        [other, ..] => Err(Failure::Usage(format!("{other:?} is not understood: expected ls, show, free or release"))),
    }
}

/// The networks meant; all of them where none is named.
fn chosen<'a>(survey: &'a Survey, name: Option<&str>) -> Result<Vec<&'a (Network, Vec<Held>)>, Failure> {
    let found: Vec<_> = survey.networks.iter().filter(|(of, _)| name.is_none_or(|name| of.name == name)).collect();
    match name {
        Some(name) if found.is_empty() => {
            let known: Vec<_> = survey.networks.iter().map(|(of, _)| of.name.as_str()).collect();
            Err(Failure::Failed(format!("there is no network {name:?}: found are {}", known.join(", "))))
        }
        _ => Ok(found),
    }
}

/// One range, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RangeReport {
    range: String,
    subnet: String,
    capacity: u128,
    used: u128,
    free: u128,
    alive: u64,
    dead: u64,
    unknown: u64,
    oldest_seconds: Option<u64>,
    first_free: Vec<String>,
}

impl From<RangeUse> for RangeReport {
    fn from(of: RangeUse) -> RangeReport {
        let count = |verdict: Verdict| of.verdicts[verdict as usize];
        RangeReport {
            capacity: of.capacity,
            used: of.used,
            free: of.free(),
            alive: count(Verdict::Alive),
            dead: count(Verdict::Dead),
            unknown: count(Verdict::Unknown),
            oldest_seconds: of.oldest.map(|oldest| oldest.as_secs()),
            first_free: of.first_free.iter().map(ToString::to_string).collect(),
            range: of.range,
            subnet: of.subnet,
        }
    }
}

/// One network, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkReport<'a> {
    network: &'a str,
    dir: String,
    config: Option<String>,
    ranges: Vec<RangeReport>,
}

fn reports<'a>(chosen: &[&'a (Network, Vec<Held>)]) -> Vec<NetworkReport<'a>> {
    let report = |(network, held): &'a (Network, Vec<Held>)| NetworkReport {
        network: &network.name,
        dir: network.store.dir().display().to_string(),
        config: network.config.as_ref().map(|file| file.display().to_string()),
        ranges: network.use_of_ranges(held).into_iter().map(RangeReport::from).collect(),
    };
    chosen.iter().map(|one| report(one)).collect()
}

fn ls(options: &Options, network: Option<&str>) -> Result<ExitCode, Failure> {
    let survey = options.survey()?;
    let reports = reports(&chosen(&survey, network)?);
    if options.json {
        survey::print_json(&reports)?;
        return Ok(ExitCode::SUCCESS);
    }
    let heading = ["NETWORK", "RANGE", "USED", "FREE", "CAPACITY", "FULL", "", "ALIVE", "DEAD", "UNKNOWN", "OLDEST"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for report in &reports {
        for of in &report.ranges {
            let (range, free, capacity, bar, percent) = if of.range.is_empty() {
                ("(in no range)".to_owned(), "-".to_owned(), "-".to_owned(), String::new(), String::new())
            } else {
                let (bar, percent) = fullness(of.used, of.capacity);
                (of.range.clone(), of.free.to_string(), of.capacity.to_string(), bar, percent)
            };
            let oldest = survey::age(of.oldest_seconds.map(std::time::Duration::from_secs));
            let counts = [of.alive, of.dead, of.unknown].map(|count| count.to_string());
            let mut row = vec![report.network.to_owned(), range, of.used.to_string(), free, capacity, bar, percent];
            row.extend(counts);
            row.push(oldest);
            rows.push(row);
        }
    }
    command::print(survey::table(&rows));
    Ok(ExitCode::SUCCESS)
}

/// The characters of a full bar.
const BAR: u128 = 20;

/// A bar and a percentage. Nothing that is used looks empty, nothing that has room looks full.
fn fullness(used: u128, capacity: u128) -> (String, String) {
    let capacity = capacity.max(1);
    let used = used.min(capacity);
    // Whole steps of 1/256 are exact enough for ranges beyond 64 bits, whose product would not fit.
    let (used_part, whole) = if capacity >> 64 == 0 { (used, capacity) } else { (used >> 8, capacity >> 8) };
    let part = |of: u128| used_part * of / whole;
    let filled = if used == capacity { BAR } else { part(BAR).clamp(u128::from(used > 0), BAR - 1) } as usize;
    let percent = if used == capacity { 100 } else { part(100).clamp(u128::from(used > 0), 99) };
    (format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR as usize - filled)), format!("{percent}%"))
}

/// One address, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressReport<'a> {
    network: &'a str,
    address: String,
    #[serde(rename = "containerID")]
    container_id: &'a str,
    ifname: &'a str,
    holder: String,
    boot: &'static str,
    age_seconds: Option<u64>,
    file: String,
    #[serde(flatten)]
    judgement: &'a inventory::Judgement,
}

impl<'a> AddressReport<'a> {
    fn new(network: &'a Network, held: &'a Held) -> AddressReport<'a> {
        let (container_id, ifname) = held.holder();
        AddressReport {
            network: &network.name,
            address: held.reservation.address.to_string(),
            container_id,
            ifname,
            holder: held.reservation.holder.to_string(),
            boot: match held.reservation.boot {
                ipam::Boot::This => "this",
                ipam::Boot::Earlier => "earlier",
                ipam::Boot::Unknown => "unknown",
            },
            age_seconds: held.age.map(|age| age.as_secs()),
            file: held.reservation.file.display().to_string(),
            judgement: &held.judgement,
        }
    }
}

fn show(options: &Options, what: Option<&str>) -> Result<ExitCode, Failure> {
    let survey = options.survey()?;
    let is_network = what.is_some_and(|what| survey.networks.iter().any(|(network, _)| network.name == what));
    let selector = what.map(Selector::parse);
    let is_meant = |network: &Network, held: &Held| match (&selector, what) {
        (Some(_), Some(what)) if is_network => network.name == what,
        (Some(selector), _) => selector.matches(held),
        _ => true,
    };
    let meant: Vec<_> = survey.addresses().filter(|(network, held)| is_meant(network, held)).collect();
    if options.json {
        let all: Vec<_> = meant.iter().map(|(network, held)| AddressReport::new(network, held)).collect();
        survey::print_json(&all)?;
    } else {
        let heading = ["NETWORK", "ADDRESS", "HOLDER", "AGE", "STATE", "BECAUSE"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(meant.iter().map(|(network, held)| {
            let (container_id, ifname) = held.holder();
            vec![
                network.name.clone(),
                held.reservation.address.to_string(),
                survey::holder(container_id, ifname),
                survey::age(held.age),
                held.judgement.verdict.to_string(),
                held.judgement.evidence().join("; "),
            ]
        }));
        command::print(survey::table(&rows));
    }
    // As with grep: what was asked for by name is not there.
    let is_absent = meant.is_empty() && what.is_some() && !is_network;
    Ok(if is_absent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn free(options: &Options, network: &str) -> Result<ExitCode, Failure> {
    let survey = options.survey()?;
    let reports = reports(&chosen(&survey, Some(network))?);
    if options.json {
        survey::print_json(&reports)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut is_known = false;
    for of in reports.iter().flat_map(|report| &report.ranges).filter(|of| !of.range.is_empty()) {
        is_known = true;
        let next = if of.first_free.is_empty() { String::new() } else { format!(": {} ...", of.first_free.join(" ")) };
        command::print(format_args!("{} of {} free in {}{next}\n", of.free, of.capacity, of.range));
    }
    if is_known {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Failed(format!("the ranges of network {network:?} are in no config: see --conf-dir")))
}

fn release(options: &Options, network: &str, which: &str, force: bool) -> Result<ExitCode, Failure> {
    let selector = Selector::parse(which);
    let removals =
        inventory::release(&options.places(), survey::read_pool, network, &selector, force).map_err(Failure::failed)?;
    if removals.is_empty() {
        return Err(Failure::Failed(format!("network {network:?} has no address of {which} reserved")));
    }
    if options.json {
        let all: Vec<_> = removals.iter().map(|removal| Finding::new(&removal.dead, Some(&removal.outcome))).collect();
        survey::print_json(&all)?;
    } else {
        removals.iter().for_each(gc::print);
    }
    let is_done = |removal: &Removal| removal.outcome.is_ok();
    Ok(if removals.iter().all(is_done) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_neither_hides_the_first_address_nor_the_last() {
        assert_eq!(fullness(0, 253), (format!("[{}]", ".".repeat(20)), "0%".to_owned()));
        assert_eq!(fullness(1, 253), (format!("[#{}]", ".".repeat(19)), "1%".to_owned()));
        assert_eq!(fullness(252, 253), (format!("[{}.]", "#".repeat(19)), "99%".to_owned()));
        assert_eq!(fullness(253, 253), (format!("[{}]", "#".repeat(20)), "100%".to_owned()));
        assert_eq!(fullness(1, u128::MAX).1, "1%");
        assert_eq!(fullness(u128::MAX / 2, u128::MAX).1, "49%");
        assert_eq!(fullness(0, 0).1, "0%");
    }
}
