//! A rate with its burst, as the kernel's schedulers count them.

use netlink_packet_route::tc::TcOption;

use super::raw;
use crate::packet::Attribute;

/// `PSCHED_SHIFT`: a tick is 64 ns, on every kernel since 2.6.31.
const TICK_NS: u128 = 64;
const SECOND_NS: u128 = 1_000_000_000;
/// `struct tc_ratespec` as `tc` fills it: cells of 8 bytes, Ethernet, `cell_align` -1. As the link layer is named, the
/// kernel asks for no rate table (since 3.8).
const CELL_LOG: u8 = 3;
const LINKLAYER_ETHERNET: u8 = 1;
const CELL_ALIGN: i16 = -1;
/// Where `struct tc_ratespec` holds the rate.
const RATE: usize = 8;

/// A rate, and how much may go out at once after a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second; never 0.
    pub bytes_per_second: u64,
    /// Bytes. The kernel stores the time they take and forgets what is above 274 s: read back, it is rounded.
    pub burst: u32,
}

impl Rate {
    /// Whether `found`, read from the kernel, is this one: the rate exactly, the burst within what two writers may round.
    pub fn is(&self, found: &Rate) -> bool {
        let wanted = self.ticks();
        let tolerance = (wanted >> 10).max(32);
        let differs_by = |other: u64| wanted.abs_diff(other);
        // tbf shows the low 32 bits of a longer time, htb the greatest value.
        let shown = [wanted & u64::from(u32::MAX), u64::from(self.ticks_clamped())];
        let ticks = found.ticks();
        self.bytes_per_second == found.bytes_per_second
            && (differs_by(ticks) <= tolerance || shown.iter().any(|shown| shown.abs_diff(ticks) <= tolerance))
    }

    /// The time the burst takes, in ticks.
    fn ticks(&self) -> u64 {
        let ns = u128::from(self.burst) * SECOND_NS / u128::from(self.bytes_per_second.max(1));
        u64::try_from(ns / TICK_NS).unwrap_or(u64::MAX)
    }

    pub(super) fn ticks_clamped(&self) -> u32 {
        u32::try_from(self.ticks()).unwrap_or(u32::MAX)
    }

    /// `struct tc_ratespec`.
    pub(super) fn spec(&self) -> [u8; 12] {
        let mut spec = [0; 12];
        spec[0] = CELL_LOG;
        spec[1] = LINKLAYER_ETHERNET;
        spec[4..6].copy_from_slice(&CELL_ALIGN.to_ne_bytes());
        let rate = u32::try_from(self.bytes_per_second).unwrap_or(u32::MAX);
        spec[RATE..].copy_from_slice(&rate.to_ne_bytes());
        spec
    }

    /// The attribute for a rate that `struct tc_ratespec` has no room for.
    pub(super) fn rate64(&self, kind: u16) -> Option<TcOption> {
        let wide = self.bytes_per_second >= u64::from(u32::MAX);
        wide.then(|| raw(kind, self.bytes_per_second.to_ne_bytes().to_vec()))
    }

    /// Reads the rate whose `tc_ratespec` is at `spec`, and whose burst in ticks is at `buffer`.
    pub(super) fn parse(
        parameters: Attribute<'_>,
        spec: usize,
        buffer: usize,
        rate64: Option<Attribute<'_>>,
    ) -> Option<Rate> {
        let narrow = parameters.u32_at(spec + RATE)?;
        let wide = rate64.and_then(|wide| wide.value.try_into().ok()).map(u64::from_ne_bytes);
        let bytes_per_second = wide.unwrap_or_else(|| narrow.into());
        let ns = u128::from(parameters.u32_at(buffer)?) * TICK_NS;
        // Half a tick more, so that what was written is read back.
        let burst = (ns + TICK_NS / 2) * u128::from(bytes_per_second) / SECOND_NS;
        Some(Rate { bytes_per_second, burst: u32::try_from(burst).unwrap_or(u32::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_second: u64, burst: u32) -> Rate {
        Rate { bytes_per_second, burst }
    }

    #[test]
    fn ticks_are_those_of_tc() {
        // `tc qdisc add … tbf rate 8mbit burst 16384` sends 0x3e800.
        assert_eq!(rate(1_000_000, 16_384).ticks_clamped(), 0x3e800);
        assert_eq!(rate(1, u32::MAX).ticks_clamped(), u32::MAX);
        assert_eq!(rate(0, 1).ticks(), 15_625_000);
    }

    #[test]
    fn a_rate_is_itself_after_rounding_and_no_other() {
        let wanted = rate(1_250_000, 31_250);
        assert!(wanted.is(&wanted) && wanted.is(&rate(1_250_000, 31_249)));
        for other in [rate(1_250_001, 31_250), rate(1_250_000, 31_000), rate(1_250_000, 62_500)] {
            assert!(!wanted.is(&other), "{other:?}");
        }
    }
}
