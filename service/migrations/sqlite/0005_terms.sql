-- A lease is the term of the leader that has taken a delivery up, and no moment ends it: the next leader takes over what the last one had.

ALTER TABLE deliveries DROP COLUMN leased_by;
ALTER TABLE deliveries DROP COLUMN leased_until;
ALTER TABLE deliveries ADD COLUMN leased_in INTEGER;
-- What whoever waits for it is told beside what became of it, JSON; a replica that another one answers for reads it.
ALTER TABLE deliveries ADD COLUMN answer TEXT;
