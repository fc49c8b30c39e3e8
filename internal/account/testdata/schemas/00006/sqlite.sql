PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE wxgate_schema (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO wxgate_schema VALUES(1,0,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(2,1,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(3,2,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(4,3,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(5,4,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(6,5,1,'2026-11-22 02:11:35');
INSERT INTO wxgate_schema VALUES(7,6,1,'2026-11-22 02:11:35');
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
INSERT INTO wxgate_user VALUES('1000000000','member',1795313495000,1795313495573,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO wxgate_user VALUES('1000000001','guest',1795313495000,1795313495589,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO wxgate_user VALUES('1000000002','guest',1795313495000,1795313495595,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO wxgate_user VALUES('U1','member',1700000000000,4950987095496,NULL,NULL,NULL,NULL,'3f5d200e51e5bd43eff08e1d65d617ae7e735b71635b750aea62ab3da98ab1d5','pdOW1j3pwOxtL7oDt406JROPFG5NXEuZFC1vExiM9stHFZZNAHJAQYlP');
INSERT INTO wxgate_user VALUES('U2','member',1700000000000,4950987095496,NULL,NULL,NULL,1795313506000,NULL,NULL);
INSERT INTO wxgate_user VALUES('U3','member',1700000000000,4950987095496,NULL,NULL,1,NULL,NULL,NULL);
INSERT INTO wxgate_user VALUES('V1','guest',1700000001000,4950987095496,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO wxgate_user VALUES('V2','guest',1700000002000,4950987095496,'U1',1,NULL,NULL,NULL,NULL);
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
INSERT INTO wxgate_unionid VALUES('','ASKED','1000000002','');
INSERT INTO wxgate_unionid VALUES('','NEW','1000000000','');
INSERT INTO wxgate_unionid VALUES('','TOLD','1000000001','');
INSERT INTO wxgate_unionid VALUES('','X','U1','');
INSERT INTO wxgate_unionid VALUES('','Y','U2','');
INSERT INTO wxgate_unionid VALUES('mp','s','U1','');
CREATE TABLE wxgate_identity (
	appid   TEXT NOT NULL CHECK (length(CAST(appid AS BLOB)) <= 64),
	openid  TEXT NOT NULL CHECK (length(CAST(openid AS BLOB)) <= 64),
	scope   TEXT NOT NULL DEFAULT '',
	unionid TEXT,
	user_id TEXT REFERENCES wxgate_user (id),
	created INTEGER NOT NULL, owner_id TEXT,
	PRIMARY KEY (appid, openid),
	UNIQUE (scope, unionid, appid),
	FOREIGN KEY (scope, unionid) REFERENCES wxgate_unionid (scope, unionid),
	CHECK ((unionid IS NULL) <> (user_id IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_identity VALUES('mp','s','mp','s',NULL,0,'U1');
INSERT INTO wxgate_identity VALUES('oa','asked','','ASKED',NULL,1795313495595,'1000000002');
INSERT INTO wxgate_identity VALUES('oa','new','','NEW',NULL,1795313495573,'1000000000');
INSERT INTO wxgate_identity VALUES('oa','told','','TOLD',NULL,1795313495589,'1000000001');
INSERT INTO wxgate_identity VALUES('oa','x','','X',NULL,0,'U1');
INSERT INTO wxgate_identity VALUES('oa','y','','Y',NULL,0,'U2');
INSERT INTO wxgate_identity VALUES('old','i','',NULL,'U1',0,NULL);
CREATE TABLE wxgate_visitor (
	appid    TEXT NOT NULL CHECK (length(CAST(appid AS BLOB)) <= 64),
	openid   TEXT NOT NULL CHECK (length(CAST(openid AS BLOB)) <= 64),
	guest_id TEXT NOT NULL REFERENCES wxgate_user (id),
	created  INTEGER NOT NULL,
	PRIMARY KEY (appid, openid)
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_visitor VALUES('oa','v','V1',0);
CREATE TABLE wxgate_event (
	written INTEGER PRIMARY KEY,
	seq     INTEGER UNIQUE,
	id      TEXT NOT NULL,
	type    TEXT NOT NULL,
	subject TEXT NOT NULL,
	time    INTEGER NOT NULL,
	data    TEXT NOT NULL
, traceparent TEXT) STRICT;
INSERT INTO wxgate_event VALUES(1,1,'given V2','user.merged','U1',1,'{"from":"V2","reason":"operator","aliases":["V2"]}',NULL);
INSERT INTO wxgate_event VALUES(2,2,'INYTLI5I6T76GQF3QG5BQH2P2F','conflict.opened','6DAOHOL6TRZQDMGR3VK7Z7CLV2',1795313495505,'{"id":"6DAOHOL6TRZQDMGR3VK7Z7CLV2","code":"wechat_bound_to_other_user","parties":["U1","Y","U2"]}',NULL);
INSERT INTO wxgate_event VALUES(3,3,'4ACRVRYUEEBLPEBLFRUZXHYIE5','user.created','1000000000',1795313495573,'{}',NULL);
INSERT INTO wxgate_event VALUES(4,4,'734KYTEXCHXKIFK4YJFYL2LZQ5','identity.linked','1000000000',1795313495573,'{"appid":"oa","openid":"new","unionid":"NEW"}',NULL);
INSERT INTO wxgate_event VALUES(5,5,'WDGURWMBSVKUISRJWPTYRHV2MD','identity.linked','1000000001',1795313495589,'{"appid":"oa","openid":"told","unionid":"TOLD"}',NULL);
INSERT INTO wxgate_event VALUES(6,6,'NWOGRDSGXH2HE4XCPBXKJBH4HR','user.created','U9',1795313495590,'{"n":9}',NULL);
INSERT INTO wxgate_event VALUES(7,NULL,'ZHUVAUQQPRV6CQY6GSYFQJW4KJ','identity.linked','1000000002',1795313495595,'{"appid":"oa","openid":"asked","unionid":"ASKED"}',NULL);
CREATE TABLE wxgate_event_head (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	seq    INTEGER NOT NULL,
	pruned INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_event_head VALUES(1,6,0);
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
INSERT INTO wxgate_conflict VALUES('6DAOHOL6TRZQDMGR3VK7Z7CLV2','wechat_bound_to_other_user',replace('U1\nY\nU2','\n',char(10)),replace('unionid\nU1\nY','\n',char(10)),replace('wechat_bound_to_other_user\nU1\nY\nU2','\n',char(10)),'oa','y',1795313495505,NULL);
CREATE TABLE wxgate_revocation (
	session_id TEXT PRIMARY KEY,
	dies       INTEGER NOT NULL,
	forget     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_revocation VALUES('s',1795313485576,4950987095496);
CREATE TABLE wxgate_invalidation (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id    TEXT,
	session_id TEXT,
	time       INTEGER NOT NULL,
	CHECK ((user_id IS NULL) <> (session_id IS NULL))
) STRICT;
INSERT INTO wxgate_invalidation VALUES(1,NULL,'s',1795313495576);
INSERT INTO wxgate_invalidation VALUES(2,'U2',NULL,1795313495578);
CREATE TABLE wxgate_id_block (
	first INTEGER PRIMARY KEY,
	next  INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_id_block VALUES(0,0);
INSERT INTO wxgate_id_block VALUES(1000000000,1000001000);
CREATE TABLE wxgate_assertion_key (
	id          TEXT PRIMARY KEY,
	algorithm   TEXT NOT NULL,
	sealed      TEXT NOT NULL,
	created     INTEGER NOT NULL,
	active_from INTEGER NOT NULL,
	expires     INTEGER NOT NULL,
	UNIQUE (algorithm, active_from)
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_assertion_key VALUES('k','ES256','sealed',1700000000000,1700000000000,4950987095496);
CREATE TABLE wxgate_data_key (
	id      INTEGER PRIMARY KEY,
	sealed  TEXT NOT NULL,
	used    INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_data_key VALUES(1,'first:4529c248858f0d65641623676e67dbf04733ee04c27146db181379360ae02e72',1795313495473);
CREATE TABLE wxgate_newcomer (
	person          TEXT PRIMARY KEY, -- a hash
	idempotency_key TEXT NOT NULL,
	created         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_newcomer VALUES('04d1ef0982f92d561249efd49cbf9a5fa21e8621d0a58ae516a3dcd8fbf1560e','JHHIZCZXZCO5F6OH54OOSZBXLN',1795313495594);
CREATE TABLE wxgate_operation (
	id       TEXT PRIMARY KEY,
	time     INTEGER NOT NULL,
	action   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	reason   TEXT NOT NULL,
	operator TEXT NOT NULL, -- empty: he did not say who he is
	detail   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_operation VALUES('KFC5SBVLUGRMA5JUHHVX2ICNPJ',1795313495578,'revoke','U2','ticket 12','wang','{}');
CREATE TABLE wxgate_receiver (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	seq        INTEGER NOT NULL,
	holder     TEXT NOT NULL,
	held_until INTEGER NOT NULL,
	seen       INTEGER NOT NULL   -- when it was in a configuration last
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_receiver VALUES('receiver','https://receiver',6,'a',0,1795313495584);
CREATE TABLE wxgate_delivery (
	receiver_id TEXT NOT NULL REFERENCES wxgate_receiver (id),
	seq         INTEGER NOT NULL, -- of the event
	subject     TEXT NOT NULL,
	attempts    INTEGER NOT NULL,
	first_tried INTEGER NOT NULL, -- 0: not yet
	due         INTEGER NOT NULL,
	parked      INTEGER NOT NULL, -- 0: it is not
	said        TEXT NOT NULL,    -- how the last attempt ended
	PRIMARY KEY (receiver_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_delivery VALUES('receiver',1,'U1',7,1795313495584,1795317095584,1795313495584,'gone');
INSERT INTO wxgate_delivery VALUES('receiver',2,'6DAOHOL6TRZQDMGR3VK7Z7CLV2',7,1795313495584,1795317095584,1795313495584,'gone');
INSERT INTO wxgate_delivery VALUES('receiver',3,'1000000000',7,1795313495584,1795317095584,1795313495584,'gone');
INSERT INTO wxgate_delivery VALUES('receiver',4,'1000000000',7,1795313495584,1795317095584,1795313495584,'gone');
INSERT INTO wxgate_delivery VALUES('receiver',5,'1000000001',7,1795313495584,1795317095584,1795313495584,'gone');
INSERT INTO wxgate_delivery VALUES('receiver',6,'U9',7,1795313495584,1795317095584,1795313495584,'gone');
CREATE TABLE wxgate_event_settled (
	id  INTEGER PRIMARY KEY CHECK (id = 1),
	seq INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_event_settled VALUES(1,0);
CREATE TABLE wxgate_profile (
	appid    TEXT NOT NULL,
	openid   TEXT NOT NULL,
	nickname TEXT NOT NULL, -- empty: not given
	avatar   TEXT NOT NULL,
	changed  INTEGER NOT NULL,
	PRIMARY KEY (appid, openid)
) STRICT, WITHOUT ROWID;
INSERT INTO wxgate_profile VALUES('oa','x','li','',1795313495597);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('wxgate_schema',7);
INSERT INTO sqlite_sequence VALUES('wxgate_invalidation',2);
CREATE UNIQUE INDEX wxgate_user_phone ON wxgate_user (phone_key) WHERE phone_key IS NOT NULL;
CREATE INDEX wxgate_user_merged_into ON wxgate_user (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX wxgate_identity_user ON wxgate_identity (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX wxgate_visitor_guest ON wxgate_visitor (guest_id);
CREATE INDEX wxgate_event_subject ON wxgate_event (subject, written);
CREATE INDEX wxgate_conflict_wants ON wxgate_conflict (wants);
CREATE INDEX wxgate_conflict_code ON wxgate_conflict (code, opened);
CREATE INDEX wxgate_conflict_opened ON wxgate_conflict (opened, id);
CREATE INDEX wxgate_revocation_forget ON wxgate_revocation (forget);
CREATE INDEX wxgate_newcomer_created ON wxgate_newcomer (created);
CREATE INDEX wxgate_operation_time ON wxgate_operation (time, id);
CREATE INDEX wxgate_operation_subject ON wxgate_operation (subject, time);
CREATE INDEX wxgate_delivery_subject ON wxgate_delivery (receiver_id, subject, parked, due, seq);
CREATE INDEX wxgate_delivery_due ON wxgate_delivery (receiver_id, parked, due, seq);
COMMIT;
