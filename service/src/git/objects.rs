//! Objects by id: those in the repository, and in memory those that were made and are not there yet or were a moment ago.
//!
//! A commit of the service is some eight objects. As loose files they cost eight files with a directory each, and a crash could leave
//! an empty file that a later commit takes for the object. In memory they cost a hash, and `publish` makes one pack of them. The trees on
//! the way to the next commit are nearly always those of the last one, so they stay for a while.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::ZlibDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};
use git2::{ObjectType, Odb, Oid};
use sha1::{Digest as _, Sha1};

use super::GitError;

/// The most bytes of published trees and commits that are kept: the trees of a batch over a hundred namespaces.
const RECENT_BYTES_MAX: usize = 2 << 20;

/// Up to so many bytes an object is kept as it is, in the form of something deflated: to clear the tables of the compressor takes longer than
/// all else about it, and most of a small tree are ids, which do not get smaller. That is half of the objects of a commit.
const STORED_BYTES_MAX: usize = 1_024;

/// Room in bytes that is made at least for what deflating gives next.
const DEFLATED_BYTES_MIN: usize = 64;

/// An object that was made.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) kind: ObjectType,
    /// Its length in bytes.
    pub(super) size: usize,
    pub(super) data: Data,
}

/// The bytes of an object. The files of a commit are deflated with it, as the pack wants them: a batch of them in full is ten MiB, and hardly
/// one is read again. The trees of the newest commit are.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Plain(Arc<[u8]>),
    Deflated(Arc<[u8]>),
}

impl Object {
    /// Makes an object, with its id: the SHA-1 of its kind, length and bytes
    /// (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects#_object_storage>). libgit2's own also searches for collisions, at five
    /// times the cost; here nobody but the service writes the bytes.
    pub(super) fn make(kind: ObjectType, bytes: Vec<u8>) -> Result<(Oid, Self), GitError> {
        let header = format!("{kind} {}\0", bytes.len());
        let id = Oid::from_bytes(&Sha1::new().chain_update(header).chain_update(&bytes).finalize())?;
        Ok((id, Self { kind, size: bytes.len(), data: Data::Plain(bytes.into()) }))
    }

    /// Keeps it as the pack wants it.
    pub(super) fn deflate(&mut self) -> Result<(), GitError> {
        if let Data::Plain(bytes) = &self.data {
            self.data = Data::Deflated(deflate(bytes, Vec::new())?.into());
        }
        Ok(())
    }

    /// Its bytes.
    fn bytes(&self) -> Result<Arc<[u8]>, GitError> {
        match &self.data {
            Data::Plain(bytes) => Ok(Arc::clone(bytes)),
            Data::Deflated(deflated) => {
                let mut bytes = Vec::with_capacity(self.size);
                ZlibDecoder::new(&**deflated).read_to_end(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

thread_local! {
    /// Its tables have some 300 KiB; to make them anew takes longer than to deflate most objects.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), true));
}

/// Appends bytes, deflated as an object's are in a pack.
pub(super) fn deflate(bytes: &[u8], mut out: Vec<u8>) -> Result<Vec<u8>, GitError> {
    if bytes.len() <= STORED_BYTES_MAX {
        store(bytes, &mut out);
        return Ok(out);
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut rest = bytes;
        loop {
            out.reserve(rest.len() / 2 + DEFLATED_BYTES_MIN);
            let before = compress.total_in();
            let status = compress.compress_vec(rest, &mut out, FlushCompress::Finish).map_err(std::io::Error::from)?;
            if status == Status::StreamEnd {
                return Ok(out);
            }
            let taken = usize::try_from(compress.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
        }
    })
}

/// Appends a few bytes as a zlib stream of one stored block (RFC 1950, and RFC 1951 section 3.2.4).
fn store(bytes: &[u8], out: &mut Vec<u8>) {
    const HEADER: [u8; 2] = [0x78, 0x01];
    const LAST_BLOCK_STORED: u8 = 1;
    /// The largest prime below 2^16. So few bytes overflow neither sum, so it is taken out once.
    const ADLER: u32 = 65_521;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = low + u32::from(*byte);
        (low, high + low)
    });
    out.extend_from_slice(&HEADER);
    out.push(LAST_BLOCK_STORED);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(&(((high % ADLER) << 16) | (low % ADLER)).to_be_bytes());
}

/// What was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Not published.
    objects: HashMap<Oid, Object>,
    commits: HashMap<Oid, MadeCommit>,
    /// Published, and not in the repository yet.
    owed: HashMap<Oid, Object>,
    recent: Recent,
}

#[derive(Debug)]
struct MadeCommit {
    parent: Oid,
    objects: Vec<Oid>,
}

/// Published trees and commits, the newest that fit.
#[derive(Debug, Default)]
struct Recent {
    objects: HashMap<Oid, Object>,
    order: VecDeque<Oid>,
    bytes: usize,
}

impl Recent {
    fn add(&mut self, id: Oid, object: Object) {
        let bytes = object.size;
        let is_plain = matches!(object.data, Data::Plain(_));
        if !is_plain || bytes > RECENT_BYTES_MAX || self.objects.insert(id, object).is_some() {
            return;
        }
        self.order.push_back(id);
        self.bytes += bytes;
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.order.pop_front().and_then(|id| self.objects.remove(&id)) else { return };
            self.bytes -= oldest.size;
        }
    }
}

impl Made {
    /// Takes in one commit with everything that is new in it.
    pub(super) fn add(&mut self, commit: Oid, parent: Oid, new: Vec<(Oid, Object)>) -> Result<(), GitError> {
        let objects = new.iter().map(|(id, _)| *id).collect();
        self.objects.extend(new);
        self.commits.insert(commit, MadeCommit { parent, objects });
        // The next commit begins from this one; what the one before it was made of is deflated for the pack, as it will be anyway.
        for id in self.commits.get(&parent).map(|before| before.objects.as_slice()).unwrap_or_default() {
            if let Some(object) = self.objects.get_mut(id).filter(|object| object.kind == ObjectType::Tree) {
                object.deflate()?;
            }
        }
        Ok(())
    }

