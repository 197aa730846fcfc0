//! What a receiving side answers to a push: its report on sideband 1, words for people on sideband 2, its last words on sideband 3.
//!
//! By <https://git-scm.com/docs/pack-protocol#_report_status> and `sideband.c`. Pure, and bounded whatever comes.

use super::Garbage;
use super::pkt::{Decoder, Packet};
use super::words::{Words, harmless};

/// How much is read of an answer, in bytes: a hook may run for minutes and tell all of it, which is not kept. Time bounds it as well.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// How much of it may be the report, in bytes: two lines, of which one names our branch.
const REPORT_BYTES_MAX: usize = 64 << 10;

/// The whole of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Why the pack could not be taken; nothing where it could.
    pub(super) unpack_error: Option<String>,
    pub(super) branch: Branch,
    /// What was said to people, as one line.
    pub(super) words: String,
}

/// What became of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Branch {
    Updated,
    /// It was not updated, for this reason.
    Refused(String),
    /// Nothing was said of it.
    Untold,
}

/// Reads an answer while it comes.
#[derive(Debug)]
pub(super) struct ReportReader<'r> {
    reference: &'r str,
    outer: Decoder,
    bytes: usize,
    /// The pkt-lines of the report, which lie in sideband 1 in pieces of any size.
    inner: Decoder,
    inner_bytes: usize,
    words: Words,
    unpack: Option<Option<String>>,
    branch: Branch,
}

impl<'r> ReportReader<'r> {
    /// Reads what is said of one reference.
    pub(super) fn new(reference: &'r str) -> Self {
        Self {
            reference,
            outer: Decoder::default(),
            bytes: 0,
            inner: Decoder::default(),
            inner_bytes: 0,
            words: Words::default(),
            unpack: None,
            branch: Branch::Untold,
        }
    }

