//! The MAC a pod asks for.

use netlink::MacAddr;

/// The first MAC given, in order of precedence; each place is the key it stands under, and its value if there is one.
///
/// # Errors
/// Which key has a value that no single interface can have.
pub fn requested_mac(places: &[(&str, Option<&str>)]) -> Result<Option<MacAddr>, String> {
    let Some((key, text)) = places.iter().find_map(|(key, text)| Some((key, text.filter(|text| !text.is_empty())?)))
    else {
        return Ok(None);
    };
    let mac: MacAddr = text.parse().map_err(|e| format!("{key}: {e}"))?;
    if mac.is_multicast() || mac.is_zero() {
        return Err(format!("{key}: {mac} is no address of a single interface (it is multicast or all zero)"));
    }
    Ok(Some(mac))
}
