//! What is drawn: the node's uplinks, bridges and pods, in an order that does not change from one call to the next.

mod pods;

use inventory::{Interface, Survey, Verdict};

use pods::Attachments;

/// The node's pod network.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The node's name.
    pub node: String,
    /// The ways off the node.
    pub uplinks: Vec<Uplink>,
    /// The bridges with the pods on them.
    pub bridges: Vec<Bridge>,
    /// Pods on a link of their own (ptp).
    pub beside: Vec<Pod>,
    /// Pods, or what is left of them, that no interface on the node leads to.
    pub without: Vec<Pod>,
}

/// An interface with addresses that leads to no pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub name: String,
    /// `physical`, `vxlan`, …
    pub kind: String,
    pub addresses: Vec<String>,
    /// The routers of its default routes.
    pub gateways: Vec<String>,
}

/// A bridge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub name: String,
    pub is_up: bool,
    pub addresses: Vec<String>,
    pub gateways: Vec<String>,
    /// The networks of its pods.
    pub networks: Vec<String>,
    /// Ports that lead to no pod.
    pub ports: Vec<String>,
    pub pods: Vec<Pod>,
}

/// A pod's attachment to a network.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Kubernetes' `namespace/name`, where the runtime said it.
    pub name: Option<String>,
    /// Empty where nothing tells it.
    pub network: String,
    /// Empty where nothing tells it.
    pub container_id: String,
    /// The interface inside; empty where nothing tells it.
    pub ifname: String,
    /// The node's end of its pair.
    pub link: Option<String>,
    /// The pod's network namespace.
    pub namespace: Option<String>,
    pub addresses: Vec<String>,
    pub host_ports: Vec<String>,
    /// What the rules do, in a word or two each.
    pub rules: Vec<String>,
    /// `sends at most 12 Mbit/s`
    pub limits: Vec<String>,
    /// `None` for a pod that podlink did not make.
    pub verdict: Option<Verdict>,
    /// What a verdict other than alive stands on.
    pub why: String,
}

impl Picture {
    /// Draws up what was found; `only` leaves out what is of other networks.
    ///
    /// # Errors
    /// When there is no such network.
    pub fn of(
        survey: &Survey,
        interfaces: &[Interface],
        node: &str,
        only: Option<&str>,
    ) -> Result<Picture, inventory::Error> {
        let mut attachments = Attachments::of(survey, interfaces);
        if let Some(network) = only {
            attachments.only(survey, network)?;
        }
        let mut picture = Picture { node: node.to_owned(), ..Picture::default() };
        for interface in interfaces {
            if interface.kind == "bridge" {
                picture.bridges.push(bridge(interface));
            } else if let Some(uplink) = uplink(interface).filter(|_| !attachments.has_link(&interface.name)) {
                picture.uplinks.push(uplink);
            }
        }
        for interface in interfaces.iter().filter(|one| !attachments.has_link(&one.name)) {
            let bridge = picture.bridges.iter_mut().find(|bridge| interface.master.as_ref() == Some(&bridge.name));
            if let Some(bridge) = bridge {
                bridge.ports.push(interface.name.clone());
            }
        }
        for (pod, master) in attachments.pods(survey) {
            let bridge = picture.bridges.iter_mut().find(|bridge| master == Some(&bridge.name));
            match bridge {
                Some(bridge) => bridge.pods.push(pod),
                None if pod.link.is_some() => picture.beside.push(pod),
                None => picture.without.push(pod),
            }
        }
        if only.is_some() {
            picture.bridges.retain(|bridge| !bridge.pods.is_empty());
        }
        for bridge in &mut picture.bridges {
            bridge.networks = bridge.pods.iter().map(|pod| pod.network.clone()).filter(|of| !of.is_empty()).collect();
            bridge.networks.sort();
            bridge.networks.dedup();
        }
        Ok(picture)
    }
}

fn bridge(interface: &Interface) -> Bridge {
    Bridge {
        name: interface.name.clone(),
        is_up: interface.up,
        addresses: strings(&interface.addresses),
        gateways: strings(&interface.gateways),
        ..Bridge::default()
    }
}

fn uplink(interface: &Interface) -> Option<Uplink> {
    let is_way = interface.owner.is_none() && interface.master.is_none() && interface.kind != "loopback";
    let is_used = !interface.addresses.is_empty() || !interface.gateways.is_empty();
    (is_way && is_used).then(|| Uplink {
        name: interface.name.clone(),
        kind: interface.kind.clone(),
        addresses: strings(&interface.addresses),
        gateways: strings(&interface.gateways),
    })
}

fn strings<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

impl Uplink {
    /// What it is, in a word.
    pub fn what(&self) -> &str {
        if self.kind == "physical" || !self.gateways.is_empty() { "uplink" } else { &self.kind }
    }
}

/// How a pod is told in words, the same in both kinds of picture.
impl Pod {
    /// `eth0 in pod-a`, or as much of it as is known.
    pub fn place(&self) -> String {
        match (self.ifname.as_str(), &self.namespace) {
            ("", None) => "somebody".to_owned(),
            ("", Some(namespace)) => format!("namespace {namespace}"),
            (ifname, Some(namespace)) => format!("{ifname} in {namespace}"),
            (ifname, None) => format!("{ifname} in no namespace that is known"),
        }
    }

    /// Everything but place and addresses, a line each.
    pub fn details(&self) -> Vec<String> {
        let named = |what: &str, name: &str| Some(format!("{what} {name}")).filter(|_| !name.is_empty());
        let pod = self.name.as_ref().map(|name| format!("pod {name}"));
        let container = named("container", &short(&self.container_id));
        let who: Vec<_> = [pod, container, named("network", &self.network)].into_iter().flatten().collect();
        let ports = match self.host_ports.as_slice() {
            [] => String::new(),
            ports => format!("host port {}", ports.join(", ")),
        };
        let mut lines = vec![who.join(", "), ports, self.rules.join(", "), self.limits.join(", ")];
        let why = if self.why.is_empty() { "nothing speaks for it or against it" } else { &self.why };
        match self.verdict {
            Some(Verdict::Dead) => lines.push(format!("✗ dead: {why}")),
            Some(Verdict::Unknown) => lines.push(format!("? unknown: {why}")),
            Some(Verdict::Alive) | None => {}
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

/// A container ID as people's tools show it: the runtimes' 64 hex digits by the first twelve.
fn short(container_id: &str) -> String {
    let is_hash = container_id.len() == 64 && container_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { container_id[..12].to_owned() } else { container_id.to_owned() }
}