    /// Takes more bytes; gives the report once it is complete, though more words may follow.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Report>, Garbage> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(Garbage::TooMuch);
        }
        self.outer.feed(bytes);
        while let Some(packet) = self.outer.next()? {
            let is_complete = match packet {
                Packet::Data(data) => self.band(&data)?,
                // Without a sideband this ends the report; with one it ends the answer, and the report came before it.
                Packet::Flush if self.unpack.is_some() => true,
                Packet::Flush => return Err(Garbage::CutOff),
                Packet::Other => return Err(Garbage::NotGit),
            };
            if is_complete {
                return Ok(Some(self.report()));
            }
        }
        Ok(None)
    }

    /// What was said so far, for an answer that broke off.
    pub(super) fn words(&self) -> String {
        self.words.shown()
    }

    /// One packet of the answer; whether it completes the report.
    fn band(&mut self, data: &[u8]) -> Result<bool, Garbage> {
        match data {
            [1, data @ ..] => {
                self.inner_bytes = self.inner_bytes.saturating_add(data.len());
                if self.inner_bytes > REPORT_BYTES_MAX {
                    return Err(Garbage::TooMuch);
                }
                self.inner.feed(data);
                while let Some(packet) = self.inner.next()? {
                    match packet {
                        Packet::Data(line) => self.line(&line)?,
                        Packet::Flush if self.unpack.is_some() => return Ok(true),
                        Packet::Flush | Packet::Other => return Err(Garbage::NotGit),
                    }
                }
            }
            [2, words @ ..] => self.words.take(words),
            [3, words @ ..] => {
                self.words.take(words);
                return Err(Garbage::Said(self.words.shown()));
            }
            // A keep-alive, or a side that sends its report without a sideband.
            [] => {}
            line => self.line(line)?,
        }
        Ok(false)
    }

    /// One line of the report.
    fn line(&mut self, line: &[u8]) -> Result<(), Garbage> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, &self.unpack) {
            ("unpack", None) => self.unpack = Some((rest != "ok").then(|| harmless(rest))),
            ("ok", Some(_)) if rest == self.reference => self.branch = Branch::Updated,
            ("ng", Some(_)) => {
                let (reference, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                if reference == self.reference {
                    self.branch = Branch::Refused(harmless(reason));
                }
            }
            // Another reference than ours, or what the second version of the report adds.
            ("ok" | "option", Some(_)) => {}
            ("ERR", None) => return Err(Garbage::Said(harmless(rest))),
            _ => return Err(Garbage::NotGit),
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let unpack_error = self.unpack.clone().unwrap_or_default();
        Report { unpack_error, branch: self.branch.clone(), words: self.words.shown() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pkt::{FLUSH, encode};
    use super::*;

    const MAIN: &str = "refs/heads/main";

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| encode(&mut bytes, line.as_bytes()));
        bytes.extend_from_slice(FLUSH);
        bytes
    }

    fn band(number: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[&[number], data].concat());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Report>, Garbage> {
        ReportReader::new(MAIN).feed(bytes)
    }

    fn done() -> Report {
        Report { unpack_error: None, branch: Branch::Updated, words: String::new() }
    }

    #[test]
    fn a_report_is_read_with_and_without_a_sideband() {
        let report = lines(&["unpack ok\n", "ok refs/heads/main\n"]);
        assert_eq!(read(&report), Ok(Some(done())));
        assert_eq!(read(&[band(1, &report), FLUSH.to_vec()].concat()), Ok(Some(done())));
    }

    #[test]
    fn a_report_in_single_bytes_between_words_is_read() {
        let report = lines(&["unpack ok\n", "ng refs/heads/main pre-receive hook declined\n"]);
        let pieces = report.iter().flat_map(|byte| [band(1, &[*byte]), band(2, b"."), b"0004".to_vec()].concat());
        let read = read(&pieces.collect::<Vec<_>>()).unwrap().unwrap();
        assert_eq!(read.branch, Branch::Refused("pre-receive hook declined".to_owned()));
        assert!(read.words.starts_with("..."), "{}", read.words);
    }

    #[test]
    fn what_is_said_of_another_reference_is_not_of_ours() {
        let other = lines(&["unpack ok\n", "ok refs/heads/other\n", "option refname x\n", "ng refs/heads/x no\n"]);
        assert_eq!(read(&other).unwrap().unwrap().branch, Branch::Untold);
        let none = lines(&["unpack index-pack abnormal exit\n"]);
        assert_eq!(read(&none).unwrap().unwrap().unpack_error.as_deref(), Some("index-pack abnormal exit"));
    }

    #[test]
    fn what_breaks_off_or_is_no_report_says_so() {
        assert_eq!(read(&lines(&["unpack ok\n"])[..8]), Ok(None));
        assert_eq!(read(FLUSH), Err(Garbage::CutOff));
        assert_eq!(read(b"<html>"), Err(Garbage::NotGit));
        assert_eq!(read(&band(1, b"nonsense")), Err(Garbage::NotGit));
        assert_eq!(read(&lines(&["ok refs/heads/main\n"])), Err(Garbage::NotGit));
        assert_eq!(read(&band(7, b"x")), Err(Garbage::NotGit));
        assert_eq!(read(&lines(&["ERR no\n"])), Err(Garbage::Said("no".to_owned())));
        let last = [band(2, b"quota: 90 of 90 MB\n"), band(3, b"fatal: gone\x1b[2J\n")].concat();
        assert_eq!(read(&last), Err(Garbage::Said("quota: 90 of 90 MB; fatal: gone".to_owned())));
    }

    #[test]
    fn endless_progress_and_an_endless_report_are_refused() {
        let ends = |piece: Vec<u8>| {
            let mut reader = ReportReader::new(MAIN);
            (0..1_000).map(|_| reader.feed(&piece)).find(Result::is_err)
        };
        assert_eq!(ends(band(2, &[b'x'; 60_000])), Some(Err(Garbage::TooMuch)));
        assert_eq!(ends(band(1, &[b'f'; 60_000])), Some(Err(Garbage::NotGit)));
        let mut report = band(1, b"000eunpack ok\n");
        report.extend(band(1, &lines(&["option x\n"])[..13]));
        assert_eq!(ends(band(1, b"0013option refname x")), Some(Err(Garbage::NotGit)));
        let mut reader = ReportReader::new(MAIN);
        reader.feed(&report).unwrap();
        let option = band(1, &lines(&["option refname x"])[..20]);
        assert_eq!((0..9_000).map(|_| reader.feed(&option)).find(Result::is_err), Some(Err(Garbage::TooMuch)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(read(&bytes));
            drop(read(&[band(1, &bytes), band(2, &bytes), FLUSH.to_vec()].concat()));
        }

        #[test]
        fn a_report_that_is_cut_anywhere_is_never_taken_for_a_success(cut in 0_usize..60) {
            let whole = band(1, &lines(&["unpack ok\n", "ok refs/heads/main\n"]));
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(read(&whole[..cut]), Ok(None));
        }
    }
}
