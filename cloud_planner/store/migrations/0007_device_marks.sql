-- What people said of devices, and what their tokens were bound to. state: free, cordoned, draining, leaving or left;
-- since_s: when it became that. people, bound: JSON objects, label -> value; null: people say that there is none.
CREATE TABLE device_marks (
  device_id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  why TEXT NOT NULL,
  since_s REAL NOT NULL,
  people TEXT NOT NULL,
  bound TEXT NOT NULL
) STRICT, WITHOUT ROWID;
