-- Who may do what. Only hashes of tokens are kept.

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,                    -- SHA-256 of the clear text, hexadecimal
    name       TEXT,
    role       TEXT NOT NULL,                           -- viewer, releaser, admin
    scopes     TEXT NOT NULL,                           -- JSON list; empty means everywhere
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    token_id   TEXT NOT NULL,
    path       TEXT NOT NULL,                           -- method and path of the request
    key        TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    status     INTEGER,                                 -- none while it is being answered
    answer     TEXT,
    PRIMARY KEY (token_id, path, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (claimed_at);
