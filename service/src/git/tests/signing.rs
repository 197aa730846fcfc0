//! Signatures, checked by the library; the tier `remotes` has them checked by Git and `ssh-keygen`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey, SshSig};

use super::*;

/// Keys that everybody knows: curve, private scalar, public point (<https://www.rfc-editor.org/rfc/rfc6979#appendix-A.2>).
const ECDSA: [(&str, &str, &str); 2] = [
    (
        "nistp256",
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    ),
    (
        "nistp384",
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5",
        "04ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc138015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
    ),
];

fn ed25519(seed: u8) -> String {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])).to_openssh(LineEnding::LF).unwrap().to_string()
}

/// A field of the format, which begins with its length.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A private key as `ssh-keygen` writes it (<https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>).
fn openssh(cipher: &str, kdf: &str, options: &[u8], public: &[u8], private: &[u8]) -> String {
    let mut secret = [&[7; 8], private, &field(b"a comment")].concat();
    let block = if cipher == "none" { 8 } else { 16 };
    secret.extend((1..).take(secret.len().next_multiple_of(block) - secret.len()));
    let head = [b"openssh-key-v1\0".to_vec(), field(cipher.as_bytes()), field(kdf.as_bytes()), field(options)].concat();
    let blob = [head, vec![0, 0, 0, 1], field(public), field(&secret)].concat();
    let text = STANDARD.encode(blob);
    let lines: Vec<&str> = text.as_bytes().chunks(70).map(|line| str::from_utf8(line).unwrap()).collect();
    armored("OPENSSH PRIVATE KEY", &lines.join("\n"))
}

fn armored(label: &str, text: &str) -> String {
    let edge = |what: &str| format!("-----{what} {label}-----");
    format!("{}\n{text}\n{}\n", edge("BEGIN"), edge("END"))
}

fn ecdsa((curve, scalar, point): (&str, &str, &str)) -> String {
    let kind = format!("ecdsa-sha2-{curve}");
    let public = [field(kind.as_bytes()), field(curve.as_bytes()), field(&hex::decode(point).unwrap())].concat();
    let mut scalar = hex::decode(scalar).unwrap();
    if scalar[0] >= 0x80 {
        scalar.insert(0, 0);
    }
    openssh("none", "none", b"", &public, &[public.clone(), field(&scalar)].concat())
}

/// A new repository with a key.
fn signed(key: &str) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let key = SigningKey::parse(key).unwrap();
    let path = directory.path().join("gitops.git");
    let (repository, _) = Repository::open_or_seed(&path, &seed(), &author(), now(), Some(key)).unwrap();
    Fixture { directory, repository }
}

/// A commit's bytes without its signature, and the signature.
fn taken_apart(commit: &str) -> (String, SshSig) {
    let (before, rest) = commit.split_once("gpgsig ").unwrap();
    let (signature, after) = rest.split_once("\n\n").unwrap();
    (format!("{before}\n{after}"), SshSig::from_pem(signature.replace("\n ", "\n") + "\n").unwrap())
}

#[test]
fn every_commit_has_a_signature_that_fits_its_bytes_alone() {
    for text in [ed25519(1), ecdsa(ECDSA[0]), ecdsa(ECDSA[1])] {
        let fixture = signed(&text);
        let first = fixture.repository.tip().unwrap();
        let second = fixture.release("production/models/fraud", "a");
        let key = PrivateKey::from_openssh(&text).unwrap();
        let stranger = PrivateKey::from_openssh(ed25519(2)).unwrap();
        for commit in [first, second] {
            let commit = fixture.git(&["cat-file", "commit", commit.as_str()]);
            let (bytes, signature) = taken_apart(&commit);
            assert_eq!(signature.hash_alg(), HashAlg::Sha512);
            key.public_key().verify("git", bytes.as_bytes(), &signature).unwrap();
            assert!(key.public_key().verify("file", bytes.as_bytes(), &signature).is_err());
            assert!(stranger.public_key().verify("git", bytes.as_bytes(), &signature).is_err());
            for (was, is) in [("kmlflow@localhost", "kmlflow@localhosT"), ("tree ", "tree  "), ("\n\n", "\n\n\n")] {
                let tampered = bytes.replacen(was, is, 1);
                assert_ne!(tampered, bytes);
                assert!(key.public_key().verify("git", tampered.as_bytes(), &signature).is_err(), "{tampered}");
            }
        }
    }
}

