-- What was promised of a query under a generation, and what was seen of it so far. promise: a serialised
-- circinus.v1.Promise; seen: a circinus.v1.Seen, of the windows up to window_id.
CREATE TABLE accounts (
  epoch INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  query_id TEXT NOT NULL,
  created_at_s REAL NOT NULL,
  promise BLOB NOT NULL,
  seen BLOB NOT NULL,
  window_id INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (epoch, generation, query_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_by_age ON accounts (created_at_s);
CREATE INDEX windows_of_accounts ON windows (epoch, generation, query_id, id);
