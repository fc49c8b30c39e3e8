-- +goose Up

-- Programs of the shop that are sent each event. Seq is the place in the feed up
-- to which events have become deliveries. Who delivers holds the row meanwhile,
-- and at most until held_until.
CREATE TABLE wxgate_receiver (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	seq        INTEGER NOT NULL,
	holder     TEXT NOT NULL,
	held_until INTEGER NOT NULL,
	seen       INTEGER NOT NULL   -- when it was in a configuration last
) STRICT, WITHOUT ROWID;

-- What is still to be sent, and what was given up: that is parked.
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
CREATE INDEX wxgate_delivery_subject ON wxgate_delivery (receiver_id, subject, parked, due, seq);
CREATE INDEX wxgate_delivery_due ON wxgate_delivery (receiver_id, parked, due, seq);

-- One row: the place in the feed up to which merges are followed by what says
-- that they are settled.
CREATE TABLE wxgate_event_settled (
	id  INTEGER PRIMARY KEY CHECK (id = 1),
	seq INTEGER NOT NULL
) STRICT;
INSERT INTO wxgate_event_settled (id, seq) SELECT 1, seq FROM wxgate_event_head;
