//! The operator's commands: which there are, their help, and their exit codes: 0 done and nothing found, 1 failed or
//! something found, 2 not understood.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::{addresses, doctor, gc, install, leaks, map, metrics, plugins, uninstall};

/// One command.
struct Command {
    name: &'static str,
    /// For the list of commands.
    summary: &'static str,
    /// What `--help` prints.
    usage: &'static str,
    run: fn(Parser) -> Result<ExitCode, Failure>,
}

const COMMANDS: [Command; 8] = [
    Command {
        name: "install",
        summary: "put the plugins, and configs, where the runtime finds them",
        usage: install::USAGE,
        run: install::run,
    },
    Command {
        name: "uninstall",
        summary: "take them away and put back what was there before",
        usage: uninstall::USAGE,
        run: uninstall::run,
    },
    Command {
        name: "doctor",
        summary: "check network configs, before a pod meets them",
        usage: doctor::USAGE,
        run: doctor::run,
    },
    Command {
        name: "ipam",
        summary: "who holds which address: ls, show, free, release",
        usage: addresses::USAGE,
        run: addresses::run,
    },
    Command {
        name: "leaks",
        summary: "addresses, interfaces and rules without an owner",
        usage: leaks::USAGE,
        run: leaks::run,
    },
    Command { name: "gc", summary: "remove what is proven to be dead", usage: gc::USAGE, run: gc::run },
    Command {
        name: "map",
        summary: "a picture of the node's pod network, as text or SVG",
        usage: map::USAGE,
        run: map::run,
    },
    Command {
        name: "metrics",
        summary: "the addresses' use as Prometheus text",
        usage: metrics::USAGE,
        run: metrics::run,
    },
];

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `--help`: the usage goes to stdout, and nothing failed.
    Help,
    /// The command line was not understood: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Failed(String),
}

impl Failure {
    /// The work failed.
    pub(crate) fn failed(why: impl Display) -> Failure {
        Failure::Failed(why.to_string())
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Failure {
        Failure::Usage(error.to_string())
    }
}

/// What a command does with an argument that it does not know: explains itself when asked to, complains otherwise.
pub(crate) fn other(argument: Arg<'_>) -> Failure {
    match argument {
        Arg::Short('h') | Arg::Long("help") => Failure::Help,
        argument => argument.unexpected().into(),
    }
}

/// Prints on stdout; that nobody reads it any more is no failure.
pub(crate) fn print(text: impl Display) {
    let _ = write!(std::io::stdout().lock(), "{text}");
}

/// Carries out the command line.
pub(crate) fn run(mut arguments: Parser) -> ExitCode {
    let name = match arguments.next() {
        Ok(Some(Arg::Value(name))) => name.to_string_lossy().into_owned(),
        Ok(Some(Arg::Short('h') | Arg::Long("help"))) => "help".to_owned(),
        Ok(Some(Arg::Short('V') | Arg::Long("version"))) => "version".to_owned(),
        Ok(Some(unknown)) => return misunderstood(&unknown.unexpected().to_string(), "podlink --help"),
        Ok(None) => {
            eprint!("{}", overview());
            return ExitCode::from(2);
        }
        Err(error) => return misunderstood(&error.to_string(), "podlink --help"),
    };
    if let Some(command) = named(&name) {
        return match (command.run)(arguments) {
            Ok(code) => code,
            Err(Failure::Help) => {
                print(command.usage);
                ExitCode::SUCCESS
            }
            Err(Failure::Usage(why)) => misunderstood(&why, &format!("podlink {name} --help")),
            Err(Failure::Failed(why)) => {
                eprintln!("podlink {name}: {why}");
                ExitCode::FAILURE
            }
        };
    }
    match name.as_str() {
        "help" => {
            let about = arguments.value().ok().and_then(|about| named(&about.to_string_lossy()));
            print(about.map_or_else(overview, |command| command.usage.to_owned()));
            ExitCode::SUCCESS
        }
        "version" => {
            print(format_args!("podlink {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        _ => {
            let names = COMMANDS.iter().map(|command| command.name);
            let hint =
                ::doctor::nearest(&name, names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            misunderstood(&format!("unknown command {name:?}{hint}"), "podlink --help")
        }
    }
}

fn named(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn misunderstood(why: &str, help: &str) -> ExitCode {
    eprintln!("podlink: {why}\nsee: {help}");
    ExitCode::from(2)
}

fn overview() -> String {
    let mut text =
        format!("podlink {}: CNI plugins, and what an operator needs to run them\n\n", env!("CARGO_PKG_VERSION"));
    for command in &COMMANDS {
        text += &format!("  podlink {:<10} {}\n", command.name, command.summary);
    }
    text += "  podlink help COMMAND\n  podlink version\n\n";
    text += &format!(
        "Called by the name of a plugin, this program is that plugin: {}.\n\
         PODLINK_LOG=FILE makes the plugins log each call as a line of JSON.\n",
        plugins::names().collect::<Vec<_>>().join(", ")
    );
    text
}
