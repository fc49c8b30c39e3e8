-- +goose NO TRANSACTION
-- +goose Up

-- The comments are in the schema of SQLite. Ids are VARBINARY, which compares
-- their bytes, trailing spaces included. MySQL commits each statement, so each
-- can be run again.
CREATE TABLE IF NOT EXISTS wxgate_user (
	id            VARBINARY(64) PRIMARY KEY,
	kind          VARBINARY(64) NOT NULL CHECK (kind IN ('guest', 'member')),
	created       BIGINT NOT NULL,
	last_seen     BIGINT NOT NULL,
	merged_into   VARBINARY(64),
	merged_at     BIGINT,
	cancelled     BIGINT,
	sessions_from BIGINT,
	phone_key     VARBINARY(64) UNIQUE,
	phone_sealed  VARBINARY(255),
	CHECK ((merged_into IS NULL) = (merged_at IS NULL)),
	FOREIGN KEY (merged_into) REFERENCES wxgate_user (id),
	INDEX wxgate_user_merged_into (merged_into)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_unionid (
	scope   VARBINARY(64) NOT NULL,
	unionid VARBINARY(64) NOT NULL,
	user_id VARBINARY(64),
	apart   VARBINARY(64) NOT NULL DEFAULT '',
	PRIMARY KEY (scope, unionid),
	UNIQUE (user_id, scope, apart),
	FOREIGN KEY (user_id) REFERENCES wxgate_user (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_identity (
	appid   VARBINARY(64) NOT NULL,
	openid  VARBINARY(64) NOT NULL,
	scope   VARBINARY(64) NOT NULL DEFAULT '',
	unionid VARBINARY(64),
	user_id VARBINARY(64),
	created BIGINT NOT NULL,
	PRIMARY KEY (appid, openid),
	UNIQUE (scope, unionid, appid),
	FOREIGN KEY (scope, unionid) REFERENCES wxgate_unionid (scope, unionid),
	CHECK ((unionid IS NULL) <> (user_id IS NULL)),
	FOREIGN KEY (user_id) REFERENCES wxgate_user (id),
	INDEX wxgate_identity_user (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_visitor (
	appid    VARBINARY(64) NOT NULL,
	openid   VARBINARY(64) NOT NULL,
	guest_id VARBINARY(64) NOT NULL,
	created  BIGINT NOT NULL,
	PRIMARY KEY (appid, openid),
	FOREIGN KEY (guest_id) REFERENCES wxgate_user (id),
	INDEX wxgate_visitor_guest (guest_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_event (
	written BIGINT AUTO_INCREMENT PRIMARY KEY,
	seq     BIGINT UNIQUE,
	id      VARBINARY(64) NOT NULL,
	type    VARBINARY(64) NOT NULL,
	subject VARBINARY(64) NOT NULL,
	time    BIGINT NOT NULL,
	data    MEDIUMTEXT NOT NULL,
	INDEX wxgate_event_subject (subject, written)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_event_head (
	id     INT PRIMARY KEY CHECK (id = 1),
	seq    BIGINT NOT NULL,
	pruned BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO wxgate_event_head (id, seq, pruned) SELECT 1, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM wxgate_event_head);

CREATE TABLE IF NOT EXISTS wxgate_conflict (
	id      VARBINARY(64) PRIMARY KEY,
	code    VARBINARY(64) NOT NULL,
	parties VARBINARY(1024) NOT NULL,
	wants   VARBINARY(512) NOT NULL,
	open_as VARBINARY(1024) UNIQUE,
	appid   VARBINARY(64) NOT NULL,
	openid  VARBINARY(64) NOT NULL,
	opened  BIGINT NOT NULL,
	closed  BIGINT,
	CHECK ((open_as IS NULL) = (closed IS NOT NULL)),
	INDEX wxgate_conflict_wants (wants),
	INDEX wxgate_conflict_code (code, opened),
	INDEX wxgate_conflict_opened (opened, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_revocation (
	session_id VARBINARY(64) PRIMARY KEY,
	dies       BIGINT NOT NULL,
	forget     BIGINT NOT NULL,
	INDEX wxgate_revocation_forget (forget)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_invalidation (
	seq        BIGINT AUTO_INCREMENT PRIMARY KEY,
	user_id    VARBINARY(64),
	session_id VARBINARY(64),
	time       BIGINT NOT NULL,
	CHECK ((user_id IS NULL) <> (session_id IS NULL))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_id_block (
	first BIGINT PRIMARY KEY,
	next  BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO wxgate_id_block (first, next) VALUES (0, 0);

CREATE TABLE IF NOT EXISTS wxgate_assertion_key (
	id          VARBINARY(64) PRIMARY KEY,
	algorithm   VARBINARY(64) NOT NULL,
	sealed      MEDIUMTEXT NOT NULL,
	created     BIGINT NOT NULL,
	active_from BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	UNIQUE (algorithm, active_from)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_data_key (
	id      BIGINT PRIMARY KEY,
	sealed  MEDIUMTEXT NOT NULL,
	used    BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_newcomer (
	person          VARBINARY(64) PRIMARY KEY,
	idempotency_key VARBINARY(64) NOT NULL,
	created         BIGINT NOT NULL,
	INDEX wxgate_newcomer_created (created)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_operation (
	id      VARBINARY(64) PRIMARY KEY,
	time    BIGINT NOT NULL,
	action  VARBINARY(64) NOT NULL,
	subject VARBINARY(64) NOT NULL,
	reason  TEXT NOT NULL,
	operator TEXT NOT NULL,
	detail  MEDIUMTEXT NOT NULL,
	INDEX wxgate_operation_time (time, id),
	INDEX wxgate_operation_subject (subject, time)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Locks for what has no row yet: 0 is that of operations, the others are
-- openids'.
CREATE TABLE IF NOT EXISTS wxgate_lock (
	id INT PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO wxgate_lock (id)
SELECT a.n + 4 * b.n + 16 * c.n + 64 * d.n + 256 * e.n
FROM (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS a,
	(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS b,
	(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS c,
	(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS d,
	(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS e;
