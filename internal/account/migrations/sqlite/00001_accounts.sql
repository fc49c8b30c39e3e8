-- +goose Up

-- A guest has a row once it is linked or merged; a member always has one.
-- Times are Unix milliseconds. Ids compare byte for byte.
CREATE TABLE wxgate_user (
	id            TEXT PRIMARY KEY CHECK (length(CAST(id AS BLOB)) <= 64),
	kind          TEXT NOT NULL CHECK (kind IN ('guest', 'member')),
	created       INTEGER NOT NULL,
	last_seen     INTEGER NOT NULL,
	merged_into   TEXT REFERENCES wxgate_user (id), -- always the survivor, in one hop
	merged_at     INTEGER,
	cancelled     INTEGER,
	sessions_from INTEGER,                   -- sessions issued before are dead
	phone_key     TEXT,                      -- finds the phone; released by a merge and a cancellation
	phone_sealed  TEXT,
	CHECK ((merged_into IS NULL) = (merged_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX wxgate_user_phone ON wxgate_user (phone_key) WHERE phone_key IS NOT NULL;
CREATE INDEX wxgate_user_merged_into ON wxgate_user (merged_into) WHERE merged_into IS NOT NULL;

-- The user hangs on the unionid, so that one unionid cannot have two. Scope is
-- empty for real unionids and the appid for openids that stand in for one.
CREATE TABLE wxgate_unionid (
	scope   TEXT NOT NULL CHECK (length(CAST(scope AS BLOB)) <= 64),
	unionid TEXT NOT NULL CHECK (length(CAST(unionid AS BLOB)) <= 64),
	user_id TEXT REFERENCES wxgate_user (id),
	-- Empty under one_to_one, so that a user cannot have two of one scope; the
	-- unionid where he may.
	apart   TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (scope, unionid),
	UNIQUE (user_id, scope, apart)
) STRICT, WITHOUT ROWID;

-- user_id is set only while the unionid is unknown, which only an import makes.
CREATE TABLE wxgate_identity (
	appid   TEXT NOT NULL CHECK (length(CAST(appid AS BLOB)) <= 64),
	openid  TEXT NOT NULL CHECK (length(CAST(openid AS BLOB)) <= 64),
	scope   TEXT NOT NULL DEFAULT '',
	unionid TEXT,
	user_id TEXT REFERENCES wxgate_user (id),
	created INTEGER NOT NULL,
	PRIMARY KEY (appid, openid),
	UNIQUE (scope, unionid, appid),
	FOREIGN KEY (scope, unionid) REFERENCES wxgate_unionid (scope, unionid),
	CHECK ((unionid IS NULL) <> (user_id IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_identity_user ON wxgate_identity (user_id) WHERE user_id IS NOT NULL;

-- An openid whose unionid is unknown, with its guest. Never an identity.
CREATE TABLE wxgate_visitor (
	appid    TEXT NOT NULL CHECK (length(CAST(appid AS BLOB)) <= 64),
	openid   TEXT NOT NULL CHECK (length(CAST(openid AS BLOB)) <= 64),
	guest_id TEXT NOT NULL REFERENCES wxgate_user (id),
	created  INTEGER NOT NULL,
	PRIMARY KEY (appid, openid)
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_visitor_guest ON wxgate_visitor (guest_id);

-- An event has a seq, its place in the feed, from its first reading on. Before
-- that it has only the number it drew when it was written.
CREATE TABLE wxgate_event (
	written INTEGER PRIMARY KEY,
	seq     INTEGER UNIQUE,
	id      TEXT NOT NULL,
	type    TEXT NOT NULL,
	subject TEXT NOT NULL,
	time    INTEGER NOT NULL,
	data    TEXT NOT NULL
) STRICT;
CREATE INDEX wxgate_event_subject ON wxgate_event (subject, written);

-- One row: the last place that was given, and the last whose event is pruned.
CREATE TABLE wxgate_event_head (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	seq    INTEGER NOT NULL,
	pruned INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_event_head (id, seq, pruned) VALUES (1, 0, 0);

-- What was asked for and refused. While it is open, open_as names its code and
-- parties, and nothing is opened twice; it closes when a Link makes what it wants.
CREATE TABLE wxgate_conflict (
	id      TEXT PRIMARY KEY,
	code    TEXT NOT NULL,
	parties TEXT NOT NULL,
	wants   TEXT NOT NULL,
	open_as TEXT UNIQUE,
	appid   TEXT NOT NULL,
	openid  TEXT NOT NULL,
	opened  INTEGER NOT NULL,
	closed  INTEGER,
	CHECK ((open_as IS NULL) = (closed IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_conflict_wants ON wxgate_conflict (wants);
CREATE INDEX wxgate_conflict_code ON wxgate_conflict (code, opened);
CREATE INDEX wxgate_conflict_opened ON wxgate_conflict (opened, id);

-- A session is dead from its time on, and forgotten when no token of it is left.
CREATE TABLE wxgate_revocation (
	session_id TEXT PRIMARY KEY,
	dies       INTEGER NOT NULL,
	forget     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_revocation_forget ON wxgate_revocation (forget);

-- What caches have to forget; read by every instance.
CREATE TABLE wxgate_invalidation (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id    TEXT,
	session_id TEXT,
	time       INTEGER NOT NULL,
	CHECK ((user_id IS NULL) <> (session_id IS NULL))
) STRICT;

-- The numbers that are ids of the gateway's own: from first up to, and without,
-- next they are reserved, and the block with the highest first grows. The row
-- of 0 is no block: it is locked by who changes the blocks.
CREATE TABLE wxgate_id_block (
	first INTEGER PRIMARY KEY,
	next  INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_id_block (first, next) VALUES (0, 0);

CREATE TABLE wxgate_assertion_key (
	id          TEXT PRIMARY KEY,
	algorithm   TEXT NOT NULL,
	sealed      TEXT NOT NULL,
	created     INTEGER NOT NULL,
	active_from INTEGER NOT NULL,
	expires     INTEGER NOT NULL,
	UNIQUE (algorithm, active_from)
) STRICT, WITHOUT ROWID;

-- The key that phone numbers are stored with, sealed under a secret. A higher
-- id is the same key under a newer secret.
CREATE TABLE wxgate_data_key (
	id      INTEGER PRIMARY KEY,
	sealed  TEXT NOT NULL,
	used    INTEGER NOT NULL
) STRICT;

-- Who is about to become a member with an id that the shop makes, and the key
-- that it is asked with. The row goes when he is one.
CREATE TABLE wxgate_newcomer (
	person          TEXT PRIMARY KEY, -- a hash
	idempotency_key TEXT NOT NULL,
	created         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_newcomer_created ON wxgate_newcomer (created);

-- What operators did.
CREATE TABLE wxgate_operation (
	id       TEXT PRIMARY KEY,
	time     INTEGER NOT NULL,
	action   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	reason   TEXT NOT NULL,
	operator TEXT NOT NULL, -- empty: he did not say who he is
	detail   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX wxgate_operation_time ON wxgate_operation (time, id);
CREATE INDEX wxgate_operation_subject ON wxgate_operation (subject, time);
