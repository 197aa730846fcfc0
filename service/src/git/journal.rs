//! The journal of the branch: what a publish is about to do, durable in one sync before any of it is seen.
//!
//! A push of the service is a pack, its index and the branch's new value. Made durable one by one, in their order, they cost three syncs
//! of the disk, and every caller waits for all of them. Here the whole push is one record at the end of one file, and that file is synced;
//! then pack, index and branch are written as plain files, which whoever reads the repository sees at once. What a crash takes of those,
//! the next start does again from the record: every step of it is harmless to repeat.
//!
//! The file is used again from its beginning after a checkpoint, which syncs the whole file system once, and grows to
//! [`LENGTH_MAX`] bytes and one record at most.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use git2::Oid;
use sha1::{Digest as _, Sha1};

use super::GitError;
use super::pack::Pack;
use super::tree::ID_BYTES;

/// The file in the repository.
const FILE: &str = "kmlflow-journal";

/// What every record begins with.
const MAGIC: &[u8; 8] = b"k5wjrnl1";

/// Magic, epoch, number, length of the body, checksum of all but the magic.
const HEADER_BYTES: usize = 8 + 8 + 8 + 8 + CHECKSUM_BYTES;
/// SHA-1, as everything in a repository.
const CHECKSUM_BYTES: usize = 20;

/// From this length on, in bytes, a checkpoint is due: some four hundred pushes of one commit, or two of a whole batch, which is a fraction
/// of a second to do again. The file has it from the start, so that a record changes no metadata that would have to be synced with it.
const LENGTH_MAX: usize = 4 << 20;

/// How much of the new file is written at once. The kernel keeps what is written at once together, and goes through all of that with each
/// later write into it.
const ZEROS_BYTES: usize = 16 << 10;

/// One push: where the branch was, where it goes, and the new objects.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) base: Oid,
    pub(super) tip: Oid,
    /// None where every object was there already.
    pub(super) pack: Option<Pack>,
}

/// The open file. Records of one epoch follow each other by number, so what an earlier use of the file left behind them is not read.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    end: u64,
    epoch: [u8; 8],
    number: u64,
}

impl Journal {
    /// Opens the journal of a repository, made where there is none, and reads the records that are whole.
    pub(super) fn open(repository: &Path) -> Result<(Self, Vec<Record>), GitError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(repository.join(FILE))?;
        let bytes = fs::read(repository.join(FILE))?;
        let records = read(&bytes);
        if let Some(missing @ 1..) = LENGTH_MAX.checked_sub(bytes.len()) {
            let end = bytes.len() + missing;
            for at in (bytes.len()..end).step_by(ZEROS_BYTES) {
                file.write_all_at(&[0; ZEROS_BYTES][..ZEROS_BYTES.min(end - at)], at as u64)?;
            }
            file.sync_all()?;
        }
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).map_err(|error| GitError::Disk(Box::new(error)))?;
        Ok((Self { file, end: 0, epoch, number: 0 }, records))
    }

    /// Adds a record, durably.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), GitError> {
        let mut bytes = header(record, self.epoch, self.number);
        for part in objects(record) {
            bytes.extend_from_slice(part);
        }
        // At its place and not at the end of the file: a record that was written by half is written over.
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        self.number += 1;
        Ok(())
    }

    /// Whether a checkpoint is due.
    pub(super) fn is_long(&self) -> bool {
        self.end >= LENGTH_MAX as u64
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Begins anew, once everything in it is durable elsewhere. Were this lost in a crash, the old records would be done again in vain.
    pub(super) fn reset(&mut self) -> Result<(), GitError> {
        self.file.write_all_at(&[0; MAGIC.len()], 0)?;
        self.end = 0;
        Ok(())
    }
}

/// Whether a repository has records that the next start does again.
#[cfg(test)]
pub(super) fn has_records(repository: &Path) -> bool {
    !read(&fs::read(repository.join(FILE)).unwrap_or_default()).is_empty()
}

/// The bytes of pack and index.
fn objects(record: &Record) -> [&[u8]; 2] {
    record.pack.as_ref().map_or([&[], &[]], |pack| [&pack.bytes, &pack.index])
}

/// Everything of a record that comes before pack and index.
fn header(record: &Record, epoch: [u8; 8], number: u64) -> Vec<u8> {
    let [pack, index] = objects(record);
    let length = 2 * ID_BYTES + 8 + pack.len() + index.len();
    let mut header = Vec::with_capacity(HEADER_BYTES + 2 * ID_BYTES + 8);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&epoch);
    header.extend_from_slice(&number.to_be_bytes());
    header.extend_from_slice(&(length as u64).to_be_bytes());
    header.extend_from_slice(&[0; CHECKSUM_BYTES]);
    header.extend_from_slice(record.base.as_bytes());
    header.extend_from_slice(record.tip.as_bytes());
    header.extend_from_slice(&(pack.len() as u64).to_be_bytes());
    let checksum = checksum(&[&header, pack, index]);
    header[HEADER_BYTES - CHECKSUM_BYTES..HEADER_BYTES].copy_from_slice(&checksum);
    header
}

