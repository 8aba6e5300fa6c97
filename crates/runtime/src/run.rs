//! One plugin of a chain, run once: its configuration, its variables, and its error with its place in the chain.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use cni::{Attachment, CniResult, ErrorCode, Program, ProgramFailure, Verb};
use serde_json::{Map, Value};

use crate::cache::Cache;
use crate::error::Error;
use crate::network::NetworkList;

/// A container runtime's side of CNI: where plugins are, and where results are kept.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Directories with plugins, searched in order; plugins get them as `CNI_PATH`.
    pub path: Vec<PathBuf>,
    /// Directory whose `results` holds the cached results; [`crate::DEFAULT_CACHE_DIR`] is shared with libcni.
    pub cache_dir: PathBuf,
    /// After this a plugin is killed. `None`, the default, waits as long as it takes, as libcni does on its own.
    pub deadline: Option<Duration>,
}

/// What a runtime says about one attachment beside the network's configuration (libcni's `RuntimeConf`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeConf {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`: the path of the pod's network namespace. Only DEL can do without.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`: the interface's name in the pod.
    pub ifname: String,
    /// The pairs of `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Arguments by capability (`portMappings`, `ips`, ...). A plugin gets those it declares, in `runtimeConfig`.
    pub capability_args: Map<String, Value>,
}

impl RuntimeConf {
    /// An attachment without `CNI_ARGS` and capability arguments.
    pub fn new(container_id: impl Into<String>, ifname: impl Into<String>, netns: Option<PathBuf>) -> RuntimeConf {
        RuntimeConf { container_id: container_id.into(), ifname: ifname.into(), netns, ..RuntimeConf::default() }
    }

    /// What names it within a network.
    pub fn attachment(&self) -> Attachment {
        Attachment { container_id: self.container_id.clone(), ifname: self.ifname.clone() }
    }

    /// libcni's rules. The names become part of a file's name, so this comes before anything else.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if !cni::validate::is_identifier(&self.container_id) {
            let rule = "is not an alphanumeric followed by alphanumerics, '_', '.' or '-'";
            return Err(Error::InvalidName { what: "container ID", value: self.container_id.clone(), rule });
        }
        cni::validate::interface_name(&self.ifname).map_err(|rule| Error::InvalidName {
            what: "interface name",
            value: self.ifname.clone(),
            rule,
        })
    }
}

/// Keys and values for a plugin's configuration.
type Injected<'a> = [(&'a str, &'a Value)];

impl Runtime {
    /// A runtime that finds plugins in `path` and keeps results in `<cache_dir>/results`.
    pub fn new(path: Vec<PathBuf>, cache_dir: impl Into<PathBuf>) -> Runtime {
        Runtime { path, cache_dir: cache_dir.into(), deadline: None }
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(&self.cache_dir)
    }

    /// The program of plugin `index` (from 0) of the list.
    pub(crate) fn program(&self, list: &NetworkList, index: usize, verb: Verb) -> Result<Program, Error> {
        Program::find(list.plugins()[index].plugin_type(), &self.path).map_err(|e| error(list, index, verb, e))
    }

    /// Runs ADD of plugin `index`.
    pub(crate) fn add_one(
        &self,
        list: &NetworkList,
        index: usize,
        program: &Program,
        conf: &RuntimeConf,
        injected: &Injected<'_>,
    ) -> Result<CniResult, Error> {
        let config = config(list, index, Verb::Add, injected)?;
        program
            .add(self.environment(conf), &config, list.cni_version(), self.deadline)
            .map_err(|failure| error(list, index, Verb::Add, failure.into()))
    }

    /// Runs any other verb of plugin `index`. One about the network as a whole has an empty `conf`.
    pub(crate) fn run_one(
        &self,
        list: &NetworkList,
        index: usize,
        verb: Verb,
        conf: &RuntimeConf,
        injected: &Injected<'_>,
    ) -> Result<(), Error> {
        let program = self.program(list, index, verb)?;
        let config = config(list, index, verb, injected)?;
        program
            .run(verb, self.environment(conf), &config, self.deadline)
            .map(drop)
            .map_err(|failure| error(list, index, verb, failure.into()))
    }

