//! The firewalld backend: tells firewalld over D-Bus that a zone's rules hold for a pod's addresses.
//!
//! firewalld's D-Bus interface `org.fedoraproject.FirewallD1.zone` (firewalld.dbus(5)), as the reference uses it. What is
//! told so lasts until firewalld is reloaded.

use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use zbus::Connection;

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const ZONE: &str = "org.fedoraproject.FirewallD1.zone";
/// Where the system bus listens, unless the environment says otherwise (D-Bus specification, "Well-known Message Bus
/// Instances").
const SOCKETS: [&str; 2] = ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"];
const ADDRESS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// The time D-Bus libraries wait for an answer; firewalld may be loading a large configuration.
const DEADLINE: Duration = Duration::from_secs(25);

/// What went wrong with firewalld.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer.
    #[error("firewalld or the D-Bus system bus has not answered for {} s: is it hanging?", DEADLINE.as_secs())]
    Timeout,
    /// It, or the bus, refused.
    #[error("firewalld: cannot {doing}: {source}")]
    Bus {
        /// What was asked.
        doing: String,
        /// What was said.
        source: Box<zbus::Error>,
    },
    /// A thread's event loop could not be made.
    #[error("no event loop for D-Bus: {0}")]
    Runtime(#[from] std::io::Error),
}

impl Error {
    /// Whether firewalld's words begin so: its exceptions have a name there (firewalld/errors.py).
    fn says(&self, names: &[&str]) -> bool {
        let Error::Bus { source, .. } = self else { return false };
        let zbus::Error::MethodError(name, text, _) = &**source else { return false };
        // The bus itself says so when firewalld has just ended, and everything it was told with it.
        let gone = ["org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"];
        let text = text.as_deref().unwrap_or_default();
        names.iter().any(|known| text.contains(known) || (*known == GONE && gone.contains(&name.as_str())))
    }
}

/// Stands for "firewalld is not there" in [`Error::says`].
const GONE: &str = "<gone>";

/// firewalld, running.
pub struct Firewalld {
    runtime: Runtime,
    bus: Connection,
}

impl Firewalld {
    /// A connection; `None` if there is no system bus or no firewalld on it.
    ///
    /// # Errors
    /// That the bus does not answer.
    pub fn connect() -> Result<Option<Firewalld>, Error> {
        if std::env::var_os(ADDRESS_VARIABLE).is_none() && !SOCKETS.iter().any(|socket| Path::new(socket).exists()) {
            return Ok(None);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let bus = match wait(&runtime, Connection::system())? {
            Ok(bus) => bus,
            // A socket that nobody listens on, or may.
            Err(_) => return Ok(None),
        };
        let has_owner = async {
            let answer = bus
                .call_method(
                    Some("org.freedesktop.DBus"),
                    "/org/freedesktop/DBus",
                    Some("org.freedesktop.DBus"),
                    "NameHasOwner",
                    &(NAME,),
                )
                .await?;
            answer.body().deserialize::<bool>()
        };
        let runs = wait(&runtime, has_owner)?.map_err(failed("look for it on the system bus".to_owned()))?;
        Ok(runs.then_some(Firewalld { runtime, bus }))
    }

    /// Puts the addresses into the zone.
    ///
    /// # Errors
    /// firewalld's: that there is no such zone, or that another zone has the address.
    pub fn add(&self, zone: &str, addresses: &[IpAddr]) -> Result<(), Error> {
        for address in addresses {
            match self.call("addSource", zone, *address) {
                Err(e) if e.says(&["ZONE_ALREADY_SET", "ALREADY_ENABLED"]) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Takes the addresses out of the zone, where they are in it.
    ///
    /// # Errors
    /// firewalld's.
    pub fn remove(&self, zone: &str, addresses: &[IpAddr]) -> Result<(), Error> {
        for address in addresses {
            match self.call("removeSource", zone, *address) {
                // Another zone has it, or none, or there is no such zone: it is not in this one.
                Err(e) if e.says(&["UNKNOWN_SOURCE", "NOT_ENABLED", "ZONE_CONFLICT", "INVALID_ZONE", GONE]) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// The first of the addresses that is not in the zone.
    ///
    /// # Errors
    /// firewalld's.
    pub fn missing(&self, zone: &str, addresses: &[IpAddr]) -> Result<Option<IpAddr>, Error> {
        for address in addresses {
            let answer = self.call("querySource", zone, *address)?;
            let is_there = answer.body().deserialize::<bool>();
            if !is_there.map_err(failed(format!("understand whether zone {zone:?} has {address}")))? {
                return Ok(Some(*address));
            }
        }
        Ok(None)
    }

    fn call(&self, method: &str, zone: &str, address: IpAddr) -> Result<zbus::Message, Error> {
        let source = match address {
            IpAddr::V4(address) => format!("{address}/32"),
            IpAddr::V6(address) => format!("{address}/128"),
        };
        let arguments = (zone, source.as_str());
        let answer = self.bus.call_method(Some(NAME), PATH, Some(ZONE), method, &arguments);
        wait(&self.runtime, answer)?.map_err(failed(format!("{method} {source} in zone {zone:?}")))
    }
}

fn wait<T>(runtime: &Runtime, future: impl Future<Output = T>) -> Result<T, Error> {
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await }).map_err(|_| Error::Timeout)
}

fn failed(doing: String) -> impl FnOnce(zbus::Error) -> Error {
    move |source| Error::Bus { doing, source: Box::new(source) }
}
