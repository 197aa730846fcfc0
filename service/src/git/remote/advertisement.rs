//! What a receiving side says before anything is sent: its references and what it can do.
//!
//! By <https://git-scm.com/docs/pack-protocol#_reference_discovery_2>. Pure: bytes come in, and the two things that a push needs come out.

use super::Garbage;
use super::pkt::{Decoder, Packet};
use super::words::harmless;
use crate::names::CommitId;

/// How long the list may be, in bytes: some 100,000 references.
const ADVERTISEMENT_BYTES_MAX: usize = 8 << 20;

/// What a receiving side can do, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) report_status: bool,
    pub(super) side_band: bool,
    pub(super) push_options: bool,
    pub(super) agent: bool,
    pub(super) object_format: bool,
}

/// What was advertised: where the branch is, if anywhere, and what the other side can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advertisement {
    pub(super) tip: Option<CommitId>,
    pub(super) capabilities: Capabilities,
}

/// Reads an advertisement while it comes.
#[derive(Debug)]
pub(super) struct AdvertisementReader<'r> {
    reference: &'r str,
    decoder: Decoder,
    bytes: usize,
    read: Advertisement,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    /// Over HTTP the list comes after a line with the name of the service and a flush.
    AfterService,
    References,
    Complete,
}

impl Capabilities {
    /// What every receiving side can do since Git 1.6.6, which is what is asked for where nothing is advertised; one that knows less
    /// does not heed it. Push options are refused where they are not offered, so they are not among it.
    pub(super) fn assumed() -> Self {
        Self { report_status: true, side_band: true, push_options: false, agent: true, object_format: true }
    }

    fn none() -> Self {
        Self { report_status: false, side_band: false, push_options: false, agent: false, object_format: false }
    }

    fn parse(text: &str) -> Result<Self, Garbage> {
        let mut found = Self::none();
        for word in text.split_ascii_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("report-status", _) => found.report_status = true,
                ("side-band-64k", _) => found.side_band = true,
                ("push-options", _) => found.push_options = true,
                ("agent", _) => found.agent = true,
                ("object-format", "sha1") => found.object_format = true,
                ("object-format", _) => return Err(Garbage::ObjectFormat),
                _ => {}
            }
        }
        // Without a report nobody would know what became of a push.
        if found.report_status { Ok(found) } else { Err(Garbage::NotGit) }
    }
}

impl<'r> AdvertisementReader<'r> {
    /// Looks for one reference.
    pub(super) fn new(reference: &'r str) -> Self {
        let read = Advertisement { tip: None, capabilities: Capabilities::none() };
        Self { reference, decoder: Decoder::default(), bytes: 0, read, stage: Stage::First }
    }

    /// Takes more bytes; gives the whole once it is there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Advertisement>, Garbage> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > ADVERTISEMENT_BYTES_MAX {
            return Err(Garbage::TooMuch);
        }
        self.decoder.feed(bytes);
        while self.stage != Stage::Complete {
            let Some(packet) = self.decoder.next()? else { return Ok(None) };
            self.stage = match (packet, self.stage) {
                (Packet::Data(line), stage) => self.line(&line, stage)?,
                (Packet::Flush, Stage::AfterService) => Stage::First,
                (Packet::Flush, Stage::References) => Stage::Complete,
                (Packet::Flush | Packet::Other, _) => return Err(Garbage::NotGit),
            };
        }
        Ok(Some(self.read.clone()))
    }

    fn line(&mut self, line: &[u8], stage: Stage) -> Result<Stage, Garbage> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        if let Some(words) = text.strip_prefix("ERR ") {
            return Err(Garbage::Said(harmless(words)));
        }
        let reference = match stage {
            Stage::First if text.starts_with("# service=") => return Ok(Stage::AfterService),
            Stage::First if text.starts_with("version ") => return Ok(Stage::First),
            Stage::First => {
                let (reference, capabilities) = text.split_once('\0').ok_or(Garbage::NotGit)?;
                self.read.capabilities = Capabilities::parse(capabilities)?;
                reference
            }
            Stage::References => text,
            Stage::AfterService | Stage::Complete => return Err(Garbage::NotGit),
        };
        let (id, name) = reference.split_once(' ').ok_or(Garbage::NotGit)?;
        if name == self.reference {
            self.read.tip = Some(CommitId::parse(id).map_err(|_| Garbage::NotGit)?);
        }
        Ok(Stage::References)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pkt::{FLUSH, encode};
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";
    const OFFERS: &str =
        "report-status report-status-v2 delete-refs side-band-64k push-options object-format=sha1 agent=git/2.47";

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| encode(&mut bytes, line.as_bytes()));
        bytes.extend_from_slice(FLUSH);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Advertisement>, Garbage> {
        AdvertisementReader::new("refs/heads/main").feed(bytes)
    }

    #[test]
    fn the_branch_and_what_is_offered_are_read_with_and_without_the_line_of_http() {
        let list = lines(&[&format!("{ID} refs/heads/a\0{OFFERS}\n"), &format!("{ID} refs/heads/main\n")]);
        let plain = read(&list).unwrap().unwrap();
        assert_eq!(plain.tip.as_ref().map(CommitId::as_str), Some(ID));
        assert!(plain.capabilities.push_options && plain.capabilities.side_band);
        let http = [lines(&["# service=git-receive-pack\n"]), list].concat();
        assert_eq!(read(&http).unwrap().unwrap(), plain);
    }

    #[test]
    fn an_empty_repository_has_no_branch() {
        let zero = "0".repeat(40);
        let empty = read(&lines(&[&format!("{zero} capabilities^{{}}\0report-status\n")])).unwrap().unwrap();
        assert_eq!(empty.tip, None);
        assert!(!empty.capabilities.side_band);
    }

    #[test]
    fn what_is_no_advertisement_says_what_it_is() {
        assert_eq!(read(b"<!DOCTYPE html>"), Err(Garbage::NotGit));
        assert_eq!(read(b"0000"), Err(Garbage::NotGit));
        assert_eq!(read(&lines(&[&format!("{ID} refs/heads/main\0delete-refs")])), Err(Garbage::NotGit));
        assert_eq!(read(&lines(&["ERR access denied\n"])), Err(Garbage::Said("access denied".to_owned())));
        let sha256 = format!("{} refs/heads/main\0report-status object-format=sha256\n", "0".repeat(64));
        assert_eq!(read(&lines(&[&sha256])), Err(Garbage::ObjectFormat));
    }

    #[test]
    fn an_endless_list_is_refused() {
        let mut reader = AdvertisementReader::new("refs/heads/main");
        reader.feed(&lines(&[&format!("{ID} refs/heads/a\0{OFFERS}\n")])[..80]).unwrap();
        let piece = vec![b'0'; 1 << 20];
        let ends = (0..9).map(|_| reader.feed(&piece)).find(Result::is_err);
        assert!(ends.is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0_usize..120) {
            let list = lines(&[&format!("{ID} refs/heads/main\0{OFFERS}\n")]);
            drop(read(&bytes));
            drop(read(&[&list[..head], &bytes].concat()));
        }
    }
}
