//! Proof by a token that the sender presents (RFC 6750), for a sender that can sign nothing.
//!
//! Argo CD's notifications send fixed headers (<https://argo-cd.readthedocs.io/en/stable/operator-manual/notifications/services/webhook/>). The token proves who sends and nothing of what is sent, so what such a delivery says is only ever a reason to look.

use hmac::Mac as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::signature::{Headers, Proof, ProofError, Secret, mac};
use crate::names::{DeliveryId, InvalidName};

const AUTHORIZATION: &str = "authorization";

/// The word before the token, in any case.
const BEARER: &str = "bearer ";

/// Tokens are compared by their keyed hashes: in constant time, whatever their lengths.
const COMPARED_UNDER: &[u8] = b"kmlflow bearer token";

/// How long the same body is the same delivery, in seconds. The sender gives no id; it repeats what was not answered within some seconds, and
/// what it says again later is new.
const SAME_FOR_SECONDS: i64 = 60;

/// Proves a delivery against every live token. Its id is made of the body and the minute.
///
/// # Errors
/// No token is configured, none is presented, or it is none of the live ones.
pub fn verify_bearer(headers: &Headers, body: &[u8], tokens: &[Secret], now: Timestamp) -> Result<Proof, ProofError> {
    if tokens.is_empty() {
        return Err(ProofError::NoSecret);
    }
    let header = headers.one(AUTHORIZATION)?;
    let (word, given) = header.split_at_checked(BEARER.len()).ok_or(ProofError::Malformed(AUTHORIZATION))?;
    if !word.eq_ignore_ascii_case(BEARER) {
        return Err(ProofError::Malformed(AUTHORIZATION));
    }
    let given = mac(COMPARED_UNDER, &[], given.trim().as_bytes()).finalize().into_bytes();
    // Every one is tried, so that the time it takes does not tell which fits.
    let matches = tokens
        .iter()
        .map(|token| mac(COMPARED_UNDER, &[], token.text().as_bytes()).verify(&given).is_ok())
        .fold(false, |matches, fits| matches | fits);
    if !matches {
        return Err(ProofError::Mismatch);
    }
    let delivery_id = id(body, now).map_err(|_| ProofError::Malformed(AUTHORIZATION))?;
    Ok(Proof { delivery_id, signed_at: None })
}

fn id(body: &[u8], now: Timestamp) -> Result<DeliveryId, InvalidName> {
    let minute = now.as_second().div_euclid(SAME_FOR_SECONDS);
    let digest = Sha256::new_with_prefix(minute.to_be_bytes()).chain_update(body).finalize();
    DeliveryId::parse(&hex::encode(&digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Secret> {
        ["first-token", "second-token"].map(|text| Secret::parse(text).unwrap()).to_vec()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_040 + second).unwrap()
    }

    fn presented(values: &[&str]) -> Result<Proof, ProofError> {
        let headers = Headers::from_pairs(values.iter().map(|value| ("Authorization", *value)));
        verify_bearer(&headers, b"{}", &tokens(), at(0))
    }

    #[test]
    fn every_live_token_proves_and_nothing_else_does() {
        for value in ["Bearer first-token", "bearer second-token", "BEARER  first-token"] {
            assert!(presented(&[value]).is_ok(), "{value}");
        }
        for value in ["Bearer first-toke", "Bearer first-token1", "Bearer first-token second-token", "Bearer third"] {
            assert_eq!(presented(&[value]), Err(ProofError::Mismatch), "{value}");
        }
        for value in ["first-token", "Basic first-token", "Bearer", "Bearer\tfirst-token", "é"] {
            assert_eq!(presented(&[value]), Err(ProofError::Malformed(AUTHORIZATION)), "{value}");
        }
        assert_eq!(presented(&[]), Err(ProofError::Missing(AUTHORIZATION)));
        let twice = presented(&["Bearer first-token", "Bearer second-token"]);
        assert_eq!(twice, Err(ProofError::Repeated(AUTHORIZATION)));
    }

    #[test]
    fn without_a_live_token_nothing_is_proven() {
        let headers = Headers::from_pairs([("authorization", "Bearer ")]);
        assert_eq!(verify_bearer(&headers, b"{}", &[], at(0)), Err(ProofError::NoSecret));
    }

    #[test]
    fn the_same_words_are_one_delivery_for_a_minute() {
        let headers = Headers::from_pairs([("authorization", "Bearer first-token")]);
        let id = |body: &[u8], second| verify_bearer(&headers, body, &tokens(), at(second)).unwrap().delivery_id;
        assert_eq!(id(b"{}", 0), id(b"{}", 19));
        assert_ne!(id(b"{}", 0), id(b"{ }", 0));
        assert_ne!(id(b"{}", 0), id(b"{}", 60));
    }
}
