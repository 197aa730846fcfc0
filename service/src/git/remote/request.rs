//! What is sent: one command that moves the branch from the commit it is believed to be at, and the pack with what is new.
//!
//! By <https://git-scm.com/docs/pack-protocol#_reference_update_request_and_packfile_transfer>.

use super::advertisement::Capabilities;
use super::error::RemoteError;
use super::pkt::{FLUSH, PAYLOAD_BYTES_MAX, encode};
use crate::names::CommitId;

/// How a command names a branch that is not there, before or after it.
const NOWHERE: &str = "0000000000000000000000000000000000000000";

/// One push of one branch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) reference: &'r str,
    /// Where the branch is believed to be; nothing where it is to be made.
    pub(super) old: Option<&'r CommitId>,
    /// Where it is to be; nothing where it is to be deleted, and then there is no pack.
    pub(super) new: Option<&'r CommitId>,
    pub(super) pack: &'r [u8],
    /// Words to the remote's hooks, sent where it offers to take them.
    pub(super) options: &'r [String],
}

impl Request<'_> {
    /// The bytes to send to a side that can do this much.
    pub(super) fn encode(&self, capabilities: &Capabilities) -> Vec<u8> {
        let Self { reference, old, new, pack, options } = self;
        let Capabilities { report_status, side_band, push_options, agent, object_format } = capabilities;
        let with_options = *push_options && !options.is_empty();
        let words = [
            (*report_status, "report-status"),
            (*side_band, "side-band-64k"),
            (*agent, concat!("agent=kmlflow/", env!("CARGO_PKG_VERSION"))),
            (*object_format, "object-format=sha1"),
            (with_options, "push-options"),
        ];
        let words: String =
            words.iter().filter(|(is_asked, _)| *is_asked).map(|(_, word)| format!(" {word}")).collect();
        let [old, new] = [old, new].map(|id| id.map_or(NOWHERE, CommitId::as_str));
        let mut bytes = Vec::with_capacity(pack.len() + 512);
        encode(&mut bytes, format!("{old} {new} {reference}\0{words}").as_bytes());
        bytes.extend_from_slice(FLUSH);
        if with_options {
            options.iter().for_each(|option| encode(&mut bytes, option.as_bytes()));
            bytes.extend_from_slice(FLUSH);
        }
        bytes.extend_from_slice(pack);
        bytes
    }
}

/// Whether options can be sent as they are: each is a line of its own.
pub(super) fn check_options(options: &[String]) -> Result<(), RemoteError> {
    let is_line = |text: &String| (1..=PAYLOAD_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    let rule = "an option of a push is a line of text: not empty, and without line breaks";
    if options.iter().all(is_line) { Ok(()) } else { Err(RemoteError::Settings { rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(old: Option<&CommitId>, options: &[String], capabilities: &Capabilities) -> String {
        let new = CommitId::parse(&"b".repeat(40)).unwrap();
        let request = Request { reference: "refs/heads/main", old, new: Some(&new), pack: b"PACK", options };
        String::from_utf8(request.encode(capabilities)).unwrap()
    }

    #[test]
    fn without_an_advertisement_the_usual_is_asked_for() {
        let old = CommitId::parse(&"a".repeat(40)).unwrap();
        let words =
            concat!(" report-status side-band-64k agent=kmlflow/", env!("CARGO_PKG_VERSION"), " object-format=sha1");
        let line = format!("{} {} refs/heads/main\0{words}", "a".repeat(40), "b".repeat(40));
        let expected = format!("{:04x}{line}0000PACK", line.len() + 4);
        assert_eq!(sent(Some(&old), &["ci.skip".to_owned()], &Capabilities::assumed()), expected);
    }

    #[test]
    fn options_go_to_a_side_that_takes_them_and_a_new_branch_comes_from_nowhere() {
        let capabilities = Capabilities {
            report_status: true,
            side_band: false,
            push_options: true,
            agent: false,
            object_format: false,
        };
        let sent = sent(None, &["ci.skip".to_owned()], &capabilities);
        assert!(sent.contains(&format!("{NOWHERE} ")), "{sent}");
        assert!(sent.contains("\0 report-status push-options0000000bci.skip0000PACK"), "{sent}");
    }

    #[test]
    fn a_branch_that_is_deleted_goes_to_nowhere_and_nothing_is_packed() {
        let old = CommitId::parse(&"a".repeat(40)).unwrap();
        let request = Request { reference: "refs/heads/x", old: Some(&old), new: None, pack: &[], options: &[] };
        let sent = String::from_utf8(request.encode(&Capabilities::assumed())).unwrap();
        assert!(sent[4..].starts_with(&format!("{old} {NOWHERE} refs/heads/x\0")) && sent.ends_with("0000"), "{sent}");
    }

    #[test]
    fn an_option_is_one_line() {
        let check = |option: &str| check_options(&["ci.skip".to_owned(), option.to_owned()]);
        assert_eq!(check("merge_request.title=Größer"), Ok(()));
        for option in ["", "a\nb", "a\0b", &"x".repeat(PAYLOAD_BYTES_MAX + 1)] {
            assert!(check(option).is_err(), "{option:?}");
        }
    }
}
