-- +goose NO TRANSACTION
-- +goose Up

-- The comments are in the schema of SQLite.
CREATE TABLE IF NOT EXISTS wxgate_profile (
	appid    VARBINARY(64) NOT NULL,
	openid   VARBINARY(64) NOT NULL,
	nickname VARBINARY(255) NOT NULL,
	avatar   VARBINARY(1024) NOT NULL,
	changed  BIGINT NOT NULL,
	PRIMARY KEY (appid, openid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
