-- 1: measured without rest; it says how long an operator took, but not as serving will find it.
ALTER TABLE times ADD COLUMN hurried INTEGER NOT NULL DEFAULT 0;

-- attempts: JSON, a list of [configuration, samples seen before]. state: a serialised circinus.v1.SearchState.
CREATE TABLE searches (
  query_id TEXT PRIMARY KEY,
  submitted_at_s REAL NOT NULL,
  attempts TEXT NOT NULL,
  state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
