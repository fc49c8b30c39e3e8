-- +goose Up

-- The comments are in the schema of SQLite.
CREATE TABLE wxgate_receiver (
	id         text COLLATE "C" PRIMARY KEY,
	name       text COLLATE "C" NOT NULL,
	seq        bigint NOT NULL,
	holder     text COLLATE "C" NOT NULL,
	held_until bigint NOT NULL,
	seen       bigint NOT NULL
);

CREATE TABLE wxgate_delivery (
	receiver_id text COLLATE "C" NOT NULL REFERENCES wxgate_receiver (id),
	seq         bigint NOT NULL,
	subject     text COLLATE "C" NOT NULL,
	attempts    integer NOT NULL,
	first_tried bigint NOT NULL,
	due         bigint NOT NULL,
	parked      bigint NOT NULL,
	said        text COLLATE "C" NOT NULL,
	PRIMARY KEY (receiver_id, seq)
);
CREATE INDEX wxgate_delivery_subject ON wxgate_delivery (receiver_id, subject, parked, due, seq);
CREATE INDEX wxgate_delivery_due ON wxgate_delivery (receiver_id, parked, due, seq);

CREATE TABLE wxgate_event_settled (
	id  integer PRIMARY KEY CHECK (id = 1),
	seq bigint NOT NULL
);
INSERT INTO wxgate_event_settled (id, seq) SELECT 1, seq FROM wxgate_event_head;