    /// How many commits are kept.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Forgets everything that is not published.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
        self.commits.clear();
    }

    /// Takes note that this is published, and forgets everything else that is not.
    pub(super) fn publish(&mut self, line: Vec<(Oid, Object)>) {
        self.clear();
        // The newest commit comes first, and is the one that is built on next.
        for (id, object) in line.into_iter().rev() {
            self.recent.add(id, object);
        }
    }

    /// The same, where the repository does not have it yet.
    pub(super) fn publish_owed(&mut self, line: Vec<(Oid, Object)>) {
        self.owed.extend(line.iter().cloned());
        self.publish(line);
    }

    /// Takes note that the repository has everything that is published.
    pub(super) fn placed(&mut self) {
        self.owed.clear();
    }

    /// What a row of commits that are not published goes on from.
    pub(super) fn base_of(&self, tip: Oid) -> Oid {
        std::iter::successors(Some(tip), |at| Some(self.commits.get(at)?.parent)).last().unwrap_or(tip)
    }

    /// Every object of a commit and of those before it that are not published, each once; the newest commit first.
    pub(super) fn line_to(&self, tip: Oid) -> Vec<(Oid, Object)> {
        let (mut seen, mut line, mut at) = (HashSet::new(), Vec::new(), tip);
        while let Some(commit) = self.commits.get(&at) {
            let new = commit.objects.iter().filter(|id| seen.insert(**id));
            line.extend(new.filter_map(|id| Some((*id, self.objects.get(id)?.clone()))));
            at = commit.parent;
        }
        line
    }

    fn get(&self, id: Oid) -> Option<&Object> {
        self.objects.get(&id).or_else(|| self.recent.objects.get(&id)).or_else(|| self.owed.get(&id))
    }
}

/// Reads objects, wherever they are.
pub(super) struct Objects<'o> {
    odb: Odb<'o>,
    made: &'o Made,
}

impl<'o> Objects<'o> {
    pub(super) fn new(odb: Odb<'o>, made: &'o Made) -> Self {
        Self { odb, made }
    }

    /// The bytes of an object that must be there and of this kind.
    pub(super) fn read(&self, id: Oid, kind: ObjectType) -> Result<Arc<[u8]>, GitError> {
        if let Some(object) = self.made.get(id).filter(|object| object.kind == kind) {
            return object.bytes();
        }
        let object = self.odb.read(id)?;
        if object.kind() == kind {
            Ok(object.data().into())
        } else {
            Err(GitError::Corrupt { what: "an object is of another kind than it should be", source: None })
        }
    }

    /// The size of an object in bytes, without reading it.
    pub(super) fn size(&self, id: Oid) -> Result<usize, GitError> {
        match self.made.get(id) {
            Some(object) => Ok(object.size),
            None => Ok(self.odb.read_header(id)?.0),
        }
    }

    /// The tree of a commit; nothing where there is no such commit.
    pub(super) fn tree_of_commit(&self, commit: Oid) -> Result<Option<Oid>, GitError> {
        let data = match self.read(commit, ObjectType::Commit) {
            Err(_) if self.made.get(commit).is_none() && !self.odb.exists(commit) => return Ok(None),
            data => data?,
        };
        let id =
            data.strip_prefix(b"tree ").and_then(|rest| rest.get(..40)).and_then(|hex| std::str::from_utf8(hex).ok());
        match id.map(Oid::from_str) {
            Some(Ok(id)) => Ok(Some(id)),
            _ => Err(GitError::Corrupt { what: "a commit cannot be read", source: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deflated_one_after_another_is_what_it_was() {
        let random: Vec<u8> = (0..70_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let (small, larger) = (vec![0xff; STORED_BYTES_MAX], vec![0xff; STORED_BYTES_MAX + 1]);
        for text in [b"".as_slice(), b"a", &b"a line\n".repeat(10_000), &random, &small, &larger, b"the end"] {
            let out = deflate(text, b"before".to_vec()).unwrap();
            let mut back = Vec::new();
            ZlibDecoder::new(out.strip_prefix(b"before").unwrap()).read_to_end(&mut back).unwrap();
            assert!(back == text, "{} bytes", text.len());
        }
    }
}