/// Over epoch, number, length and body; `parts` are those of one record, the first with all of its header.
fn checksum(parts: &[&[u8]]) -> [u8; CHECKSUM_BYTES] {
    let (first, others) = parts.split_first().map_or((&[][..], &[][..]), |(first, others)| (*first, others));
    let (header, body) = first.split_at(HEADER_BYTES);
    let mut sha1 = Sha1::new().chain_update(&header[MAGIC.len()..HEADER_BYTES - CHECKSUM_BYTES]).chain_update(body);
    others.iter().for_each(|part| sha1.update(part));
    sha1.finalize().into()
}

/// The records at the beginning of the file, up to the first that is not whole or does not follow.
fn read(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut first = None;
    while let Some((epoch, number, record, rest)) = split(bytes) {
        let (begun, from) = *first.get_or_insert((epoch, number));
        if epoch != begun || number != from + records.len() as u64 {
            break;
        }
        records.push(record);
        bytes = rest;
    }
    records
}

/// The first record with its epoch and number, and what is behind it; nothing where it is not whole.
fn split(bytes: &[u8]) -> Option<([u8; 8], u64, Record, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (length, _) = rest.split_first_chunk::<8>()?;
    let end = HEADER_BYTES.checked_add(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    let (record, rest) = bytes.split_at_checked(end)?;
    if record[HEADER_BYTES - CHECKSUM_BYTES..HEADER_BYTES] != checksum(&[record]) {
        return None;
    }
    let body = &record[HEADER_BYTES..];
    let (base, body) = body.split_first_chunk::<ID_BYTES>()?;
    let (tip, body) = body.split_first_chunk::<ID_BYTES>()?;
    let (pack_length, body) = body.split_first_chunk::<8>()?;
    let (pack, index) = body.split_at_checked(usize::try_from(u64::from_be_bytes(*pack_length)).ok()?)?;
    let pack = (!pack.is_empty()).then(|| Pack { bytes: pack.to_vec(), index: index.to_vec() });
    let record = Record { base: Oid::from_bytes(base).ok()?, tip: Oid::from_bytes(tip).ok()?, pack };
    Some((*epoch, u64::from_be_bytes(*number), record, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record without a pack, so that all of them have the same length.
    fn record(tip: u8) -> Record {
        let oid = |byte| Oid::from_bytes(&[byte; ID_BYTES]).unwrap();
        Record { base: oid(tip - 1), tip: oid(tip), pack: None }
    }

    fn tips_of(journal: &[u8]) -> Vec<u8> {
        read(journal).iter().map(|record| record.tip.as_bytes()[0]).collect()
    }

    fn tips(repository: &Path) -> Vec<u8> {
        tips_of(&fs::read(repository.join(FILE)).unwrap())
    }

    fn journal_of(repository: &Path, tips: &[u8]) -> Journal {
        let (mut journal, _) = Journal::open(repository).unwrap();
        tips.iter().for_each(|tip| journal.append(&record(*tip)).unwrap());
        journal
    }

    #[test]
    fn what_an_earlier_use_left_just_behind_a_record_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = journal_of(directory.path(), &[1, 2, 3]);
        assert_eq!(tips(directory.path()), [1, 2, 3]);
        // After a checkpoint: the same epoch, and a number that does not follow.
        journal.reset().unwrap();
        assert!(tips(directory.path()).is_empty());
        journal.append(&record(4)).unwrap();
        assert_eq!(tips(directory.path()), [4]);
    }

    #[test]
    fn what_an_earlier_process_left_just_behind_a_record_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        drop(journal_of(directory.path(), &[1, 2, 3]));
        // After a restart: a number that follows, and another epoch.
        drop(journal_of(directory.path(), &[4]));
        assert_eq!(tips(directory.path()), [4]);
    }

    #[test]
    fn a_record_of_which_a_byte_is_another_one_is_not_read_nor_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        drop(journal_of(directory.path(), &[1, 2, 3]));
        let length = HEADER_BYTES + 2 * ID_BYTES + 8;
        let mut journal = fs::read(directory.path().join(FILE)).unwrap();
        for at in length..2 * length {
            journal[at] ^= 1;
            assert_eq!(tips_of(&journal), [1], "byte {at}");
            journal[at] ^= 1;
        }
        assert_eq!(tips_of(&journal), [1, 2, 3]);
    }
}
