-- What arrived, what became of it, and what follows from it. Times are RFC 3339 in UTC with milliseconds, so that they sort as text.

CREATE TABLE deliveries (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival
    source          TEXT NOT NULL,                      -- mlflow, github, generic, argocd, api
    delivery_id     TEXT NOT NULL,                      -- as the sender gave it
    received_at     TEXT NOT NULL,
    state           TEXT NOT NULL DEFAULT 'accepted',   -- accepted, applied, unchanged, ignored, refused, failed
    attempt         INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,                               -- where it failed
    release         TEXT,                               -- environment/namespace/name that it led to
    commit_id       TEXT,                               -- the last commit that carried it out
    reason          TEXT,
    cure            TEXT,
    waits_for       TEXT,
    event           TEXT NOT NULL,                      -- what it says happened, JSON
    body            TEXT NOT NULL                       -- as it arrived
) STRICT;
-- The id first: a delivery is looked up by its id alone too.
CREATE UNIQUE INDEX deliveries_by_id ON deliveries (delivery_id, source);
CREATE INDEX deliveries_by_state ON deliveries (state, number);
CREATE INDEX deliveries_by_release ON deliveries (release, number) WHERE release IS NOT NULL;

-- Ids that outlive their rows, so that a repeat is still known as one.
CREATE TABLE past_deliveries (
    delivery_id TEXT NOT NULL,
    source      TEXT NOT NULL,
    number      INTEGER NOT NULL,
    state       TEXT NOT NULL,
    received_at TEXT NOT NULL,
    PRIMARY KEY (delivery_id, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX past_deliveries_by_time ON past_deliveries (received_at);

-- What the registry is known to say, one row per model.
CREATE TABLE registry (
    model TEXT PRIMARY KEY,
    state TEXT NOT NULL                                 -- JSON
) STRICT, WITHOUT ROWID;

-- The last text of each policy that could be parsed.
CREATE TABLE policies (
    name          TEXT PRIMARY KEY,
    text          TEXT NOT NULL,
    remembered_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Orders to keep everything and apply nothing.
CREATE TABLE holds (
    environment TEXT PRIMARY KEY,                       -- '*' for all
    reason      TEXT NOT NULL,
    held_by     TEXT,
    since       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    actor   TEXT,
    action  TEXT NOT NULL,
    release TEXT,
    outcome TEXT NOT NULL,
    reason  TEXT
) STRICT;
