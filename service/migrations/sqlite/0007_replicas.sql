-- What is known of whoever claimed a key: a replica that went down answers nothing any more. Nobody shares a file.
ALTER TABLE idempotency_keys ADD COLUMN claimed_by INTEGER;

-- What the last sweep found, JSON.
CREATE TABLE last_sweep (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    report   TEXT NOT NULL
) STRICT;
