//! `podlink map`: the node's pod network as a picture, of characters or as SVG.

mod picture;
mod svg;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::command::{self, Failure};
use crate::survey::{self, Options};
use picture::Picture;

pub(crate) const USAGE: &str = concat!(
    "\
podlink map: a picture of the node's pod network

  podlink map [--network NAME] [--svg [FILE]]

Draws uplinks, bridges and pods with their addresses, and of each pod the node's interface that leads to it, its host ports, the rules
and limits that apply to it, and whether it is dead or unknown. Nothing is changed.

      --network NAME   only what belongs to this network
      --svg [FILE]     as SVG, for a browser; into the file, which is replaced at once, or on stdout
",
    survey::places_usage!()
);

/// What the command line asks for.
#[derive(Default)]
struct Request {
    options: Options,
    network: Option<String>,
    is_svg: bool,
    file: Option<PathBuf>,
}

/// Carries it out.
pub(crate) fn run(arguments: Parser) -> Result<ExitCode, Failure> {
    let request = Request::read(arguments)?;
    let survey = request.options.survey()?;
    let (interfaces, problems) = survey.interfaces();
    survey::tell(&problems);
    let picture =
        Picture::of(&survey, &interfaces, &node_name(), request.network.as_deref()).map_err(Failure::failed)?;
    if !request.is_svg {
        command::print(text::draw(&picture));
        return Ok(ExitCode::SUCCESS);
    }
    let drawing = svg::draw(&picture);
    match request.file {
        None => command::print(drawing),
        Some(file) => crate::metrics::replace(&file, &drawing)
            .map_err(|error| Failure::Failed(format!("cannot write the picture to {}: {error}", file.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Request {
    fn read(mut arguments: Parser) -> Result<Request, Failure> {
        let mut request = Request::default();
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("network") => request.network = Some(arguments.value()?.to_string_lossy().into_owned()),
                Arg::Long("svg") => {
                    request.is_svg = true;
                    request.file = arguments.optional_value().map(PathBuf::from).or(request.file);
                }
                Arg::Value(file) if request.is_svg && request.file.is_none() => request.file = Some(file.into()),
                Arg::Long(name) => {
                    let name = name.to_owned();
                    if name == "json" || request.options.read(&name, &mut arguments)?.is_none() {
                        return Err(command::other(Arg::Long(&name)));
                    }
                }
                argument => return Err(command::other(argument)),
            }
        }
        Ok(request)
    }
}

/// `kernel.hostname` (sysctl); empty where it cannot be read.
fn node_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// What comes from elsewhere (names that a runtime or another program gave), with nothing in it that a terminal or XML
/// takes for a command.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Request, Failure> {
        Request::read(Parser::from_args(line))
    }

    #[test]
    fn the_file_of_svg_may_be_left_out() {
        let of = |line: &[&str]| read(line).map(|request| (request.is_svg, request.file));
        assert_eq!(of(&[]).unwrap(), (false, None));
        assert_eq!(of(&["--svg"]).unwrap(), (true, None));
        assert_eq!(of(&["--svg", "x.svg"]).unwrap(), (true, Some("x.svg".into())));
        assert_eq!(of(&["--svg=x.svg", "--network", "net"]).unwrap(), (true, Some("x.svg".into())));
        assert_eq!(of(&["--svg", "--network", "net"]).unwrap(), (true, None));
        for wrong in [&["x.svg"][..], &["--svg", "a", "b"], &["--json"], &["--network"]] {
            assert!(matches!(of(wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }
}
