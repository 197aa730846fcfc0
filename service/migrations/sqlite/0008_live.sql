-- When each commit of a release was first seen live in its cluster.
CREATE TABLE live (
    release TEXT NOT NULL,                              -- environment/namespace/name
    commit_id TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (release, commit_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX live_by_time ON live (at);
