-- +goose NO TRANSACTION
-- +goose Up

-- The comments are in the schema of SQLite. Only MariaDB can be told to add a
-- column IF NOT EXISTS.
-- +goose StatementBegin
SET @owners = IF(EXISTS (SELECT 1 FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'wxgate_identity' AND column_name = 'owner_id'),
	'DO 0', 'ALTER TABLE wxgate_identity ADD COLUMN owner_id VARBINARY(64)');
PREPARE add_owners FROM @owners;
EXECUTE add_owners;
DEALLOCATE PREPARE add_owners;
-- +goose StatementEnd
