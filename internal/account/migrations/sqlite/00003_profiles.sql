-- +goose Up

-- What somebody has given of himself in one app, to be shown to himself there.
CREATE TABLE wxgate_profile (
	appid    TEXT NOT NULL,
	openid   TEXT NOT NULL,
	nickname TEXT NOT NULL, -- empty: not given
	avatar   TEXT NOT NULL,
	changed  INTEGER NOT NULL,
	PRIMARY KEY (appid, openid)
) STRICT, WITHOUT ROWID;
