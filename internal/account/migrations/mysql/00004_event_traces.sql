-- +goose NO TRANSACTION
-- +goose Up

-- The comments are in the schema of SQLite. MySQL cannot add a column unless it
-- is there, which it is after a start that was interrupted just here.
SET @add = (SELECT if(count(*) > 0, 'DO 0', 'ALTER TABLE wxgate_event ADD COLUMN traceparent VARBINARY(64)')
	FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'wxgate_event' AND column_name = 'traceparent');
PREPARE add_column FROM @add;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