#[test]
fn a_signed_history_is_read_as_one_that_is_not_signed() {
    let (signed, plain) = (signed(&ed25519(1)), Fixture::new());
    let read = |fixture: &Fixture| {
        let tip = fixture.release("production/models/fraud", "a");
        let mut draft = fixture.repository.draft(&tip).unwrap();
        assert_eq!(draft.commit(files("production/models/fraud", "a"), "x", &author(), now()).unwrap(), None);
        fixture.git(&["fsck", "--strict"]);
        fixture.git(&["log", "--format=%T %an %ae %at %cn %ce %B"])
    };
    assert_eq!(read(&signed), read(&plain));
    let log = |fixture: &Fixture| {
        let log = fixture.repository.log(None, &fixture.repository.tip().unwrap()).unwrap();
        log.into_iter().map(|entry| (entry.author, entry.committer, entry.message)).collect::<Vec<_>>()
    };
    assert_eq!(log(&signed), log(&plain));
    assert_ne!(signed.repository.tip().unwrap(), plain.repository.tip().unwrap());
}

#[test]
fn the_same_commit_has_the_same_signature() {
    for text in [ed25519(1), ecdsa(ECDSA[0])] {
        let tips = [(); 2].map(|()| signed(&text).release("production/models/fraud", "a"));
        assert_eq!(tips[0], tips[1]);
    }
}

#[test]
fn what_is_no_key_to_sign_with_is_refused_with_its_cure() {
    let key = ed25519(1);
    let public = PrivateKey::from_openssh(&key).unwrap().public_key().to_openssh().unwrap();
    let kind = field(b"ssh-ed25519");
    let (own, other) = (Ed25519Keypair::from_seed(&[1; 32]), Ed25519Keypair::from_seed(&[2; 32]));
    let of = |pair: &Ed25519Keypair| [kind.clone(), field(&pair.public.0)].concat();
    let with_passphrase =
        openssh("aes256-ctr", "bcrypt", &[field(&[9; 16]), vec![0, 0, 0, 16]].concat(), &of(&own), b"");
    // The halves of two pairs.
    let halves = [own.private.to_bytes(), other.public.0].concat();
    let mixed = openssh("none", "none", b"", &of(&other), &[of(&other), field(&halves)].concat());
    for (text, file, error, cure) in [
        (public.as_str(), "key.pub", SigningKeyError::Public, "`/keys/key`"),
        ("ssh-rsa AAAA", "key", SigningKeyError::Public, "without `.pub`"),
        (&with_passphrase, "key", SigningKeyError::Passphrase, "`ssh-keygen -p -N '' -f /keys/key`"),
        (&armored("RSA PRIVATE KEY", "AAAA"), "key", SigningKeyError::Format, "`ssh-keygen -p -N '' -f /keys/key`"),
        (&armored("PUBLIC KEY", "AAAA"), "key", SigningKeyError::Public, "without `.pub`"),
        ("hunter2", "key", SigningKeyError::NoKey, "`ssh-keygen -t ed25519"),
        (&key[..200], "key", SigningKeyError::NoKey, "`ssh-keygen -t ed25519"),
        (&mixed, "key", SigningKeyError::NoKey, "`ssh-keygen -t ed25519"),
    ] {
        let refused = SigningKey::parse(text).unwrap_err();
        assert_eq!(refused, error, "{text}");
        let cured = refused.cure(&Path::new("/keys").join(file));
        assert!(cured.contains(cure), "{cured}");
        assert!(!format!("{refused} {refused:?} {cured}").contains("hunter2"));
    }
}

#[test]
fn a_key_is_taken_with_other_line_ends_and_shows_its_fingerprint_alone() {
    let text = ed25519(1);
    for text in [text.trim().to_owned(), format!("\n{text}\n"), text.replace('\n', "\r\n")] {
        let key = SigningKey::parse(&text).unwrap_or_else(|error| panic!("{error:?} {text:?}"));
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
        let shown = key.to_string();
        assert!(shown.starts_with("ssh-ed25519 SHA256:"), "{shown}");
    }
}
