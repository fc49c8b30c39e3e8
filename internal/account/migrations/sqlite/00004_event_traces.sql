-- +goose Up

-- The span of the request in which an event happened, where it was traced.
ALTER TABLE wxgate_event ADD COLUMN traceparent TEXT;
