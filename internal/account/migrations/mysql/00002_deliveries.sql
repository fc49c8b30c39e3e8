-- +goose NO TRANSACTION
-- +goose Up

-- The comments are in the schema of SQLite.
CREATE TABLE IF NOT EXISTS wxgate_receiver (
	id         VARBINARY(64) PRIMARY KEY,
	name       VARBINARY(1024) NOT NULL,
	seq        BIGINT NOT NULL,
	holder     VARBINARY(64) NOT NULL,
	held_until BIGINT NOT NULL,
	seen       BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_delivery (
	receiver_id VARBINARY(64) NOT NULL,
	seq         BIGINT NOT NULL,
	subject     VARBINARY(64) NOT NULL,
	attempts    INT NOT NULL,
	first_tried BIGINT NOT NULL,
	due         BIGINT NOT NULL,
	parked      BIGINT NOT NULL,
	said        VARBINARY(1024) NOT NULL,
	PRIMARY KEY (receiver_id, seq),
	FOREIGN KEY (receiver_id) REFERENCES wxgate_receiver (id),
	INDEX wxgate_delivery_subject (receiver_id, subject, parked, due, seq),
	INDEX wxgate_delivery_due (receiver_id, parked, due, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS wxgate_event_settled (
	id  INT PRIMARY KEY CHECK (id = 1),
	seq BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO wxgate_event_settled (id, seq) SELECT 1, seq FROM wxgate_event_head WHERE NOT EXISTS (SELECT 1 FROM wxgate_event_settled);
