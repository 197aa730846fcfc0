//! Who may call: tokens and what is remembered of their requests. Kept by the store, and no business of the conveyor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Fault;
use super::shared::store_fault;
use crate::access::{ClearToken, NewToken, Scope, Token, TokenHash, TokenRole};
use crate::clock::Clock;
use crate::release::Refusal;
use crate::store::{Revoked, Store};

pub use crate::store::{AuditEntry, Audited, Claim, ClaimKey};

/// How long a token that was found is taken for what it was: a caller with many requests asks the store once a second, and what another
/// program does to the store's tokens counts as soon.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

/// The most tokens kept so; with one more, all are looked up anew.
const KNOWN_MAX: usize = 256;

/// Tokens, idempotency keys and the audit.
#[derive(Debug, Clone)]
pub struct Accounts {
    store: Store,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

/// Tokens that were looked up a moment ago.
#[derive(Debug, Default)]
struct Known {
    /// By the hash of their clear text, and when.
    tokens: HashMap<TokenHash, (Token, Timestamp)>,
    /// How often they were forgotten: what was read from the store before that is not kept after it.
    forgotten: u64,
}

/// What a new token shall allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedToken {
    pub name: Option<String>,
    pub role: TokenRole,
    /// Where it is good for; empty means everywhere.
    pub scopes: Vec<Scope>,
    pub expires_at: Option<jiff::Timestamp>,
}

impl Accounts {
    /// Keeps accounts in a store.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, known: Arc::default() }
    }

    /// Finds the live token with this clear text.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn authenticate(&self, clear: &str) -> Result<Option<Token>, Fault> {
        let (hash, now) = (TokenHash::of(clear), self.clock.now());
        let known = self.known().tokens.get(&hash).filter(|(_, at)| now.duration_since(*at).abs() < KNOWN_FOR).cloned();
        let token = match known {
            Some((token, _)) => Some(token),
            None => self.look_up(hash, now).await?,
        };
        Ok(token.filter(|token| token.is_live(now)))
    }

    async fn look_up(&self, hash: TokenHash, now: Timestamp) -> Result<Option<Token>, Fault> {
        let forgotten = self.known().forgotten;
        let Some(token) = self.store.token_by_hash(&hash).await.map_err(store_fault)? else { return Ok(None) };
        let mut known = self.known();
        if known.tokens.len() >= KNOWN_MAX {
            known.tokens.clear();
        }
        if known.forgotten == forgotten {
            known.tokens.insert(hash, (token.clone(), now));
        }
        Ok(Some(token))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the tokens, newest first, revoked and expired ones too.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn tokens(&self) -> Result<Vec<Token>, Fault> {
        self.store.tokens().await.map_err(store_fault)
    }

    /// Makes a token; its clear text is kept nowhere.
    ///
    /// # Errors
    /// The store does not answer, or the machine has no randomness.
    pub async fn create_token(&self, wanted: WantedToken) -> Result<(Token, ClearToken), Fault> {
        let clear = ClearToken::generate().map_err(|_| Fault::Internal)?;
        let token = self.keep_token(wanted, &clear.hash()).await?.ok_or(Fault::Internal)?;
        Ok((token, clear))
    }

    /// Keeps a token whose clear text the caller has. None: it is known already, and may have been revoked.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn keep_token(&self, wanted: WantedToken, hash: &TokenHash) -> Result<Option<Token>, Fault> {
        let WantedToken { name, role, scopes, expires_at } = wanted;
        let id = uuid::Uuid::now_v7().to_string();
        let token = Token { id, name, role, scopes, created_at: self.clock.now(), expires_at, revoked_at: None };
        let new = NewToken { token: token.clone(), hash: hash.clone() };
        Ok(self.store.create_token(new).await.map_err(store_fault)?.then_some(token))
    }

    /// Revokes a token. Says whether there was one that was not revoked yet.
    ///
    /// # Errors
    /// It is the last one of an administrator, or the store does not answer.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, Fault> {
        let revoked = self.store.revoke_token(id, self.clock.now()).await.map_err(store_fault);
        let mut known = self.known();
        known.tokens.clear();
        known.forgotten += 1;
        match revoked? {
            Revoked::Done => Ok(true),
            Revoked::Unknown => Ok(false),
            Revoked::LastAdmin => {
                let reason = "it is the last token of an administrator, and nobody could make another one then";
                let cure = "make the next one first: `kmlflow token create --role admin`";
                Err(Refusal::conflict(reason, cure).into())
            }
        }
    }

    /// Claims an idempotency key for a request with this body, and says since when it is claimed where it is by this.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn claim(&self, key: ClaimKey, body_hash: String) -> Result<(Claim, Timestamp), Fault> {
        let now = self.clock.now();
        let claim = self.store.claim(key, body_hash, now).await.map_err(store_fault)?;
        let since = if let Claim::Interrupted(at) = claim { at } else { now };
        Ok((claim, since))
    }

    /// Begins anew under a claimed key, and says since when; nothing where another replica has it by now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn claim_anew(&self, key: ClaimKey) -> Result<Option<Timestamp>, Fault> {
        let now = self.clock.now();
        Ok(self.store.claim_anew(key, now).await.map_err(store_fault)?.then_some(now))
    }

    /// Keeps the answer to a claimed request, or, without one, gives the claim back.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn settle_claim(&self, key: ClaimKey, answer: Option<(u16, String)>) -> Result<(), Fault> {
        match answer {
            Some((status, body)) => self.store.answer(key, status, body).await.map_err(store_fault),
            None => self.store.give_back(key).await.map_err(store_fault),
        }
    }

    /// Adds to the audit.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), Fault> {
        self.store.record(entry).await.map_err(store_fault)
    }

    /// Lists the audit before a number, newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<Audited>, Fault> {
        self.store.audit(before, limit).await.map_err(store_fault)
    }
}
