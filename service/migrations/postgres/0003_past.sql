-- The commit up to which the history is not in the index yet, where the index was begun at the tip of a branch elsewhere.
ALTER TABLE indexed_tip ADD COLUMN lacks TEXT COLLATE "C";
