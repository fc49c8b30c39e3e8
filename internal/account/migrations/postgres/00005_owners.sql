-- +goose Up

-- The comments are in the schema of SQLite.
ALTER TABLE wxgate_identity ADD COLUMN owner_id text COLLATE "C";
