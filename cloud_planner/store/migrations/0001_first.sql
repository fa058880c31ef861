CREATE TABLE facts (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
INSERT INTO facts (name, value) VALUES ('epoch', 1), ('queries_named', 0);

-- fingerprint: a serialised circinus.v1.Fingerprint.
CREATE TABLE devices (
  id TEXT PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  last_seen_at_s REAL NOT NULL
) STRICT;

CREATE TABLE pipelines (
  id TEXT PRIMARY KEY,
  spec_yaml TEXT NOT NULL,
  bundle_digest TEXT NOT NULL,
  environment_digest TEXT NOT NULL
) STRICT;

CREATE TABLE contents (
  pipeline_id TEXT NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  samples INTEGER NOT NULL,
  PRIMARY KEY (pipeline_id, name)
) STRICT;

-- message: a serialised circinus.v1.Query.
CREATE TABLE queries (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  message BLOB NOT NULL
) STRICT;

-- Profiles outlive pipelines and queries: equal digests are equal things for ever.
CREATE TABLE scores (
  bundle_digest TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  configuration_key TEXT NOT NULL,
  sample_index INTEGER NOT NULL,
  score_ratio REAL NOT NULL,
  PRIMARY KEY (bundle_digest, content_digest, configuration_key, sample_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE times (
  bundle_digest TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  device_class TEXT NOT NULL,
  configuration_key TEXT NOT NULL,
  sample_index INTEGER NOT NULL,
  operator_id TEXT NOT NULL,
  cpu_ms REAL NOT NULL,
  wall_ms REAL NOT NULL,
  output_bytes INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  PRIMARY KEY (bundle_digest, content_digest, device_class, configuration_key, sample_index, operator_id)
) STRICT, WITHOUT ROWID;

-- kind: 'source' (of an item as it comes from the source; operator_id ''), 'memory' or 'accelerator' (of an operator).
CREATE TABLE sizes (
  bundle_digest TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  device_class TEXT NOT NULL,
  configuration_key TEXT NOT NULL,
  kind TEXT NOT NULL,
  operator_id TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (bundle_digest, content_digest, device_class, configuration_key, kind, operator_id)
) STRICT, WITHOUT ROWID;

-- selection: a serialised circinus.v1.SelectionSummary.
CREATE TABLE generations (
  epoch INTEGER NOT NULL,
  number INTEGER NOT NULL,
  created_at_s REAL NOT NULL,
  phase TEXT NOT NULL,
  selection BLOB NOT NULL,
  PRIMARY KEY (epoch, number)
) STRICT;

-- message: a serialised circinus.v1.Directive.
CREATE TABLE directives (
  epoch INTEGER NOT NULL,
  number INTEGER NOT NULL,
  device_id TEXT NOT NULL,
  message BLOB NOT NULL,
  PRIMARY KEY (epoch, number, device_id),
  FOREIGN KEY (epoch, number) REFERENCES generations (epoch, number) ON DELETE CASCADE
) STRICT;

-- The last decision, whether or not it made a generation.
CREATE TABLE decision (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  selection BLOB NOT NULL
) STRICT;

CREATE TABLE telemetry (
  device_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  received_at_s REAL NOT NULL,
  PRIMARY KEY (device_id, sequence)
) STRICT, WITHOUT ROWID;

-- message: a serialised circinus.v1.QueryWindow (kind 'query') or OperatorWindow (kind 'operator').
CREATE TABLE windows (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('query', 'operator')),
  epoch INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  query_id TEXT NOT NULL,
  start_at_s REAL NOT NULL,
  device_id TEXT NOT NULL,
  message BLOB NOT NULL
) STRICT;
CREATE INDEX windows_by_start ON windows (query_id, start_at_s);
CREATE INDEX windows_by_age ON windows (start_at_s);
