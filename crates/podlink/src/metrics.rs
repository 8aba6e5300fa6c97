//! `podlink metrics`: the addresses' use as Prometheus text, for a textfile collector.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use inventory::{Places, Survey, Verdict};
use lexopt::{Arg, Parser};

use crate::command::{self, Failure};
use crate::survey::{self, Options};

pub(crate) const USAGE: &str = concat!(
    "\
podlink metrics: the addresses' use as Prometheus text

  podlink metrics [--output FILE]

      --output FILE    replace this file at once, as the node exporter's textfile collector wants it (a name ending in .prom)
",
    survey::places_usage!()
);

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let (mut options, mut output) = (Options::default(), None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("output") => output = Some(PathBuf::from(arguments.value()?)),
            Arg::Long(name) => {
                let name = name.to_owned();
                if name == "json" || options.read(&name, &mut arguments)?.is_none() {
                    return Err(command::other(Arg::Long(&name)));
                }
            }
            argument => return Err(command::other(argument)),
        }
    }
    let text = text(&options.places());
    match output {
        None => command::print(text),
        Some(file) => replace(&file, &text)
            .map_err(|error| Failure::Failed(format!("cannot write the metrics to {}: {error}", file.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// All of it. A node that cannot be looked at has only errors, since no file at all would look like an old one.
fn text(places: &Places) -> String {
    match Survey::take(places, survey::read_pool, None) {
        Ok(seen) => {
            survey::tell(&seen.problems);
            render(&seen)
        }
        Err(error) => {
            cni::note(&error);
            let mut errors = Family::gauge("podlink_scrape_errors", ERRORS);
            errors.sample(&[], 1);
            errors.text
        }
    }
}

const ERRORS: &str = "Things of the node that could not be read; what is missing is told on stderr.";

fn render(survey: &Survey) -> String {
    let mut addresses = Family::gauge(
        "podlink_ipam_addresses",
        "Addresses of a range: used by a pod, free, leaked (reserved by a pod that is gone), unknown (reserved, pod not seen).",
    );
    let mut capacity = Family::gauge("podlink_ipam_capacity", "Addresses that a range can give out.");
    let mut oldest =
        Family::gauge("podlink_ipam_oldest_reservation_seconds", "Age of the oldest reservation of a range.");
    for (network, held) in &survey.networks {
        for of in network.use_of_ranges(held) {
            let labels = [("network", network.name.as_str()), ("range", of.range.as_str())];
            let states = [Verdict::Alive, Verdict::Dead, Verdict::Unknown].map(|verdict| of.verdicts[verdict as usize]);
            for (state, count) in ["used", "leaked", "unknown"].iter().zip(states) {
                addresses.sample(&[labels[0], labels[1], ("state", state)], count);
            }
            if !of.range.is_empty() {
                addresses.sample(&[labels[0], labels[1], ("state", "free")], of.free());
                capacity.sample(&labels, of.capacity);
            }
            oldest.sample(&labels, of.oldest.as_ref().map_or(0, Duration::as_secs));
        }
    }
    let mut links = Family::gauge("podlink_links_leaked", "Interfaces on the node of pods that are gone.");
    links.sample(&[], survey.links.iter().filter(|(_, judgement)| judgement.verdict == Verdict::Dead).count());
    let mut rules = Family::gauge("podlink_rules_leaked", "Rules and elements of pods that are gone.");
    let dead = survey.rules.iter().filter(|(_, judgement)| judgement.verdict == Verdict::Dead);
    rules.sample(&[], dead.map(|(rules, _)| rules.count).sum::<usize>());
    let mut errors = Family::gauge("podlink_scrape_errors", ERRORS);
    errors.sample(&[], survey.problems.len());
    [addresses, capacity, oldest, links, rules, errors].map(|family| family.text).concat()
}

/// The samples of one metric (Prometheus text format 0.0.4).
struct Family {
    name: &'static str,
    text: String,
}

impl Family {
    fn gauge(name: &'static str, help: &str) -> Family {
        Family { name, text: format!("# HELP {name} {help}\n# TYPE {name} gauge\n") }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Writes aside and renames: nobody ever reads half a file.
pub(crate) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let mut aside = std::ffi::OsString::from(".");
    aside.push(name);
    // The collector reads *.prom only; two runs at once must not write into one file.
    aside.push(format!(".{}", std::process::id()));
    let aside = file.with_file_name(aside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&aside)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&aside, file));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&aside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_prometheus_text() {
        let mut family = Family::gauge("podlink_x", "What it is.");
        family.sample(&[], 1);
        family.sample(&[("network", "a\"b\\c\nd"), ("range", "")], 2);
        let expected = "# HELP podlink_x What it is.\n# TYPE podlink_x gauge\npodlink_x 1\n\
                        podlink_x{network=\"a\\\"b\\\\c\\nd\",range=\"\"} 2\n";
        assert_eq!(family.text, expected);
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("podlink.prom");
        replace(&file, "old\n").unwrap();
        replace(&file, "new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(replace(&dir.path().join("taken"), "x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
