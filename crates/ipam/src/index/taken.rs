//! Which addresses are taken: bitmaps of 4,096 neighbours each.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use crate::address::to_bits;
use crate::index::Stale;
use crate::index::header::{Header, MOST_BLOCKS};

/// Low bits of an address that a block covers.
const WIDTH: u32 = 12;
const BITMAP: usize = (1 << WIDTH) / 8;
/// In the file: number of the block (16), family (8), bitmap.
pub(crate) const BLOCK_LENGTH: usize = PREFIX + BITMAP;
const PREFIX: usize = 24;

/// The bitmaps, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    /// Family and upper bits of its addresses.
    key: (bool, u128),
    bits: [u8; BITMAP],
}

impl Taken {
    pub(crate) fn read(file: &File, header: &Header) -> Result<Self, Stale> {
        let mut bytes = vec![0; header.blocks as usize * BLOCK_LENGTH];
        file.read_exact_at(&mut bytes, Header::LENGTH)?;
        let block = |bytes: &[u8]| {
            let number = u128::from_le_bytes(bytes.get(..16)?.try_into().ok()?);
            Some(Block { key: (bytes[16] == 6, number), bits: bytes.get(PREFIX..)?.try_into().ok()? })
        };
        let blocks = bytes.chunks(BLOCK_LENGTH).map(block).collect::<Option<_>>().ok_or(Stale)?;
        Ok(Self { blocks })
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(Block::bytes).collect()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (key, byte, bit) = place(address);
        self.blocks.iter().any(|block| block.key == key && block.bits[byte] & bit != 0)
    }

    /// How many addresses from `first` to `last` are marked, both included.
    pub(crate) fn count(&self, first: IpAddr, last: IpAddr) -> usize {
        let (from, to) = (to_bits(first), to_bits(last));
        let of_family = self.blocks.iter().filter(|block| block.key.0 == first.is_ipv6());
        let count = |block: &Block| {
            let begin = block.key.1 << WIDTH;
            let end = begin | ((1 << WIDTH) - 1);
            if from <= begin && end <= to {
                return block.bits.iter().map(|byte| byte.count_ones() as usize).sum();
            }
            let is_marked = |bits: &u128| block.bits[(bits - begin) as usize / 8] & (1 << (bits % 8)) != 0;
            (from.max(begin)..=to.min(end)).filter(is_marked).count()
        };
        of_family.map(count).sum()
    }

    /// Marks an address, here alone.
    pub(crate) fn note(&mut self, address: IpAddr) -> Result<(), Stale> {
        let (key, byte, bit) = place(address);
        let at = match self.position(key) {
            Some(at) => at,
            None if self.blocks.len() == MOST_BLOCKS => return Err(Stale),
            None => {
                self.blocks.push(Block { key, bits: [0; BITMAP] });
                self.blocks.len() - 1
            }
        };
        self.blocks[at].bits[byte] |= bit;
        Ok(())
    }

    /// Marks an address, here and in the file.
    pub(crate) fn insert(&mut self, file: &File, header: &mut Header, address: IpAddr) -> Result<(), Stale> {
        let before = self.blocks.len();
        if before == header.block_room as usize && self.position(place(address).0).is_none() {
            return Err(Stale);
        }
        self.note(address)?;
        if self.blocks.len() > before {
            header.blocks += 1;
            let bytes: Vec<u8> = self.blocks[before].bytes().collect();
            return Ok(file.write_all_at(&bytes, block_at(before))?);
        }
        self.write(file, address)
    }

    /// Clears the mark of an address, here and in the file.
    pub(crate) fn remove(&mut self, file: &File, address: IpAddr) -> Result<(), Stale> {
        let (key, byte, bit) = place(address);
        let at = self.position(key).ok_or(Stale)?;
        self.blocks[at].bits[byte] &= !bit;
        self.write(file, address)
    }

    fn write(&self, file: &File, address: IpAddr) -> Result<(), Stale> {
        let (key, byte, _) = place(address);
        let at = self.position(key).ok_or(Stale)?;
        Ok(file.write_all_at(&[self.blocks[at].bits[byte]], block_at(at) + (PREFIX + byte) as u64)?)
    }

    fn position(&self, key: (bool, u128)) -> Option<usize> {
        self.blocks.iter().position(|block| block.key == key)
    }
}

impl Block {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        let (v6, upper) = self.key;
        let family = [if v6 { 6 } else { 4 }, 0, 0, 0, 0, 0, 0, 0];
        upper.to_le_bytes().into_iter().chain(family).chain(self.bits)
    }
}

fn block_at(position: usize) -> u64 {
    Header::LENGTH + (position * BLOCK_LENGTH) as u64
}

/// The block an address belongs to, and its byte and bit there.
fn place(address: IpAddr) -> ((bool, u128), usize, u8) {
    let bits = to_bits(address);
    let within = (bits & ((1 << WIDTH) - 1)) as usize;
    ((address.is_ipv6(), bits >> WIDTH), within / 8, 1 << (within % 8))
}
