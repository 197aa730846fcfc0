-- Replicas: one leads at a time, for a term. What it has taken up of what waits bears the term's number; the next leader takes over all of it.

ALTER TABLE deliveries DROP COLUMN leased_by, DROP COLUMN leased_until;
ALTER TABLE deliveries ADD COLUMN leased_in BIGINT, ADD COLUMN answer TEXT COLLATE "C";
-- What nobody has taken up: few rows, however many wait.
CREATE INDEX deliveries_free ON deliveries (number) WHERE leased_in IS NULL AND state IN ('accepted', 'failed');

-- Whoever writes reads it under the row's lock, so a leader that was replaced hears of it before it writes.
ALTER TABLE ledger ADD COLUMN term BIGINT NOT NULL DEFAULT 0;
