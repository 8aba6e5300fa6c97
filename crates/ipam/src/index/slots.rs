//! From attachments to addresses: a hash table of pages, of which a look-up reads one.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::FileExt;

use crate::index::Stale;
use crate::index::header::Header;

const PAGE: usize = 4096;
/// Key (8) and address (16; IPv4 as IPv4-mapped, which no address of its own can be).
const SLOT: usize = 24;
const SLOTS: usize = PAGE / SLOT;
/// Keys of slots without an entry: never used, and used once in a page that was full, so that what did not fit there
/// and went to the next page is still found.
const EMPTY: u64 = 0;
const DELETED: u64 = 1;

/// How many pages hold this many entries with room to grow to twice as many.
pub(crate) fn pages_for(entries: usize) -> u32 {
    u32::try_from((entries * 3).div_ceil(SLOTS).max(1)).unwrap_or(u32::MAX)
}

/// The addresses entered under the key.
pub(crate) fn find(file: &File, header: &Header, key: u64) -> Result<Vec<IpAddr>, Stale> {
    let mut found = Vec::new();
    for number in pages(header, key) {
        let page = read(file, header, number)?;
        for i in 0..SLOTS {
            match page.key(i) {
                EMPTY => return Ok(found),
                there if there == key => found.push(page.address(i)),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Enters an address.
pub(crate) fn insert(file: &File, header: &mut Header, key: u64, address: IpAddr) -> Result<(), Stale> {
    if header.used_slots as usize >= header.pages as usize * SLOTS / 4 * 3 {
        // Made anew it is larger.
        return Err(Stale);
    }
    for number in pages(header, key) {
        let page = read(file, header, number)?;
        if let Some(i) = (0..SLOTS).find(|i| page.key(*i) <= DELETED) {
            header.used_slots += u32::from(page.key(i) == EMPTY);
            return write(file, header, number, i, &entry(key, address));
        }
    }
    Err(Stale)
}

/// Removes one, which must be there.
pub(crate) fn remove(file: &File, header: &mut Header, key: u64, address: IpAddr) -> Result<(), Stale> {
    for number in pages(header, key) {
        let page = read(file, header, number)?;
        let used = (0..SLOTS).take_while(|i| page.key(*i) != EMPTY).count();
        let Some(i) = (0..used).find(|i| page.key(*i) == key && page.address(*i) == address) else {
            if used < SLOTS {
                return Err(Stale);
            }
            continue;
        };
        if used == SLOTS {
            let mut deleted = [0; SLOT];
            deleted[..8].copy_from_slice(&DELETED.to_le_bytes());
            return write(file, header, number, i, &deleted);
        }
        // The last entry takes its place, so that the empty slots stay together at the end.
        header.used_slots = header.used_slots.saturating_sub(1);
        if i + 1 < used {
            write(file, header, number, i, page.slot(used - 1))?;
        }
        return write(file, header, number, used - 1, &[0; SLOT]);
    }
    Err(Stale)
}

/// Writes all pages at once.
pub(crate) fn build(file: &File, header: &mut Header, entries: &[(u64, IpAddr)]) -> Result<(), Stale> {
    let mut table = vec![0; header.pages as usize * PAGE];
    let mut used = vec![0; header.pages as usize];
    for (key, address) in entries {
        let page = pages(header, *key).find(|page| used[*page as usize] < SLOTS).ok_or(Stale)? as usize;
        let at = page * PAGE + used[page] * SLOT;
        table[at..at + SLOT].copy_from_slice(&entry(*key, *address));
        used[page] += 1;
    }
    header.used_slots = u32::try_from(entries.len()).map_err(|_| Stale)?;
    Ok(file.write_all_at(&table, header.slots_at())?)
}

/// The pages in which a key may be, in the order to look.
fn pages(header: &Header, key: u64) -> impl Iterator<Item = u32> + use<> {
    let count = header.pages;
    let first = (key % u64::from(count)) as u32;
    (first..count).chain(0..first)
}

struct Page([u8; PAGE]);

impl Page {
    fn slot(&self, i: usize) -> &[u8] {
        &self.0[i * SLOT..(i + 1) * SLOT]
    }

    fn key(&self, i: usize) -> u64 {
        let mut key = [0; 8];
        key.copy_from_slice(&self.slot(i)[..8]);
        u64::from_le_bytes(key)
    }

    fn address(&self, i: usize) -> IpAddr {
        let mut address = [0; 16];
        address.copy_from_slice(&self.slot(i)[8..]);
        Ipv6Addr::from(address).to_canonical()
    }
}

fn entry(key: u64, address: IpAddr) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&key.to_le_bytes());
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    slot[8..].copy_from_slice(&address.octets());
    slot
}

fn read(file: &File, header: &Header, page: u32) -> Result<Page, Stale> {
    let mut bytes = [0; PAGE];
    file.read_exact_at(&mut bytes, header.slots_at() + u64::from(page) * PAGE as u64)?;
    Ok(Page(bytes))
}

fn write(file: &File, header: &Header, page: u32, slot: usize, bytes: &[u8]) -> Result<(), Stale> {
    let at = header.slots_at() + u64::from(page) * PAGE as u64 + (slot * SLOT) as u64;
    Ok(file.write_all_at(bytes, at)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Mark;

    fn address(i: u32) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(i) + 1).into()
    }

    #[test]
    fn what_does_not_fit_its_page_is_found_in_the_next() {
        let file = tempfile::tempfile().unwrap();
        let mut header = Header::new(&Mark::current().unwrap(), 0, 200);
        build(&file, &mut header, &[]).unwrap();
        assert_eq!(header.pages, 4);
        // All of these belong into page 2.
        let key = |i: u32| u64::from(i) * 4 + 6;
        let found = |header: &Header, i| find(&file, header, key(i)).unwrap();
        (0..400).for_each(|i| insert(&file, &mut header, key(i), address(i)).unwrap());
        assert!((0..400).all(|i| found(&header, i) == [address(i)]));
        (0..400).step_by(3).for_each(|i| remove(&file, &mut header, key(i), address(i)).unwrap());
        (0..400).for_each(|i| assert_eq!(found(&header, i).len(), usize::from(i % 3 != 0), "{i}"));
        assert!(remove(&file, &mut header, key(0), address(0)).is_err());
        (0..400).step_by(3).for_each(|i| insert(&file, &mut header, key(i), address(i)).unwrap());
        assert!((0..400).all(|i| found(&header, i) == [address(i)]));
    }

    #[test]
    fn a_full_table_refuses_before_look_ups_get_slow() {
        let file = tempfile::tempfile().unwrap();
        let mut header = Header::new(&Mark::current().unwrap(), 0, 0);
        build(&file, &mut header, &[]).unwrap();
        let room = (0..).take_while(|i| insert(&file, &mut header, u64::from(*i) + 2, address(*i)).is_ok()).count();
        assert_eq!(room, SLOTS / 4 * 3);
    }
}
