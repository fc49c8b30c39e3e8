-- +goose Up

-- The comments are in the schema of SQLite.
ALTER TABLE wxgate_event ADD COLUMN traceparent text;
