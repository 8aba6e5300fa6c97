//! Reading a config. Unlike a runtime, this does not stop at the first mistake.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use cni::SpecVersion;
use serde_json::{Map, Value};

use super::{Document, Network, Plugin, has_suffix, is_config};
use crate::finding::{Finding, Severity};
use crate::nearest;

/// What a list may say besides its plugins (specification, "Network configuration format"; libcni 1.3).
const LIST_KEYS: [&str; 7] =
    ["cniVersion", "cniVersions", "name", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "plugins"];

/// Reads a file. No network where nothing can be said of it but what is wrong.
pub(crate) fn read(document: &Document) -> (Option<Network>, Vec<Finding>) {
    let file = &document.file;
    let mut reader = Reader { file, findings: Vec::new() };
    let network = reader.network(document);
    (network, reader.findings)
}

struct Reader<'a> {
    file: &'a Path,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn tell(&mut self, severity: Severity, what: impl Into<String>) -> &mut Finding {
        let at = self.findings.len();
        self.findings.push(Finding::about(severity, self.file, what));
        &mut self.findings[at]
    }

    fn wrong(&mut self, key: &str, what: impl Into<String>, advice: &str) {
        let finding = self.tell(Severity::Error, what);
        finding.key = Some(key.to_owned());
        finding.advice = Some(advice.to_owned()).filter(|advice| !advice.is_empty());
    }

    fn object(&mut self, file: &Path, content: &io::Result<Vec<u8>>) -> Option<Map<String, Value>> {
        let mut wrong = |what: String, advice: &str| {
            self.findings.push(Finding::about(Severity::Error, file, what).advice(advice));
            None
        };
        let content = match content {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return wrong("there is no such file".to_owned(), "correct the path");
            }
            Err(error) => return wrong(format!("cannot be read: {error}"), "the runtime could not read it, either"),
        };
        if content.iter().all(u8::is_ascii_whitespace) {
            return wrong("is empty".to_owned(), "a runtime that reads it stops there; remove it");
        }
        match serde_json::from_slice(content) {
            Ok(Value::Object(object)) => Some(object),
            Ok(_) => wrong("is JSON, but not an object".to_owned(), "expected { \"cniVersion\": …, \"name\": …, … }"),
            Err(error) => {
                let line =
                    String::from_utf8_lossy(content).lines().nth(error.line().saturating_sub(1)).map(str::to_owned);
                let line = line.unwrap_or_default().trim().chars().take(80).collect::<String>();
                wrong(format!("is no valid JSON: {error}"), &format!("look at, or just before: {line}"))
            }
        }
    }

    fn network(&mut self, document: &Document) -> Option<Network> {
        if !is_config(self.file) {
            self.tell(Severity::Warning, "a runtime does not read a file of this name").advice =
                Some("call it *.conflist (a list of plugins) or *.conf (a single one)".to_owned());
        }
        let object = self.object(self.file, &document.content)?;
        let is_list = has_suffix(self.file, &["conflist"]) || object.contains_key("plugins");
        if is_list && has_suffix(self.file, &["conf", "json"]) {
            self.wrong("plugins", "holds a list of plugins, but is not called *.conflist", "rename the file");
        }
        let name = self.name(&object);
        let version = self.version(&object);
        let mut configs = Vec::new();
        if is_list {
            self.list_keys(&object);
            configs = self.inlined(&object);
            let more = object.get("loadOnlyInlinedPlugins").is_none_or(|only| *only != Value::Bool(true));
            for (file, content) in document.more.iter().filter(|_| more) {
                configs.extend(self.object(file, content).map(|config| (file.clone(), config)));
            }
            if configs.is_empty() && !object.contains_key("plugins") {
                self.wrong("plugins", "is missing", "a list needs its plugins: \"plugins\": [ { \"type\": … }, … ]");
            }
        } else {
            configs.push((self.file.to_owned(), object));
        }
        let plugin = |(index, (file, config))| self.plugin(index, file, config);
        let plugins = configs.into_iter().enumerate().map(plugin).collect();
        Some(Network { file: self.file.to_owned(), name, version, plugins })
    }

    fn list_keys(&mut self, object: &Map<String, Value>) {
        for key in object.keys().filter(|key| !LIST_KEYS.contains(&key.as_str())) {
            let near = nearest(key, LIST_KEYS);
            // podman and nerdctl keep labels there, for themselves.
            let severity = if near.is_some() { Severity::Warning } else { Severity::Note };
            let finding = self.tell(severity, "is no key of a network list; no plugin is told of it");
            finding.key = Some(key.clone());
            finding.advice = near.map(|near| format!("did you mean {near:?}?"));
        }
    }

    fn inlined(&mut self, object: &Map<String, Value>) -> Vec<(PathBuf, Map<String, Value>)> {
        let mut configs = Vec::new();
        match object.get("plugins") {
            None => {}
            Some(Value::Array(items)) if items.is_empty() => self.wrong("plugins", "is empty", "a list needs a plugin"),
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::Object(config) => configs.push((self.file.to_owned(), config.clone())),
                        other => {
                            let what = format!("expected a plugin's config, an object, found {other}");
                            self.wrong(&format!("plugins[{index}]"), what, "");
                        }
                    }
                }
            }
            Some(_) => self.wrong("plugins", "is no array", "expected \"plugins\": [ { \"type\": … }, … ]"),
        }
        configs
    }

    fn plugin(&mut self, index: usize, file: PathBuf, config: Map<String, Value>) -> Plugin {
        let kind = config.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if kind.is_empty() || kind.contains('/') {
            let key = if file == self.file { format!("plugins[{index}].type") } else { "type".to_owned() };
            let what = match config.get("type") {
                None => "is missing".to_owned(),
                Some(other) => format!("{other} is not the name of a plugin"),
            };
            self.wrong(&key, what, "the type is the name of the plugin's program, such as \"bridge\"");
        }
        Plugin { file, index, kind, config }
    }

    fn name(&mut self, object: &Map<String, Value>) -> String {
        let rule = "a network's name is an alphanumeric, then alphanumerics, '_', '.' or '-'";
        match object.get("name") {
            None => self.wrong("name", "is missing", rule),
            Some(Value::String(name)) if cni::validate::is_identifier(name) => return name.clone(),
            Some(other) => self.wrong("name", format!("{other} is not a network's name"), rule),
        }
        String::new()
    }

    fn version(&mut self, object: &Map<String, Value>) -> Option<SpecVersion> {
        let several: Vec<&str> = match object.get("cniVersions") {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let supported = format!("we support {}", SpecVersion::list());
        let single = match object.get("cniVersion") {
            None => None,
            Some(Value::String(text)) => Some(text.as_str()),
            Some(other) => {
                self.wrong("cniVersion", format!("{other} is no text"), &supported);
                return None;
            }
        };
        let known = several.iter().copied().chain(single).filter(|text| !text.is_empty());
        let version = known.filter_map(|text| text.parse::<SpecVersion>().ok()).max();
        match (version, single, &several[..]) {
            (Some(version), ..) if version < SpecVersion::V0_4_0 => {
                let finding = self
                    .tell(Severity::Warning, format!("{version} is old: no CHECK, and DEL is not told what ADD did"));
                finding.key = Some("cniVersion".to_owned());
                finding.advice =
                    Some("1.0.0 is read by all runtimes of the last years, 1.1.0 adds GC and STATUS".to_owned());
            }
            (Some(_), ..) => {}
            (None, None | Some(""), []) => {
                let finding = self.tell(Severity::Warning, "is missing, which means 0.1.0");
                finding.key = Some("cniVersion".to_owned());
                finding.advice =
                    Some("1.0.0 is read by all runtimes of the last years, 1.1.0 adds GC and STATUS".to_owned());
                return Some(SpecVersion::V0_1_0);
            }
            (None, single, several) => {
                let found = single.into_iter().chain(several.iter().copied()).collect::<Vec<_>>().join(", ");
                self.wrong("cniVersion", format!("{found} is not a version that we know"), &supported);
            }
        }
        version
    }
}
