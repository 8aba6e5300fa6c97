//! Which plugins the program is.

use cni::Plugin;

/// Every plugin; its name is the type in a config and the name of the link in the plugins' directory.
const PLUGINS: [&dyn Plugin; 10] = [
    &podlink_bandwidth::Bandwidth,
    &podlink_bridge::Bridge,
    &podlink_firewall::Firewall,
    &podlink_flannel::Flannel,
    &host_local::HostLocal,
    &podlink_loopback::Loopback,
    &podlink_portmap::Portmap,
    &podlink_ptp::Ptp,
    &podlink_static::Static,
    &podlink_tuning::Tuning,
];

/// The plugin of this type.
pub(crate) fn named(name: &str) -> Option<&'static dyn Plugin> {
    PLUGINS.into_iter().find(|plugin| plugin.name() == name)
}

/// Their names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.into_iter().map(|plugin| plugin.name())
}
