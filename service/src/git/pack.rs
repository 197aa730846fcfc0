//! A pack of new objects with its index, as Git's `pack-format` describes them (version 2 of both).
//!
//! Written here because libgit2's pack builder looks for a delta between any two objects of a batch, which costs ten times as much as
//! the whole commit, and its pack writer unpacks and hashes everything once more. Git's own repack makes the deltas later.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Crc;
use git2::{ObjectType, Odb, Oid};
use sha1::{Digest as _, Sha1};

use super::GitError;
use super::objects::{Data, Object, deflate};
use super::tree::ID_BYTES;

/// Where a repository keeps its packs.
const DIRECTORY: &str = "objects/pack";

/// The name that an index is written under first; Git takes names of this kind for garbage that may be removed.
const INDEX_ASIDE: &str = "tmp_idx_next";

/// The bytes of a checksum, with which a pack ends and by which it is named.
const CHECKSUM_BYTES: usize = 20;

/// In an index: what comes before the numbers of objects up to each first byte of their ids, and those numbers. The ids follow.
const INDEX_HEADER_BYTES: usize = 8;
const INDEX_NUMBERS_BYTES: usize = 256 * 4;

/// The bytes of a pack and of its index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pack {
    pub(super) bytes: Vec<u8>,
    pub(super) index: Vec<u8>,
}

impl Pack {
    /// Puts it into a repository; a crash may take it away again until the file system is synced. Changes nothing where it is there as
    /// it should be.
    pub(super) fn place(&self, repository: &Path) -> Result<(), GitError> {
        let directory = repository.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        let [pack, index] = self.files(&directory);
        if is(&pack, &self.bytes)? && is(&index, &self.index)? {
            return Ok(());
        }
        // Nobody looks at a pack without an index, so only the index needs to appear as a whole.
        write_new(&pack, &self.bytes)?;
        write_new(&directory.join(INDEX_ASIDE), &self.index)?;
        Ok(fs::rename(directory.join(INDEX_ASIDE), index)?)
    }

    /// Puts it into a repository, unless every object of it is there whole in another pack and there is nothing by its own name.
    pub(super) fn place_if_missing(&self, repository: &Path, objects: &Odb<'_>) -> Result<(), GitError> {
        let is_named = self.files(&repository.join(DIRECTORY)).iter().any(|file| file.exists());
        // What is read is hashed, so an object that was torn counts as missing.
        if !is_named && self.ids().all(|id| objects.read(id).is_ok()) { Ok(()) } else { self.place(repository) }
    }

    fn files(&self, directory: &Path) -> [PathBuf; 2] {
        let name = hex::encode(&self.bytes[self.bytes.len().saturating_sub(CHECKSUM_BYTES)..]);
        ["pack", "idx"].map(|suffix| directory.join(format!("pack-{name}.{suffix}")))
    }

    /// Its objects, as the index has them.
    fn ids(&self) -> impl Iterator<Item = Oid> {
        let (numbers, ids) = self.index[INDEX_HEADER_BYTES..].split_at(INDEX_NUMBERS_BYTES);
        let count = numbers.last_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        ids.chunks_exact(ID_BYTES).take(count as usize).filter_map(|id| Oid::from_bytes(id).ok())
    }
}

/// Whether a file is there and holds just these bytes.
fn is(path: &Path, bytes: &[u8]) -> Result<bool, GitError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() != bytes.len() as u64 => Ok(false),
        Ok(_) => Ok(fs::read(path)? == bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes a new file, in place of what a crash may have left there.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    // Git's packs are read-only.
    let new = || OpenOptions::new().write(true).create_new(true).mode(0o444).open(path);
    let mut file = match new() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            new()?
        }
        opened => opened?,
    };
    Ok(file.write_all(bytes)?)
}

/// Where an object is in the pack.
struct Place {
    id: Oid,
    crc: u32,
    offset: u32,
}

/// Makes a pack of some objects.
pub(super) fn encode(objects: &[(Oid, Object)]) -> Result<Pack, GitError> {
    let too_many = || GitError::TooLarge { path: "the batch".to_owned(), max: u32::MAX as usize / 2 };
    let count = u32::try_from(objects.len()).map_err(|_| too_many())?;
    let mut pack = Vec::new();
    pack.extend_from_slice(b"PACK\0\0\0\x02");
    pack.extend_from_slice(&count.to_be_bytes());
    let mut places = Vec::with_capacity(objects.len());
    for (id, object) in objects {
        let start = pack.len();
        // The top bit of an offset is for files beyond 2 GiB, which a batch never is.
        let offset = u32::try_from(start).ok().filter(|offset| offset >> 31 == 0).ok_or_else(too_many)?;
        push_header(&mut pack, object);
        match &object.data {
            Data::Plain(bytes) => pack = deflate(bytes, pack)?,
            Data::Deflated(deflated) => pack.extend_from_slice(deflated),
        }
        let mut crc = Crc::new();
        crc.update(&pack[start..]);
        places.push(Place { id: *id, crc: crc.sum(), offset });
    }
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    Ok(Pack { index: index(places, &checksum), bytes: pack })
}

/// Kind and size: three bits of kind and four of size, then seven of size for each further byte, the lowest first.
fn push_header(pack: &mut Vec<u8>, object: &Object) {
    let kind = match object.kind {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Blob => 3,
        ObjectType::Tag | ObjectType::Any => 4,
    };
    let mut rest = object.size;
    let mut byte = kind << 4 | low_bits(rest, 4);
    rest >>= 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = low_bits(rest, 7);
        rest >>= 7;
    }
    pack.push(byte);
}

fn low_bits(number: usize, bits: u32) -> u8 {
    u8::try_from(number & ((1 << bits) - 1)).unwrap_or_default()
}

fn index(mut places: Vec<Place>, pack_checksum: &[u8]) -> Vec<u8> {
    places.sort_by_key(|place| place.id);
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    let mut up_to = 0;
    for first in 0..=u8::MAX {
        up_to += places[up_to..].iter().take_while(|place| place.id.as_bytes()[0] == first).count();
        index.extend_from_slice(&u32::try_from(up_to).unwrap_or(u32::MAX).to_be_bytes());
    }
    places.iter().for_each(|place| index.extend_from_slice(place.id.as_bytes()));
    places.iter().for_each(|place| index.extend_from_slice(&place.crc.to_be_bytes()));
    places.iter().for_each(|place| index.extend_from_slice(&place.offset.to_be_bytes()));
    index.extend_from_slice(pack_checksum);
    let checksum = Sha1::digest(&index);
    index.extend_from_slice(&checksum);
    index
}
