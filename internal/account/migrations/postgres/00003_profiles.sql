-- +goose Up

-- The comments are in the schema of SQLite.
CREATE TABLE wxgate_profile (
	appid    text COLLATE "C" NOT NULL,
	openid   text COLLATE "C" NOT NULL,
	nickname text NOT NULL,
	avatar   text NOT NULL,
	changed  bigint NOT NULL,
	PRIMARY KEY (appid, openid)
);
