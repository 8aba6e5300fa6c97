//! The results as Markdown.

use std::fmt::Write;

use serde_json::Value;

use crate::row::{Measure, Row, Rows, Side};
use crate::targets::Verdict;

/// Targets, then times, then sizes and counts, then the machine.
pub fn markdown(rows: &Rows, targets: &[Verdict], machine: &Value, rounds: usize) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, rows, targets, machine, rounds);
    text
}

fn write(text: &mut String, rows: &Rows, targets: &[Verdict], machine: &Value, rounds: usize) -> std::fmt::Result {
    if !targets.is_empty() {
        writeln!(text, "### Targets\n\n| target | at most | measured | |\n| --- | ---: | ---: | --- |")?;
        for one in targets {
            let met = if one.is_met() { "met" } else { "**missed**" };
            writeln!(text, "| {} | {} | {} | {met} |", one.what, short(one.at_most), short(one.measured))?;
        }
        writeln!(text)?;
    }
    let of = |measure| rows.0.iter().filter(move |row| row.measure == measure);
    if of(Measure::Time).count() > 0 {
        writeln!(text, "### Time\n\nMedian (quartiles) in ms; up to {rounds} rounds.\n")?;
        writeln!(text, "| case | verb | podlink | reference | ratio | floor | of the floor |")?;
        writeln!(text, "| --- | --- | ---: | ---: | ---: | ---: | ---: |")?;
        for row in of(Measure::Time) {
            let [ours, reference, floor] = [Side::Ours, Side::Reference, Side::Floor].map(|side| spread(row, side));
            let [ratio, multiple] =
                [Side::Reference, Side::Floor].map(|side| row.ratio(side).map_or(String::new(), short));
            writeln!(text, "| {} | {} | {ours} | {reference} | {ratio} | {floor} | {multiple} |", row.case, row.verb)?;
        }
        writeln!(text)?;
    }
    let pods: Vec<_> = of(Measure::Time).filter(|row| row.verb == crate::containerd::VERB).collect();
    if !pods.is_empty() {
        writeln!(text, "### Pods per second\n\n| case | podlink | reference |\n| --- | ---: | ---: |")?;
        for row in pods {
            let rate = |side| row.median(side).map_or(String::new(), |each| short(1000.0 / each));
            writeln!(text, "| {} | {} | {} |", row.case, rate(Side::Ours), rate(Side::Reference))?;
        }
        writeln!(text)?;
    }
    if of(Measure::Size).chain(of(Measure::Count)).count() > 0 {
        writeln!(text, "### Memory, disk, processes, system calls\n")?;
        writeln!(text, "| what | verb | podlink | reference | ratio |\n| --- | --- | ---: | ---: | ---: |")?;
        for row in of(Measure::Size).chain(of(Measure::Count)) {
            let unit = row.measure.unit();
            let value =
                |side| row.median(side).map_or(String::new(), |n| format!("{} {unit}", short(n)).trim_end().to_owned());
            let ratio = row.ratio(Side::Reference).map_or(String::new(), short);
            writeln!(
                text,
                "| {} | {} | {} | {} | {ratio} |",
                row.case,
                row.verb,
                value(Side::Ours),
                value(Side::Reference)
            )?;
        }
        writeln!(text)?;
    }
    writeln!(text, "### Measured on\n\n| | |\n| --- | --- |")?;
    for (name, value) in machine.as_object().into_iter().flatten() {
        writeln!(text, "| {name} | {} |", value.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// `2.51 (2.40–2.63)`.
fn spread(row: &Row, side: Side) -> String {
    let of = |share| row.quantile(side, share).map(short);
    match (of(0.5), of(0.25), of(0.75)) {
        (Some(median), Some(low), Some(high)) => format!("{median} ({low}–{high})"),
        _ => String::new(),
    }
}

/// With three digits that count, whole numbers as they are.
pub fn short(number: f64) -> String {
    match number {
        _ if number.fract() == 0.0 || number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => format!("{number:.1}"),
        _ if number >= 0.1 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}
