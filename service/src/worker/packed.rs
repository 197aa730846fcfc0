//! Documents of releases in little memory.
//!
//! One document is nearly the next: they differ in names, versions and digests. So each is deflated against the first one as a dictionary, which
//! leaves a third of what deflating it by itself would.

use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::release::Release;

/// As much of a dictionary as deflate looks back at (RFC 1951 section 2).
const DICTIONARY_BYTES_MAX: usize = 32 << 10;

/// The first level that counts how often each character is there: half of what is left of a document are digests, whose characters are sixteen.
const LEVEL: Compression = Compression::new(3);

/// A document as deflated JSON.
#[derive(Debug)]
pub(super) struct Packed {
    dictionary: Arc<Vec<u8>>,
    bytes: Box<[u8]>,
    /// The length of the JSON.
    length: u32,
}

/// Packs documents.
#[derive(Debug)]
pub(super) struct Packer {
    /// The JSON of the first document; empty until there was one.
    dictionary: Arc<Vec<u8>>,
    /// Its tables have some 300 KiB, so they are kept.
    compress: Compress,
    /// What a document is deflated into first.
    room: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self { dictionary: Arc::default(), compress: Compress::new(LEVEL, false), room: Vec::new() }
    }
}

impl Packer {
    /// Packs a document; nothing where that fails, which only a type that is no JSON could make it.
    pub(super) fn pack(&mut self, release: &Release) -> Option<Packed> {
        let json = serde_json::to_vec(release).ok()?;
        if self.dictionary.is_empty() {
            let first = json.get(..DICTIONARY_BYTES_MAX).unwrap_or(&json);
            self.dictionary = Arc::new(first.to_vec());
        }
        self.compress.reset();
        self.compress.set_dictionary(&self.dictionary).ok()?;
        self.room.clear();
        // Bytes that do not deflate grow by a few.
        self.room.reserve(json.len() + json.len() / 8 + 64);
        let status = self.compress.compress_vec(&json, &mut self.room, FlushCompress::Finish).ok()?;
        if status != Status::StreamEnd {
            return None;
        }
        let length = u32::try_from(json.len()).ok()?;
        Some(Packed { dictionary: Arc::clone(&self.dictionary), bytes: self.room.as_slice().into(), length })
    }
}

impl Packed {
    /// The document.
    #[expect(clippy::expect_used, reason = "it is what `pack` made of a document, and nobody else can make one")]
    pub(super) fn open(&self) -> Release {
        let mut decompress = Decompress::new(false);
        let mut json = Vec::with_capacity(self.length as usize);
        decompress.set_dictionary(&self.dictionary).expect("it was packed with this dictionary");
        let inflated = decompress.decompress_vec(&self.bytes, &mut json, FlushDecompress::Finish);
        inflated.expect("what was deflated can be inflated");
        serde_json::from_slice(&json).expect("a document that was written can be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_the_same_after_it_was_packed_and_takes_little_room() {
        let of = |name: &str| Release::parse(&include_str!("testdata/release.yaml").replace("fraud", name)).unwrap();
        let mut packer = Packer::default();
        // The last one is nothing like the first, and larger than what a dictionary can be.
        let mut strange = of("strange");
        let noise = |n: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 26);
        strange.origin.requested_by = Some((0..70_000).map(noise).collect());
        let all = [of("m1"), of("m2"), strange];
        let packed: Vec<Packed> = all.iter().map(|release| packer.pack(release).unwrap()).collect();
        for (release, packed) in all.iter().zip(&packed) {
            assert_eq!(packed.open(), *release);
        }
        let json = serde_json::to_vec(&all[1]).unwrap().len();
        assert!(packed[1].bytes.len() * 8 < json, "{} of {json}", packed[1].bytes.len());
    }
}
