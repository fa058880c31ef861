-- What drift found, as one document: the figures that stand in for stated ones, and the last findings.
CREATE TABLE drift (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  document TEXT NOT NULL
) STRICT;
