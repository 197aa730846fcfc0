-- What the leader has and somebody gave in again bears the number of its term below zero, until it hears of that.
CREATE INDEX deliveries_sooner ON deliveries (number) WHERE leased_in < 0 AND state IN ('accepted', 'failed');
