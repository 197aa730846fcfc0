-- The number of the replica that claimed a key. It holds a lock of that number for as long as it lives, so that others know when it is gone.
ALTER TABLE idempotency_keys ADD COLUMN claimed_by BIGINT;

-- The branch that all replicas release to.
ALTER TABLE ledger ADD COLUMN branch TEXT COLLATE "C";

-- What the last sweep found, JSON.
CREATE TABLE last_sweep (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    report   TEXT COLLATE "C" NOT NULL
);
