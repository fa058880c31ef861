-- Telemetry that was lost before it was told, as devices said. query_id '': of whatever the device served. message: a
-- serialised circinus.v1.TelemetryGap.
CREATE TABLE telemetry_gaps (
  device_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  number INTEGER NOT NULL,
  query_id TEXT NOT NULL,
  start_at_s REAL NOT NULL,
  end_at_s REAL NOT NULL,
  message BLOB NOT NULL,
  PRIMARY KEY (device_id, sequence, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX telemetry_gaps_by_age ON telemetry_gaps (end_at_s);
