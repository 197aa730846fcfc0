-- Who is at work on what waits, and until when. A lease that has run out may be taken over by anybody.

ALTER TABLE deliveries ADD COLUMN leased_by TEXT;
ALTER TABLE deliveries ADD COLUMN leased_until TEXT;