    /// The versions that the plugin of type `plugin` says it supports (VERSION). One from before VERSION has 0.1.0.
    ///
    /// # Errors
    /// [`Error::PluginVersion`] if it is missing, cannot be run, or its answer cannot be understood.
    pub fn versions(&self, plugin: &str) -> Result<Vec<String>, Error> {
        let failed = |error: cni::Error| Error::PluginVersion { plugin: plugin.to_owned(), error: Box::new(error) };
        let program = Program::find(plugin, &self.path).map_err(failed)?;
        // Plugins built with an old libcni ask for these even here.
        let conf = RuntimeConf::new("dummy", "dummy", Some("dummy".into()));
        let config = format!("{{\"cniVersion\":{:?}}}", cni::SpecVersion::LATEST.as_str());
        match program.run(Verb::Version, self.environment(&conf), config.as_bytes(), self.deadline) {
            Ok(output) => supported_versions(&output).map_err(failed),
            Err(ProgramFailure::Refused(e)) if e.msg == "unknown CNI_COMMAND: VERSION" => Ok(vec!["0.1.0".to_owned()]),
            Err(failure) => Err(failed(failure.into())),
        }
    }

    /// Every variable is set, if to nothing: what stands in our own environment is not meant for the plugin.
    fn environment(&self, conf: &RuntimeConf) -> [(&'static str, OsString); 5] {
        let args: Vec<String> = conf.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let path: Vec<&[u8]> = self.path.iter().map(|dir| dir.as_os_str().as_bytes()).collect();
        [
            ("CNI_CONTAINERID", conf.container_id.clone().into()),
            ("CNI_NETNS", conf.netns.clone().unwrap_or_default().into()),
            ("CNI_ARGS", args.join(";").into()),
            ("CNI_IFNAME", conf.ifname.clone().into()),
            ("CNI_PATH", OsString::from_vec(path.join(&b':'))),
        ]
    }
}

fn config(list: &NetworkList, index: usize, verb: Verb, injected: &Injected<'_>) -> Result<Vec<u8>, Error> {
    let (name, version) = (Value::from(list.name()), Value::from(list.cni_version().as_str()));
    let mut all = vec![("name", &name), ("cniVersion", &version)];
    all.extend(injected);
    list.plugins()[index].with(&all).map_err(|e| {
        error(list, index, verb, cni::Error::new(ErrorCode::INTERNAL, format!("its config cannot be written: {e}")))
    })
}

fn error(list: &NetworkList, index: usize, verb: Verb, error: cni::Error) -> Error {
    Error::Plugin {
        network: list.label(),
        index: index + 1,
        count: list.plugins().len(),
        plugin: list.plugins()[index].plugin_type().to_owned(),
        verb,
        error: Box::new(error),
    }
}

fn supported_versions(output: &[u8]) -> Result<Vec<String>, cni::Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        cni_version: String,
        #[serde(default)]
        supported_versions: Vec<String>,
    }
    let undecodable = |why: String| {
        let printed = String::from_utf8_lossy(&output[..output.len().min(200)]).into_owned();
        cni::Error::new(ErrorCode::DECODE, format!("its answer is not understood: {why}"))
            .with_details(format!("it printed {printed:?}"))
    };
    let answer: Answer = serde_json::from_slice(output).map_err(|e| undecodable(e.to_string()))?;
    match (answer.cni_version.as_str(), answer.supported_versions.is_empty()) {
        (_, false) => Ok(answer.supported_versions),
        // 0.2.0 brought VERSION, at first without the list.
        ("0.2.0", true) => Ok(vec!["0.1.0".to_owned(), "0.2.0".to_owned()]),
        (_, true) => Err(undecodable("supportedVersions is missing".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_told_apart() {
        assert!(RuntimeConf::new("c1", "eth0", None).validate().is_ok());
        for (container_id, ifname, word) in
            [("", "eth0", "container ID"), ("../c", "eth0", "../c"), ("c1", "eth0/..", "eth0/.."), ("c1", "", "empty")]
        {
            let error = RuntimeConf::new(container_id, ifname, None).validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn answers_to_version() {
        let versions = |text: &str| supported_versions(text.as_bytes());
        assert_eq!(versions(r#"{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}"#).unwrap(), ["1.0.0"]);
        assert_eq!(versions(r#"{"cniVersion": "0.2.0"}"#).unwrap(), ["0.1.0", "0.2.0"]);
        for bad in ["", "{}", r#"{"cniVersion": "1.0.0"}"#] {
            assert_eq!(versions(bad).unwrap_err().code, ErrorCode::DECODE);
        }
    }
}
