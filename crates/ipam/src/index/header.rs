//! The first page of an index: what it is of, and how long its parts are.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::boot::Mark;
use crate::index::stamp::Stamp;
use crate::index::taken::BLOCK_LENGTH;
use crate::index::{Stale, slots};

const MAGIC: &[u8; 16] = b"podlink-ipam-ix1";
const MARK: std::ops::Range<usize> = 16..80;
const NUMBERS: usize = 80;
const STAMP: usize = 104;

/// Room for more blocks than there are, and what one more is made for.
const SPARE_BLOCKS: usize = 8;
/// Some hundred million entries.
const MOST_PAGES: u32 = 1 << 20;
/// More blocks than this mean addresses strewn over so many subnets that an index is of no use.
pub(crate) const MOST_BLOCKS: usize = 1024;

/// Facts about the whole index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    mark: [u8; 64],
    /// Pages of slots.
    pub(crate) pages: u32,
    /// How many blocks of taken addresses there is room for.
    pub(crate) block_room: u32,
    /// How many there are.
    pub(crate) blocks: u32,
    /// Slots that are not empty.
    pub(crate) used_slots: u32,
    /// Reservations that are damaged.
    pub(crate) damaged: u32,
    /// Reservations of an earlier boot.
    pub(crate) earlier: u32,
    /// The directory it is of, and its state.
    pub(crate) stamp: Stamp,
}

impl Header {
    /// How long it is in the file.
    pub(crate) const LENGTH: u64 = 4096;

    pub(crate) fn new(mark: &Mark, blocks: usize, entries: usize) -> Self {
        Self {
            mark: padded(mark),
            pages: slots::pages_for(entries),
            block_room: u32::try_from(blocks + SPARE_BLOCKS).unwrap_or(u32::MAX),
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            used_slots: 0,
            damaged: 0,
            earlier: 0,
            stamp: Stamp::default(),
        }
    }

    pub(crate) fn is_of(&self, mark: &Mark) -> bool {
        self.mark == padded(mark)
    }

    /// Where the slots begin.
    pub(crate) fn slots_at(&self) -> u64 {
        (Self::LENGTH + u64::from(self.block_room) * BLOCK_LENGTH as u64).next_multiple_of(4096)
    }

    pub(crate) fn read(file: &File) -> Result<Self, Stale> {
        let mut bytes = [0; STAMP + Stamp::LENGTH];
        file.read_exact_at(&mut bytes, 0)?;
        let number = |i: usize| {
            let at = NUMBERS + 4 * i;
            bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes).ok_or(Stale)
        };
        let header = Self {
            mark: bytes[MARK].try_into().map_err(|_| Stale)?,
            pages: number(0)?,
            block_room: number(1)?,
            blocks: number(2)?,
            used_slots: number(3)?,
            damaged: number(4)?,
            earlier: number(5)?,
            stamp: Stamp::from_bytes(&bytes[STAMP..]).ok_or(Stale)?,
        };
        let sound = bytes.starts_with(MAGIC)
            && (1..MOST_PAGES).contains(&header.pages)
            && header.blocks <= header.block_room
            && header.block_room as usize <= MOST_BLOCKS + SPARE_BLOCKS;
        if sound { Ok(header) } else { Err(Stale) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &self.mark].concat();
        for number in [self.pages, self.block_room, self.blocks, self.used_slots, self.damaged, self.earlier] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.stamp.bytes());
        bytes
    }
}

fn padded(mark: &Mark) -> [u8; 64] {
    let mut padded = [0; 64];
    padded.iter_mut().zip(mark.as_str().bytes()).for_each(|(to, from)| *to = from);
    padded
}
