//! `podlink uninstall`: takes away what `install` put there, and puts back what was there before.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::command::{self, Failure};
use crate::install::{BIN_DIR, CONF_DIR, PROGRAM};
use crate::marker::is_podlink;
use crate::place::Place;
use crate::plugins;
use crate::same::has_same_content;

pub(crate) const USAGE: &str = "\
podlink uninstall: take away what `podlink install` put there, and put back what was there before

  podlink uninstall [--bin-dir DIR] [--conf-dir DIR]

      --bin-dir DIR   the runtime's directory of plugins (/opt/cni/bin)
      --conf-dir DIR  the runtime's directory of configs (/etc/cni/net.d)

Only files that are podlink are removed, and only configs that are as they were installed. Pods that run keep their network, but the
runtime can delete them only while there are plugins of these names: uninstall when the node is drained, or where
plugins that were replaced come back.
";

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let (mut bin_dir, mut conf_dir) = (PathBuf::from(BIN_DIR), PathBuf::from(CONF_DIR));
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("bin-dir") => bin_dir = arguments.value()?.into(),
            Arg::Long("conf-dir") => conf_dir = arguments.value()?.into(),
            argument => return Err(command::other(argument)),
        }
    }
    // First the configs: a runtime must not find one whose plugins are gone.
    for (dir, remove) in [(conf_dir, remove_confs as fn(&Place) -> _), (bin_dir, remove_plugins)] {
        if let Some(place) = Place::open(&dir).map_err(Failure::Failed)? {
            remove(&place).and_then(|()| place.tidy()).map_err(Failure::Failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn remove_confs(place: &Place) -> Result<(), String> {
    for name in place.names()? {
        let file = place.file(&name);
        let told = |error| format!("cannot compare {} with what was installed: {error}", file.display());
        let is_ours = has_same_content(&file, &place.record(&name)).map_err(told)?;
        if is_ours || !file.exists() || place.is_untouched(&name)? {
            put_back(place, &name)?;
        } else {
            command::print(format_args!("{}: changed since it was installed, left as it is\n", file.display()));
        }
        place.forget(&name)?;
    }
    Ok(())
}

fn remove_plugins(place: &Place) -> Result<(), String> {
    let replaced = place.names()?;
    let ours = plugins::names().chain([PROGRAM]).map(str::to_owned);
    let names: BTreeSet<String> = replaced.iter().cloned().chain(ours).collect();
    for name in &names {
        let file = place.file(name);
        let is_replaced = replaced.contains(name);
        let is_ours = is_podlink(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let is_gone = file.symlink_metadata().is_err();
        if is_ours || (is_replaced && (is_gone || place.is_untouched(name)?)) {
            put_back(place, name)?;
        } else if is_replaced {
            let kept = place.replaced(name);
            let what = format_args!("{}: is not podlink, left as it is; {} is older\n", file.display(), kept.display());
            command::print(what);
        }
    }
    Ok(())
}

fn put_back(place: &Place, name: &str) -> Result<(), String> {
    let was_there = place.file(name).symlink_metadata().is_ok();
    let what = match place.put_back(name)? {
        true => "what was there before is back",
        false if was_there => "removed",
        false => return Ok(()),
    };
    command::print(format_args!("{}: {what}\n", place.file(name).display()));
    Ok(())
}
