//! One invocation: the verb and its parameters, read from the environment and stdin, checked as libcni checks them.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::args::CniArgs;
use crate::config::{Attachment, NetConf};
use crate::error::{Error, ErrorCode};
use crate::known::UnknownKey;
use crate::plugin::Suite;
use crate::steps::Steps;
use crate::validate;
use crate::version::SpecVersion;

/// Far above any real config (a GC with 60,000 valid attachments has 7 MB), far below what would hurt the node.
const MAX_CONFIG: u64 = 8 << 20;

/// A verb of the specification ("CNI operations").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach a pod to the network.
    Add,
    /// Check that an attachment is as ADD left it.
    Check,
    /// Detach a pod from the network.
    Del,
    /// Remove what no valid attachment owns.
    Gc,
    /// Say whether ADD would succeed.
    Status,
    /// Say which versions are spoken.
    Version,
}

impl Verb {
    const ALL: [Verb; 6] = [Verb::Add, Verb::Check, Verb::Del, Verb::Gc, Verb::Status, Verb::Version];

    /// The verb as it stands in `CNI_COMMAND`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Check => "CHECK",
            Verb::Del => "DEL",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Verb::Add | Verb::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Verb::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Verb::Gc | Verb::Status => &["CNI_PATH"],
            Verb::Version => &[],
        }
    }

    fn exists_in(self, version: SpecVersion) -> bool {
        match self {
            Verb::Check => version.has_check(),
            Verb::Gc | Verb::Status => version.has_gc_and_status(),
            _ => true,
        }
    }
}

