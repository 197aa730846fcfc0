//! The known mistakes, a row each: a fixed code, one sentence, and what cures it.

/// A known mistake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) code: &'static str,
    /// One sentence; `{}` stands for the detail.
    pub(super) sentence: &'static str,
    pub(super) cure: &'static str,
}

macro_rules! mistakes {
    ($($name:ident, $code:literal, $sentence:literal, $cure:literal;)*) => {
        $(pub(super) const $name: Mistake = Mistake { code: $code, sentence: $sentence, cure: $cure };)*

        /// Every row, for the test that none is forgotten.
        #[cfg(test)]
        pub(super) const ALL: &[&Mistake] = &[$(&$name),*];
    };
}

mistakes! {
    FINE, "fine", "the signature is right and the time is fresh", "Nothing needs to change; a refusal then came from another secret or a body that was changed on the way";
    NO_SECRET, "no-secret", "no secret is given, so only the headers could be looked at", "Give the secret with --secret-file, or configure one for this door";

    HEADER_MISSING, "header-missing", "the header `{}` is missing", "Send it, and let no proxy on the way drop it";
    HEADER_REPEATED, "header-repeated", "the header `{}` is there more than once", "Send it once, and let no proxy on the way add it again";
    HEADER_UNREADABLE, "header-unreadable", "the header `{}` is empty or not printable ASCII", "Send plain ASCII";
    UNSIGNED, "unsigned", "the sender sent no signature, which it does for a webhook without a secret", "Set the same secret at the webhook, in MLflow or at the forge";
    SHA1_ALONE, "github-sha1", "the delivery has only `X-Hub-Signature`, the signature by SHA-1, which is not believed", "Sign with SHA-256 and send `X-Hub-Signature-256: sha256=…`, and let no proxy on the way drop it";
    GITHUB_SCHEME, "github-scheme", "the delivery is signed the way GitHub signs (`X-Hub-Signature-256: sha256=…`), which is not this door's", "Send it to /webhooks/github";
    STANDARD_SCHEME, "standard-scheme", "the delivery has the headers of Standard Webhooks, which are not this door's", "Send it to /webhooks/generic";
    MLFLOW_SCHEME, "mlflow-scheme", "the delivery has MLflow's headers, which are not this door's", "Send it to /webhooks/mlflow";
    FORM, "form-encoded", "the body is sent as a form, which is answered with 415", "Set the webhook's content type to `application/json`";

    TIMESTAMP_FORM, "timestamp-form", "the timestamp `{}` is not a number of seconds since 1970", "Send Unix time in whole seconds";
    MILLISECONDS, "timestamp-milliseconds", "the timestamp is in milliseconds", "Send and sign Unix time in whole seconds";
    STALE, "stale", "the delivery was signed {} seconds ago, and 300 is the most", "Set the sender's clock, or sign again when sending again";
    FUTURE, "future", "the delivery was signed {} seconds in the future, and 300 is the most", "Set the clock of the sender or of this machine";

    SIGNATURE_FORM, "signature-form", "the signature is not `v1,` and the base64 of 32 bytes", "Send `v1,` followed by the padded standard base64 of the HMAC-SHA256";
    SIGNATURE_HEX, "signature-hex", "the signature is written in hexadecimal instead of base64", "Write the 32 bytes of the HMAC in padded standard base64";
    SIGNATURE_URL_SAFE, "signature-url-safe", "the signature is written in the url-safe alphabet of base64", "Use the standard alphabet with `+` and `/`";
    SIGNATURE_UNPADDED, "signature-unpadded", "the signature lacks the padding of base64", "Keep the `=` at the end";
    SIGNATURE_NO_VERSION, "signature-without-version", "the signature lacks the `v1,` in front", "Put `v1,` in front of the base64";
    GITHUB_FORM, "github-form", "the signature is not `sha256=` and 64 hexadecimal digits", "Send `sha256=` followed by the HMAC-SHA256 of the body in hexadecimal";
    GITHUB_BASE64, "github-base64", "the signature is written in base64 instead of hexadecimal", "Send `sha256=` followed by the 32 bytes of the HMAC in hexadecimal";
    GITHUB_NO_PREFIX, "github-without-prefix", "the signature lacks the `sha256=` in front", "Put `sha256=` in front of the hexadecimal digits";
    SIGNATURE_GITHUB, "signature-sha256-prefix", "the signature begins with `sha256=`, which is GitHub's form", "Write `v1,` and base64 instead";

    KEY_DECODED, "key-decoded", "the sender decodes the secret from base64 and takes the bytes as key", "Use the secret's text as key, as it is";
    KEY_PREFIX_DECODED, "key-whsec-decoded", "the sender takes the secret for a `whsec_` secret of Standard Webhooks and decodes it", "Use the secret's whole text as key, with the `whsec_`";
    KEY_PREFIX_STRIPPED, "key-whsec-stripped", "the sender leaves out the `whsec_` of the secret", "Use the secret's whole text as key, with the `whsec_`";
    KEY_PREFIX_ADDED, "key-whsec-added", "the sender puts `whsec_` before the secret", "Use the secret's text as key, without `whsec_`";
    KEY_HEX, "key-hex", "the sender decodes the secret from hexadecimal and takes the bytes as key", "Use the secret as it is";
    KEY_RAW, "key-raw", "the sender takes the secret's text as key instead of the bytes that its base64 stands for", "Decode the part after `whsec_` from base64 and use the bytes as key";
    KEY_RAW_STRIPPED, "key-raw-stripped", "the sender takes the text after `whsec_` as key instead of the bytes that its base64 stands for", "Decode that text from base64 and use the bytes as key";
    KEY_NEWLINE, "key-newline", "the sender's secret ends in a newline or a space that ours does not have", "Write the secret without a newline, for example by `printf %s`";

    MESSAGE_TIMED, "message-timed", "id and timestamp are signed with the body, as for another door", "Sign the body alone";
    MESSAGE_BODY_ONLY, "message-body-only", "only the body is signed, without id and timestamp", "Sign `<id>.<timestamp>.<body>`";
    MESSAGE_NO_ID, "message-without-id", "the id is not signed", "Sign `<id>.<timestamp>.<body>`";
    MESSAGE_NO_TIMESTAMP, "message-without-timestamp", "the timestamp is not signed", "Sign `<id>.<timestamp>.<body>`";
    MESSAGE_ORDER, "message-order", "timestamp and id are signed in the wrong order", "Sign `<id>.<timestamp>.<body>`";
    MESSAGE_NO_DOTS, "message-without-dots", "id, timestamp and body are signed without the dots between them", "Sign `<id>.<timestamp>.<body>`";

    BODY_NEWLINE, "body-newline", "a newline at the end of the body was added or removed after signing", "Send exactly the signed bytes, for example by `curl --data-binary`";
    BODY_RESERIALISED, "body-reserialised", "the body was written anew after signing, with other spaces or escapes", "Sign the bytes that are sent, and let no proxy on the way rewrite them";
    BODY_SORTED, "body-sorted", "the body was written anew after signing, with its keys sorted", "Sign the bytes that are sent, and let no proxy on the way rewrite them";

    WRONG_SECRET, "wrong-secret", "no live secret gives this signature, with none of the known mistakes", "Set the same secret on both sides; if it is the same, the body was changed on the way";
}
