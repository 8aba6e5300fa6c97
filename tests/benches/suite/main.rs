//! The benchmark: podlink's plugins against the Go reference and against the kernel's own floor, run by run in turns.
//!
//! Run by scripts/bench.sh, which builds the one podlink program and links it under each plugin's name. Ratios of medians
//! are what counts: times differ from machine to machine.

mod addresses;
mod at_once;
mod bars;
mod cases;
mod census;
mod chain_way;
mod containerd;
mod cost;
mod curve;
mod files;
mod floor_way;
mod machine;
mod options;
mod pairs;
mod plugin_way;
mod progress;
mod report;
mod row;
mod settle;
mod svg;
mod targets;
mod timed;
mod way;

use std::process::ExitCode;

use options::Options;
use row::Rows;
use serde_json::json;

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("{error}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all limits are kept.
fn run(options: &Options) -> Result<bool, String> {
    // Before anything is measured: a mistake in it should not cost the run.
    let check = options.check.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(|e| format!("reading {}: {e}", path.display()))?;
        targets::parse(&text)
    });
    let check = check.transpose()?.unwrap_or_default();
    let wanted = targets::parse(include_str!("../limits.json"))?;

    let mut rows = Rows::default();
    cost::measure(options, &mut rows);
    cases::measure(options, &mut rows);
    at_once::measure(options, &mut rows);
    // After the others: for a while after 60,000 files are gone from a tmpfs, to make one in another takes ten times as long.
    addresses::measure(options, &mut rows);
    containerd::measure(options, &mut rows);

    let machine = machine::describe();
    let rounds = options.rounds(usize::MAX);
    let table = report::markdown(&rows, &targets::targets(&wanted, &rows), &machine, rounds);
    let raw = json!({ "machine": machine, "rows": rows.0.iter().map(row::Row::to_json).collect::<Vec<_>>() });
    let raw = serde_json::to_string_pretty(&raw).map_err(|e| format!("writing the results as JSON: {e}"))?;
    let bars = ["ADD", "CHECK", "DEL"].map(|verb| Some((format!("{verb}.svg"), bars::plot(&rows, verb)?)));
    let curve = curve::plot(&rows).map(|plot| (format!("{}.svg", addresses::CASE), plot));
    let plots: Vec<(String, String)> = bars.into_iter().flatten().chain(curve).collect();
    let names: Vec<String> = plots.iter().map(|(name, _)| name.clone()).collect();

    let page = |dir: &str| format!("{table}\n{}", bars::links(&names, dir));
    let mut all = vec![("results.md".to_owned(), page(".")), ("results.json".to_owned(), raw + "\n")];
    all.extend(plots);
    let dir = files::write(options.output.as_deref(), &all)?;
    if options.publishes() {
        files::publish(&page(files::NEWEST), &all)?;
    }
    print!("{table}");
    eprintln!("\nresults, raw numbers and plots: {}", dir.display());

    let lost: Vec<_> = targets::limits(&check, &rows).into_iter().filter(|limit| !limit.is_met()).collect();
    for limit in &lost {
        eprintln!("too much: {} is {}, above {}", limit.what, report::short(limit.measured), limit.at_most);
    }
    // A case that is called something else by now must not lose its limit without a word.
    let unmeasured = if options.only.is_empty() { targets::unmeasured(&check, &rows) } else { Vec::new() };
    for row in &unmeasured {
        eprintln!("not measured: {row}, which has a limit");
    }
    Ok(lost.is_empty() && unmeasured.is_empty())
}
