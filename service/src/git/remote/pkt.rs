//! pkt-lines, the frames of Git's protocol: four hexadecimal digits of length, then so many bytes with these four among them.
//!
//! By <https://git-scm.com/docs/protocol-common#_pkt_line_format>. Knows nothing of what the lines say.

/// The longest frame, its length included; no number of four digits that is larger is a frame.
const FRAME_BYTES_MAX: usize = 65_520;

/// The digits of a length.
const LENGTH_BYTES: usize = 4;

/// The most that one line carries.
pub(super) const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - LENGTH_BYTES;

/// The frame that ends a list.
pub(super) const FLUSH: &[u8] = b"0000";

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Data(Vec<u8>),
    Flush,
    /// A delimiter or an end of response, which the second version of the protocol has.
    Other,
}

/// What came is no pkt-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// Takes bytes in pieces of any size and gives frames.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    /// Where the first frame that was not given yet begins.
    at: usize,
}

impl Decoder {
    /// Takes more. What was given already is dropped, so nothing but the last unfinished frame is kept.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame; nothing where more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, Garbled> {
        let rest = &self.bytes[self.at..];
        let Some((length, rest)) = rest.split_at_checked(LENGTH_BYTES) else { return Ok(None) };
        let (packet, length) = match parse_length(length)? {
            0 => (Packet::Flush, LENGTH_BYTES),
            1..LENGTH_BYTES => (Packet::Other, LENGTH_BYTES),
            length @ LENGTH_BYTES..=FRAME_BYTES_MAX => match rest.get(..length - LENGTH_BYTES) {
                Some(payload) => (Packet::Data(payload.to_vec()), length),
                None => return Ok(None),
            },
            _ => return Err(Garbled),
        };
        self.at += length;
        Ok(Some(packet))
    }
}

/// Appends a line. A payload that is too long for one frame is left out, which no caller has.
pub(super) fn encode(out: &mut Vec<u8>, payload: &[u8]) {
    if payload.len() <= PAYLOAD_BYTES_MAX {
        out.extend_from_slice(format!("{:04x}", payload.len() + LENGTH_BYTES).as_bytes());
        out.extend_from_slice(payload);
    }
}

fn parse_length(digits: &[u8]) -> Result<usize, Garbled> {
    digits.iter().try_fold(0, |length, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(Garbled)?;
        Ok(length << 4 | value as usize)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Packet>, Garbled> {
        let mut packets = Vec::new();
        while let Some(packet) = decoder.next()? {
            packets.push(packet);
        }
        Ok(packets)
    }

    #[test]
    fn frames_of_every_kind_are_read() {
        let mut decoder = Decoder::default();
        decoder.feed(b"0006a\n0000000100020005b0004");
        let read = all(&mut decoder).unwrap();
        let data = |bytes: &[u8]| Packet::Data(bytes.to_vec());
        assert_eq!(read, [data(b"a\n"), Packet::Flush, Packet::Other, Packet::Other, data(b"b"), data(b"")]);
    }

    #[test]
    fn what_has_no_length_is_garbled() {
        for bytes in [&b"<htm"[..], b"zzzz", b"+123", b" 004", b"fff1", b"ffff"] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            assert_eq!(decoder.next(), Err(Garbled), "{bytes:?}");
        }
    }

    #[test]
    fn a_payload_that_fits_no_frame_is_left_out() {
        let mut out = Vec::new();
        encode(&mut out, &vec![b'x'; PAYLOAD_BYTES_MAX + 1]);
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back_in_pieces_of_any_size(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            size in 1_usize..64,
        ) {
            let mut bytes = Vec::new();
            payloads.iter().for_each(|payload| encode(&mut bytes, payload));
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.feed(piece);
                read.extend(all(&mut decoder).unwrap());
            }
            let expected: Vec<Packet> = payloads.into_iter().map(Packet::Data).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let mut decoder = Decoder::default();
            for piece in bytes.chunks(7) {
                decoder.feed(piece);
                if all(&mut decoder).is_err() {
                    break;
                }
                prop_assert!(decoder.bytes.len() - decoder.at < FRAME_BYTES_MAX);
            }
        }
    }
}
