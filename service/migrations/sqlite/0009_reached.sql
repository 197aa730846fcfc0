-- When the parts of a commit were first seen on its way to live.
ALTER TABLE live ADD COLUMN applied_at TEXT;
ALTER TABLE live ADD COLUMN ready_at TEXT;
