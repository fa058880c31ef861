-- When results of profile runs of a bundle and content on a class of devices last came in.
CREATE TABLE profiled (
  bundle_digest TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  device_class TEXT NOT NULL,
  at_s REAL NOT NULL,
  PRIMARY KEY (bundle_digest, content_digest, device_class)
) STRICT, WITHOUT ROWID;
