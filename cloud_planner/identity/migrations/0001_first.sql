CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  secret_sha256 BLOB NOT NULL,
  device_id TEXT NOT NULL,
  created_at_s REAL NOT NULL,
  ends_at_s REAL NOT NULL,
  created_by TEXT NOT NULL,
  used_at_s REAL,
  used_by TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE token_labels (
  token_id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (token_id, key)
) STRICT;

-- One for each time that a box enrolled; renewals change `serial` and `ends_at_s`.
CREATE TABLE enrolments (
  lineage TEXT PRIMARY KEY,
  device_id TEXT NOT NULL,
  serial TEXT NOT NULL,
  enrolled_at_s REAL NOT NULL,
  ends_at_s REAL NOT NULL,
  revoked_at_s REAL,
  revoked_why TEXT NOT NULL DEFAULT '',
  doubled_at_s REAL
) STRICT;

-- Those that its token was bound to.
CREATE TABLE enrolment_labels (
  lineage TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (lineage, key)
) STRICT;

CREATE INDEX enrolments_by_device ON enrolments (device_id, enrolled_at_s);

-- Two boxes whose names differ in case only would have the same name in TLS.
CREATE UNIQUE INDEX enrolments_in_force ON enrolments (device_id COLLATE NOCASE) WHERE revoked_at_s IS NULL;

CREATE TABLE people (
  name TEXT PRIMARY KEY COLLATE NOCASE,
  lineage TEXT NOT NULL UNIQUE,
  role INTEGER NOT NULL,
  created_at_s REAL NOT NULL,
  ends_at_s REAL NOT NULL,
  secret_sha256 BLOB
) STRICT;

CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY,
  at_us INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  digest BLOB NOT NULL
) STRICT;

-- The last entry: an end that was cut off is missed.
CREATE TABLE audit_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  sequence INTEGER NOT NULL,
  digest BLOB NOT NULL
) STRICT;

INSERT INTO audit_head VALUES (1, 0, x'0000000000000000000000000000000000000000000000000000000000000000');

CREATE TRIGGER audit_is_append_only_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_is_append_only_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
