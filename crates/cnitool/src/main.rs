//! cnitool: wires a network namespace by hand, as a container runtime would. It takes the commands, arguments and
//! variables of the Go tool and shares its container IDs and cache, so that one can delete what the other added.

mod arguments;

use std::io::Write;
use std::process::ExitCode;

use arguments::{Action, Command, Request};
use runtime::{NetworkList, Runtime};

fn main() -> ExitCode {
    let variables = |name: &str| std::env::var_os(name);
    let outcome = match arguments::read(lexopt::Parser::from_env(), &variables) {
        Ok(Action::Explain(text)) => print(&text),
        Ok(Action::Run(request)) => run(*request),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(request: Request) -> Result<(), String> {
    let Request { command, config_dir, network, path, cache_dir, pod, keep } = request;
    let list = NetworkList::load(&config_dir, &network).map_err(|e| e.to_string())?;
    let runtime = Runtime::new(path, cache_dir);
    let done = match command {
        Command::Add => match runtime.add(&list, &pod) {
            Ok(result) => return print(&result.to_json(list.cni_version())),
            Err(e @ runtime::Error::Plugin { index: 2.., .. }) => {
                return Err(format!(
                    "{e}\ncnitool del with the same arguments undoes what plugins before it have done"
                ));
            }
            Err(e) => Err(e),
        },
        Command::Check => runtime.check(&list, &pod),
        Command::Del => runtime.del(&list, &pod),
        Command::Gc => runtime.gc(&list, &keep),
        Command::Status => runtime.status(&list),
    };
    done.map_err(|e| e.to_string())
}

fn print(text: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|e| format!("done, but the answer could not be written to stdout: {e}"))
}
