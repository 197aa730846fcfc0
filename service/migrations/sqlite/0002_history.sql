-- An index of the repository's history; Git is the truth, and the index can be emptied and built anew.

CREATE TABLE commits (
    position     INTEGER PRIMARY KEY,                   -- order in the repository
    environment  TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    commit_id    TEXT NOT NULL,
    action       TEXT NOT NULL,
    version      TEXT NOT NULL,
    strategy     TEXT NOT NULL,
    phase        TEXT,                                  -- none after a retraction
    at           TEXT NOT NULL,
    release_id   TEXT NOT NULL,
    requested_by TEXT,
    delivery_id  TEXT,
    subject      TEXT NOT NULL
) STRICT;
CREATE INDEX commits_by_release ON commits (environment, namespace, name, position);
-- A commit indexed twice stays one row.
CREATE UNIQUE INDEX commits_by_id ON commits (commit_id, environment, namespace, name);

-- The newest commit of each release: found at start without reading the whole history.
CREATE TABLE newest_commits (
    environment TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (environment, namespace, name)
) STRICT, WITHOUT ROWID;

-- Up to which commit the index reaches; one row at most.
CREATE TABLE indexed_tip (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    commit_id TEXT NOT NULL
) STRICT;
