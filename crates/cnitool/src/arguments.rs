//! The command line and the variables: what is asked for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use cni::{Attachment, SpecVersion};
use lexopt::{Arg, Parser, ValueExt};
use runtime::{DEFAULT_CACHE_DIR, RuntimeConf};
use serde_json::{Map, Value};
use sha2::{Digest, Sha512};

const USAGE: &str = "\
cnitool: add, check, remove, gc or get the status of network interfaces of a network namespace

  cnitool add    <net> <netns>    wire the namespace, print the result
  cnitool check  <net> <netns>    compare with what add did
  cnitool del    <net> <netns>    undo it
  cnitool gc     <net> [<netns>]  remove every attachment to the network but those to keep
  cnitool status <net> [<netns>]  ask whether an add would succeed
  cnitool version

<net> is the name in a *.conflist, *.conf or *.json file, <netns> a path such as /run/netns/pod.

  -i, --ifname <name>    the interface's name in the namespace, in place of CNI_IFNAME
      --keep <ID>/<if>   gc: an attachment to keep, by container ID and interface; may be repeated
      --cache-dir <dir>  where results are kept (/var/lib/cni)

  NETCONFPATH  directory with network configurations (/etc/cni/net.d)
  CNI_PATH     directories with plugins, separated by ':'
  CNI_IFNAME   the interface's name in the namespace (eth0)
  CNI_ARGS     key=value pairs for plugins, separated by ';'
  CAP_ARGS     capability arguments as a JSON object, such as {\"ips\": [\"10.1.2.3/24\"]}
";

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Only print this.
    Explain(String),
    /// Carry out a command.
    Run(Box<Request>),
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Add,
    Check,
    Del,
    Gc,
    Status,
}

/// A command with everything it needs.
#[derive(Debug, PartialEq)]
pub struct Request {
    pub command: Command,
    /// `NETCONFPATH`.
    pub config_dir: PathBuf,
    pub network: String,
    /// `CNI_PATH`.
    pub path: Vec<PathBuf>,
    pub cache_dir: PathBuf,
    /// The attachment; GC and STATUS do not look at it.
    pub pod: RuntimeConf,
    /// What GC must not remove.
    pub keep: Vec<Attachment>,
}

/// Reads both. `Err` is the text for the user.
pub fn read(mut parser: Parser, variables: &dyn Fn(&str) -> Option<OsString>) -> Result<Action, String> {
    let mut positional = Vec::new();
    let (mut ifname, mut cache_dir, mut keep) = (None, PathBuf::from(DEFAULT_CACHE_DIR), Vec::new());
    let told = |e: lexopt::Error| e.to_string();
    while let Some(argument) = parser.next().map_err(told)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Action::Explain(USAGE.to_owned())),
            Arg::Short('V') | Arg::Long("version") => return Ok(Action::Explain(version())),
            Arg::Short('i') | Arg::Long("ifname") => {
                ifname = Some(parser.value().and_then(ValueExt::string).map_err(told)?);
            }
            Arg::Long("cache-dir") => cache_dir = parser.value().map_err(told)?.into(),
            Arg::Long("keep") => keep.push(attachment(&parser.value().and_then(ValueExt::string).map_err(told)?)?),
            Arg::Value(value) => positional.push(value),
            unexpected => return Err(told(unexpected.unexpected())),
        }
    }
    let mut positional = positional.into_iter();
    let command = match positional.next().as_deref().and_then(|text| text.to_str()) {
        Some("add") => Command::Add,
        Some("check") => Command::Check,
        Some("del") => Command::Del,
        Some("gc") => Command::Gc,
        Some("status") => Command::Status,
        Some("version") => return Ok(Action::Explain(version())),
        Some("help") => return Ok(Action::Explain(USAGE.to_owned())),
        Some(other) => return Err(format!("unknown command {other:?}\n\n{USAGE}")),
        None => return Err(USAGE.to_owned()),
    };
    let about_network = matches!(command, Command::Gc | Command::Status);
    let (Some(network), netns, None) = (positional.next(), positional.next(), positional.next()) else {
        return Err(format!("expected a command, a network and a namespace\n\n{USAGE}"));
    };
    if netns.is_none() && !about_network {
        return Err(format!("the path of a network namespace is required\n\n{USAGE}"));
    }
    if !keep.is_empty() && command != Command::Gc {
        return Err("--keep goes with gc only".to_owned());
    }
    let text = |name: &str| match variables(name).map(OsString::into_string) {
        None => Ok(String::new()),
        Some(value) => value.map_err(|value| format!("{name} is not UTF-8: {}", value.display())),
    };
    let set = |name: &str| variables(name).filter(|value| !value.is_empty());
    let mut pod = RuntimeConf {
        ifname: ifname.map_or_else(|| text("CNI_IFNAME"), Ok)?,
        args: cni_args(&text("CNI_ARGS")?)?,
        capability_args: capability_args(&text("CAP_ARGS")?)?,
        ..RuntimeConf::default()
    };
    if pod.ifname.is_empty() {
        pod.ifname = "eth0".to_owned();
    }
    if let Some(netns) = netns {
        let netns = absolute(Path::new(&netns)).map_err(|e| format!("{}: no absolute path: {e}", netns.display()))?;
        pod.container_id = container_id(&netns);
        pod.netns = Some(netns);
    }
    let path: Vec<PathBuf> = set("CNI_PATH").iter().flat_map(std::env::split_paths).collect();
    let path: Vec<PathBuf> = path.into_iter().filter(|dir| !dir.as_os_str().is_empty()).collect();
    if path.is_empty() {
        return Err("CNI_PATH is not set: it has to name the directories with plugins, such as /opt/cni/bin".to_owned());
    }
    Ok(Action::Run(Box::new(Request {
        command,
        config_dir: set("NETCONFPATH").unwrap_or_else(|| "/etc/cni/net.d".into()).into(),
        network: network.into_string().map_err(|name| format!("the network name {name:?} is not UTF-8"))?,
        path,
        cache_dir,
        pod,
        keep,
    })))
}

fn version() -> String {
    format!(
        "podlink cnitool v{}\nCNI protocol versions supported: {}\n",
        env!("CARGO_PKG_VERSION"),
        SpecVersion::list()
    )
}

/// The Go tool's: it is what names the attachment on `check` and `del`, whichever of the tools added it.
fn container_id(netns: &Path) -> String {
    let digest = Sha512::digest(netns.as_os_str().as_bytes());
    let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("cnitool-{hex}")
}

/// Go's `filepath.Abs`: `.`, `..` and doubled slashes go, by name alone. The container ID depends on it.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in std::env::current_dir()?.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    Ok(clean)
}

fn cni_args(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(';').filter(|_| !text.is_empty()).map(|pair| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("invalid CNI_ARGS pair {pair:?}: expected key=value pairs separated by ';'")),
    });
    pairs.collect()
}

fn capability_args(text: &str) -> Result<Map<String, Value>, String> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|e| format!("CAP_ARGS is not a JSON object: {e}"))
}

fn attachment(text: &str) -> Result<Attachment, String> {
    // Neither name can have a '/' in it.
    match text.split_once('/') {
        Some((container_id, ifname))
            if cni::validate::is_identifier(container_id) && cni::validate::interface_name(ifname).is_ok() =>
        {
            Ok(Attachment { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
        }
        _ => Err(format!("--keep {text:?}: expected a container ID and an interface, such as cnitool-1f2e/eth0")),
    }
}

#[cfg(test)]
mod tests;