/// What a call about a network as a whole has: GC and STATUS get only this.
#[derive(Clone, Debug)]
pub struct NetworkCall {
    /// The configuration from stdin.
    pub config: NetConf,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH`: directories with plugins.
    pub path: Vec<PathBuf>,
    /// The `CNI_*` variables as they came, for a delegated plugin.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The plugins that can be delegated to without another process.
    pub(crate) suite: Suite,
    /// Where its steps are recorded.
    pub(crate) steps: Steps,
}

impl NetworkCall {
    /// A call that is not to be carried out: for [`crate::Plugin::read_config`], and then
    /// [`NetworkCall::unknown_keys`].
    ///
    /// # Errors
    /// As a call through the environment and stdin.
    pub fn to_examine(config: Vec<u8>) -> Result<NetworkCall, Error> {
        Ok(NetworkCall::of_config(NetConf::parse(config)?.watched(), CniArgs::default()))
    }

    fn of_config(config: NetConf, args: CniArgs) -> NetworkCall {
        let (path, environment) = (Vec::new(), Vec::new());
        NetworkCall { config, args, path, environment, suite: |_| None, steps: Steps::default() }
    }

    /// The same call with another config, for a plugin that makes the config of the one it delegates to.
    ///
    /// # Errors
    /// As for a config from stdin.
    pub fn with_config(&self, config: Vec<u8>) -> Result<NetworkCall, Error> {
        Ok(NetworkCall { config: NetConf::parse(config)?, ..self.clone() })
    }

    /// The keys of the config that nothing has read since [`NetworkCall::to_examine`].
    pub fn unknown_keys(&self) -> Vec<UnknownKey> {
        self.config.unknown_keys()
    }

    /// A call with this config and these `CNI_ARGS`, and nothing to delegate to: for tests, and for tools that clean up.
    ///
    /// # Errors
    /// As a call through the environment and stdin.
    pub fn from_parts(config: Vec<u8>, args: &str) -> Result<NetworkCall, Error> {
        Ok(NetworkCall::of_config(NetConf::parse(config)?, CniArgs::parse(args)?))
    }
}

/// What a call about one attachment has: ADD, CHECK and DEL.
#[derive(Clone, Debug)]
pub struct AttachmentCall {
    /// The network part.
    pub network: NetworkCall,
    /// The attachment the call is about.
    pub attachment: Attachment,
    /// `CNI_NETNS`; only DEL may come without.
    pub netns: Option<PathBuf>,
    /// Whether whoever delegates an ADD to us has made the attachment's interface for it just now, under a name that only one
    /// can have: no earlier ADD of this attachment is in force ([`NEW_INTERFACE_VARIABLE`]).
    pub interface_is_new: bool,
}

/// Set by our plugins for the IPAM plugin, to [`new_interface`]: see [`AttachmentCall::interface_is_new`].
pub(crate) const NEW_INTERFACE_VARIABLE: &str = "PODLINK_NEW_INTERFACE";

/// Names the attachment, so that the variable means nothing to anybody who inherits it for another one.
pub(crate) fn new_interface(attachment: &Attachment) -> String {
    format!("{}/{}", attachment.container_id, attachment.ifname)
}

impl AttachmentCall {
    /// The pod's namespace path.
    ///
    /// # Errors
    /// Code 4 when there is none, which ADD and CHECK never see.
    pub fn netns(&self) -> Result<&Path, Error> {
        let missing = || Error::new(ErrorCode::INVALID_ENVIRONMENT, "required env variables [CNI_NETNS] missing");
        self.netns.as_deref().ok_or_else(missing)
    }
}

/// A checked invocation.
pub(crate) enum Call {
    Attachment(Verb, AttachmentCall, OwnNamespace),
    Network(Verb, NetworkCall),
    Version,
}

/// Whether `CNI_NETNS` was the plugin's own namespace; only DEL gets that far, with `netns` left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnNamespace {
    Yes,
    No,
}

/// Where the variables come from: the process environment, or a test.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads and checks one invocation, in libcni's order: variables, stdin, config, version.
/// `answer_in` is set as soon as the config's version is known, so that errors too are told in it.
pub(crate) fn read(
    variables: Variables<'_>,
    stdin: &mut dyn Read,
    suite: Suite,
    answer_in: &mut SpecVersion,
) -> Result<Call, Error> {
    let verb = verb(variables)?;
    if verb == Verb::Version {
        return Ok(Call::Version);
    }
    let environment = environment(verb, variables)?;
    let value = |name: &str| environment.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value.as_str());
    let attachment =
        Attachment { container_id: value("CNI_CONTAINERID").to_owned(), ifname: value("CNI_IFNAME").to_owned() };
    if matches!(verb, Verb::Add | Verb::Check | Verb::Del) {
        check_names(&attachment)?;
    }

    let config = NetConf::parse(read_config(stdin)?)?;
    *answer_in = config.cni_version;
    if !verb.exists_in(config.cni_version) {
        let msg = format!("config version does not allow {}", verb.as_str());
        return Err(Error::new(ErrorCode::INCOMPATIBLE_VERSION, msg).with_details(format!(
            "network {:?} has cniVersion {:?}",
            config.name,
            config.cni_version.as_str()
        )));
    }
    let args = match CniArgs::parse(value("CNI_ARGS")) {
        Ok(args) => args,
        // Nothing that is only removed depends on them, and a DEL that fails for them would leak the pod's address.
        Err(_) if verb != Verb::Add => CniArgs::default(),
        Err(e) => return Err(e),
    };
    let path = std::env::split_paths(value("CNI_PATH")).collect();
    let mut netns = Some(PathBuf::from(value("CNI_NETNS"))).filter(|path| !path.as_os_str().is_empty());
    let own = match &netns {
        Some(path) if is_ruled_out(path, value("CNI_NETNS_OVERRIDE")) => OwnNamespace::Yes,
        _ => OwnNamespace::No,
    };
    let network = NetworkCall { config, args, path, environment, suite, steps: Steps::default() };
    if matches!(verb, Verb::Gc | Verb::Status) {
        return Ok(Call::Network(verb, network));
    }
    if own == OwnNamespace::Yes {
        if verb != Verb::Del {
            return Err(own_namespace_error(netns.as_deref()));
        }
        netns = None;
    }
    let new = variables(NEW_INTERFACE_VARIABLE).is_some_and(|text| text == new_interface(&attachment).as_str());
    Ok(Call::Attachment(verb, AttachmentCall { network, attachment, netns, interface_is_new: new }, own))
}

pub(crate) fn own_namespace_error(path: Option<&Path>) -> Error {
    let msg = "plugin's netns and netns from CNI_NETNS should not be the same";
    let path = path.map_or_else(String::new, |path| format!("CNI_NETNS={}; ", path.display()));
    Error::new(ErrorCode::INVALID_NETNS, msg)
        .with_details(format!("{path}set CNI_NETNS_OVERRIDE=1 if that is what you want"))
}

fn verb(variables: Variables<'_>) -> Result<Verb, Error> {
    let text = variable(variables, "CNI_COMMAND")?.unwrap_or_default();
    Verb::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or_else(|| {
        let known = Verb::ALL.map(Verb::as_str).join(", ");
        Error::new(ErrorCode::INVALID_ENVIRONMENT, format!("unknown CNI_COMMAND: {text:?}"))
            .with_details(format!("expected one of {known}"))
    })
}

fn variable(variables: Variables<'_>, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = variables(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|value| {
        Error::new(ErrorCode::INVALID_ENVIRONMENT, format!("{name} is not UTF-8: {}", value.to_string_lossy()))
    })
}

fn environment(verb: Verb, variables: Variables<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    const ALL: [&str; 6] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE"];
    let mut found = Vec::with_capacity(ALL.len());
    let mut missing = Vec::new();
    for name in ALL {
        match variable(variables, name)? {
            Some(value) => found.push((name, value)),
            None if verb.required().contains(&name) => missing.push(name),
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let msg = format!("required env variables [{}] missing", missing.join(","));
    Err(Error::new(ErrorCode::INVALID_ENVIRONMENT, msg).with_details(format!("CNI_COMMAND is {}", verb.as_str())))
}

fn check_names(attachment: &Attachment) -> Result<(), Error> {
    if !validate::is_identifier(&attachment.container_id) {
        let msg = format!("invalid characters in containerID {:?}", attachment.container_id);
        return Err(Error::new(ErrorCode::INVALID_ENVIRONMENT, msg)
            .with_details("CNI_CONTAINERID: expected an alphanumeric, then alphanumerics, '_', '.' or '-'"));
    }
    validate::interface_name(&attachment.ifname).map_err(|rule| {
        let msg = format!("interface name {:?} {rule}", attachment.ifname);
        Error::new(ErrorCode::INVALID_ENVIRONMENT, msg).with_details("CNI_IFNAME names the interface inside the pod")
    })
}

fn read_config(stdin: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    stdin
        .take(MAX_CONFIG + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::new(ErrorCode::IO, format!("error reading the config from stdin: {e}")))?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(Error::new(ErrorCode::DECODE, format!("the config on stdin is larger than {MAX_CONFIG} bytes")));
    }
    Ok(bytes)
}

/// Whether `CNI_NETNS` is the plugin's own namespace, and `CNI_NETNS_OVERRIDE` does not say that this is meant.
pub(crate) fn is_ruled_out(netns: &Path, override_value: &str) -> bool {
    !overridden(override_value) && is_own_namespace(netns)
}

fn overridden(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

/// Whether the path is the namespace this thread is in. A path that cannot be read is not: the plugin will say more.
fn is_own_namespace(path: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    identity(path).is_some_and(|theirs| identity(Path::new("/proc/thread-self/ns/net")) == Some(theirs))
}
