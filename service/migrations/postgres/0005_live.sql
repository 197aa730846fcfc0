-- When each commit of a release was first seen live in its cluster.
CREATE TABLE live (
    release   TEXT COLLATE "C" NOT NULL,
    commit_id TEXT COLLATE "C" NOT NULL,
    at        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (release, commit_id)
);
CREATE INDEX live_by_time ON live (at);
