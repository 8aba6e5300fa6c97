//! What the commands that look at the node share: where to look, and how to tell people what was found.

use std::time::Duration;

use inventory::{Dead, Places, Survey, Thing};
use lexopt::Parser;
use serde::Serialize;

use crate::command::Failure;

/// For the usage of each.
macro_rules! places_usage {
    () => {
        "      --conf-dir DIR   the networks' configs (/etc/cni/net.d)\n      \
         --data-dir DIR   the address store, beside those that configs name (/var/lib/cni/networks); may be repeated\n      \
         --cache-dir DIR  what the runtime remembers of its pods (/var/lib/cni)\n"
    };
}
pub(crate) use places_usage;

/// The options that say where to look.
#[derive(Default)]
pub(crate) struct Options {
    places: Places,
    data_dirs: Vec<std::path::PathBuf>,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the value of an option that is one of these; `None` where it is not.
    pub(crate) fn read(&mut self, name: &str, arguments: &mut Parser) -> Result<Option<()>, Failure> {
        let mut value = || arguments.value();
        match name {
            "conf-dir" => self.places.conf_dir = value()?.into(),
            "data-dir" => self.data_dirs.push(value()?.into()),
            "cache-dir" => self.places.cache_dir = value()?.into(),
            "json" => self.json = true,
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    /// Where to look.
    pub(crate) fn places(&self) -> Places {
        let mut places = self.places.clone();
        if !self.data_dirs.is_empty() {
            places.data_dirs.clone_from(&self.data_dirs);
        }
        places
    }

    /// Looks at the whole node, and tells on stderr what could not be seen.
    pub(crate) fn survey(&self) -> Result<Survey, Failure> {
        let survey = Survey::take(&self.places(), read_pool, None).map_err(Failure::failed)?;
        tell(&survey.problems);
        Ok(survey)
    }
}

/// Tells on stderr what could not be seen or done.
pub(crate) fn tell(problems: &[String]) {
    for problem in problems {
        cni::note(problem);
    }
}

/// The addresses that a config with host-local is about.
pub(crate) fn read_pool(conf: &cni::NetConf) -> Result<(ipam::Store, Result<ipam::RangeSets, cni::Error>), cni::Error> {
    host_local::Pool::read(conf).map(|pool| (pool.store, pool.sets))
}

/// Something found, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding<'a> {
    kind: &'static str,
    what: String,
    network: &'a str,
    #[serde(rename = "containerID")]
    container_id: &'a str,
    ifname: &'a str,
    #[serde(flatten)]
    judgement: &'a inventory::Judgement,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Finding<'a> {
    pub(crate) fn new(dead: &'a Dead, outcome: Option<&'a Result<(), String>>) -> Finding<'a> {
        let (kind, what) = match &dead.thing {
            Thing::Rules { place, .. } => ("rules", place.clone()),
            Thing::Link { name, .. } => ("interface", name.clone()),
            Thing::Address { address, .. } => ("address", address.to_string()),
        };
        Finding {
            kind,
            what,
            network: &dead.network,
            container_id: &dead.container_id,
            ifname: &dead.ifname,
            judgement: &dead.judgement,
            removed: outcome.map(Result::is_ok),
            error: outcome.and_then(|outcome| outcome.as_ref().err()).map(String::as_str),
        }
    }
}

/// Prints something as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    crate::command::print(format_args!("{text}\n"));
    Ok(())
}

/// One line for people about something found: what, whose, why.
pub(crate) fn line(dead: &Dead) -> String {
    let holder = holder(&dead.container_id, &dead.ifname);
    format!("{} of {holder} in network {}: {}", dead.thing, dead.network, dead.judgement.evidence().join("; "))
}

/// `c1/eth0`, or what is known of it.
pub(crate) fn holder(container_id: &str, ifname: &str) -> String {
    match (container_id, ifname) {
        ("", _) => "-".to_owned(),
        (container_id, "") => container_id.to_owned(),
        (container_id, ifname) => format!("{container_id}/{ifname}"),
    }
}

/// An age in its two largest units: `3d4h`, `12s`.
pub(crate) fn age(age: Option<Duration>) -> String {
    let Some(age) = age else { return "-".to_owned() };
    let seconds = age.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Rows in columns as wide as their widest cell; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let of = |seconds| age(Some(Duration::from_secs(seconds)));
        assert_eq!([of(0), of(59), of(60), of(3599)], ["0s", "59s", "1m0s", "59m59s"]);
        assert_eq!([of(3600), of(86_399), of(86_400), of(950_400)], ["1h0m", "23h59m", "1d0h", "11d0h"]);
        assert_eq!(age(None), "-");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert_eq!(table(&[row(&["A", "B"]), row(&["long", "x"]), row(&["y"])]), "A     B\nlong  x\ny\n");
    }
}
