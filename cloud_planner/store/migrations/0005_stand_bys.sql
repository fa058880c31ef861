-- When queries were served by their stand-bys, as their source devices told. end_at_s NULL: it goes on. message: a
-- serialised circinus.v1.StandByEpisode.
CREATE TABLE stand_by_episodes (
  device_id TEXT NOT NULL,
  query_id TEXT NOT NULL,
  start_at_s REAL NOT NULL,
  end_at_s REAL,
  message BLOB NOT NULL,
  PRIMARY KEY (device_id, query_id, start_at_s)
) STRICT, WITHOUT ROWID;
