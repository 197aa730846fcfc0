-- What was newly made, by its moment: the storm guard counts the last minute at each start.
CREATE INDEX commits_made ON commits (at) WHERE action = 'create';
