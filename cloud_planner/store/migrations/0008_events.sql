-- What happened lately, as `circinus events` tells: a ring, of which the oldest are forgotten. fields: a JSON object of
-- texts.
CREATE TABLE events (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  at_s REAL NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  warning INTEGER NOT NULL,
  fields TEXT NOT NULL
) STRICT;
