//! The program around a plugin: one call in, one JSON answer out.

use std::io::{Read, Write};
use std::process::ExitCode;

use crate::call::{self, AttachmentCall, Call, OwnNamespace, Variables, Verb};
use crate::error::{Error, ErrorCode};
use crate::json;
use crate::log::Log;
use crate::note::note;
use crate::plugin::{Plugin, Suite};
use crate::version::SpecVersion;

/// Runs `plugin` as a process: variables and stdin in, stdout and exit status out. To be returned from `main`.
pub fn run(plugin: &dyn Plugin) -> ExitCode {
    run_among(plugin, |_| None)
}

/// The same in a program that has several plugins, called by their names: one that delegates to another name of the very
/// same file calls it without starting a process.
pub fn run_among(plugin: &dyn Plugin, suite: Suite) -> ExitCode {
    if let Some(argument) = std::env::args_os().nth(1) {
        return explain(plugin, &argument.to_string_lossy());
    }
    // As the reference does: people and installers run a plugin bare to see what it is.
    if std::env::var_os("CNI_COMMAND").is_none_or(|value| value.is_empty()) {
        eprint!("{}", about(plugin));
        return ExitCode::SUCCESS;
    }
    answer_panics();
    let variables = |name: &str| std::env::var_os(name);
    match serve(plugin, suite, &variables, &mut std::io::stdin().lock(), &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::FAILURE,
    }
}

fn explain(plugin: &dyn Plugin, argument: &str) -> ExitCode {
    match argument {
        "-h" | "--help" | "-V" | "--version" | "-v" => {
            // Nobody may be reading, which is no failure of ours.
            let _ = std::io::stdout().write_all(about(plugin).as_bytes());
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("unknown argument {argument:?}\n{}", about(plugin));
            ExitCode::FAILURE
        }
    }
}

fn about(plugin: &dyn Plugin) -> String {
    format!(
        "podlink {} plugin v{}\nCNI protocol versions supported: {}\n\
         A container runtime runs this program with CNI_* variables and a config on stdin; try it by hand with cnitool.\n",
        plugin.name(),
        env!("CARGO_PKG_VERSION"),
        SpecVersion::list()
    )
}

/// Answers one call on `stdout`. `Err` means that the answer was an error, or could not be written.
fn serve(
    plugin: &dyn Plugin,
    suite: Suite,
    variables: Variables<'_>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
) -> Result<(), ()> {
    let mut version = SpecVersion::LATEST;
    let mut log = Log::start(plugin.name(), variables);
    let answered = call::read(variables, stdin, suite, &mut version).and_then(|mut call| {
        log.follow(&mut call);
        let answer = answer(plugin, &call).map_err(|error| located(error, &call))?;
        Ok((call, answer))
    });
    // What the runtime waits for comes first, the log after it.
    let answered = match answered {
        Ok((call, answer)) => write_answer(stdout, &answer).map_err(|error| {
            note(format_args!("{}: {error}", plugin.name()));
            if let Call::Attachment(Verb::Add, call, _) = &call {
                undo_unheard_add(plugin, call);
            }
            // The reader may have closed only its reading of a result; it is worth one more try.
            let _ = stdout.write_all(error.to_json(version).as_bytes());
            error
        }),
        Err(error) => {
            if write_answer(stdout, &error.to_json(version)).is_err() {
                note(format_args!("{}: {error}", plugin.name()));
            }
            Err(error)
        }
    };
    log.write(answered.as_ref().err());
    answered.map_err(drop)
}

fn answer(plugin: &dyn Plugin, call: &Call) -> Result<String, Error> {
    match call {
        Call::Version => Ok(json::pretty(&serde_json::json!({
            "cniVersion": SpecVersion::LATEST.as_str(),
            "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
        }))),
        Call::Attachment(Verb::Add, call, _) => {
            plugin.add(call).map(|result| result.to_json(call.network.config.cni_version))
        }
        Call::Attachment(Verb::Check, call, _) => plugin.check(call).map(|()| String::new()),
        Call::Attachment(_, call, own_namespace) => {
            plugin.del(call)?;
            // All that needs no namespace is done. libcni reports this mistake on DEL, too.
            if *own_namespace == OwnNamespace::Yes {
                return Err(call::own_namespace_error(None));
            }
            Ok(String::new())
        }
        Call::Network(Verb::Gc, call) => plugin.gc(call, &call.config.valid_attachments()?).map(|()| String::new()),
        Call::Network(_, call) => plugin.status(call).map(|()| String::new()),
    }
}

/// Adds which attachment it was about, unless the error (a delegated plugin's, say) tells already.
fn located(error: Error, call: &Call) -> Error {
    match call {
        Call::Attachment(_, call, _)
            if !error.to_string().contains(&format!("container {}", call.attachment.container_id)) =>
        {
            let place = format!("network {:?}, {}", call.network.config.name, call.attachment);
            let separator = if error.details.is_empty() { "" } else { "; " };
            let details = format!("{}{separator}{place}", error.details);
            error.with_details(details)
        }
        _ => error,
    }
}

fn write_answer(stdout: &mut dyn Write, answer: &str) -> Result<(), Error> {
    stdout
        .write_all(answer.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|e| Error::new(ErrorCode::IO, format!("the answer could not be written to stdout: {e}")))
}

/// A runtime that never learnt of an attachment may never delete it.
fn undo_unheard_add(plugin: &dyn Plugin, call: &AttachmentCall) {
    if let Err(e) = plugin.del(call) {
        note(format_args!("{}: undoing the ADD of {}: {e}", plugin.name(), call.attachment));
    }
}

/// From now on a panic is an answer, too, and ends the process: what the call has done by then stays for DEL, as when it is
/// killed. Nothing is unwound, which is a fifth of a program's size.
fn answer_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown reason");
        let error = Error::new(ErrorCode::INTERNAL, format!("internal error: panicked{place}: {text}"))
            .with_details("this is a bug in podlink; please report it with the network config");
        // Past the standard library's stdout, which the thread that panicked may have locked. If nobody reads it, so be it.
        let _ = rustix::io::write(rustix::stdio::stdout(), error.to_json(SpecVersion::LATEST).as_bytes());
        std::process::exit(1);
    }));
}

#[cfg(test)]
mod tests;
